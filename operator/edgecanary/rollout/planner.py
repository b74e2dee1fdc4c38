"""The planner: from a snapshot to what is to be written, as a pure function.

It decides in this order: whether the model is this Rollout's at all, which revision is wanted, what a person asked
for (abort, retry), whether the canary in progress must be taken back, and then how far it may go.
"""

from dataclasses import replace
from datetime import datetime

from edgecanary.analysis.query import MetricQuery
from edgecanary.api.fields import clip
from edgecanary.api.modelrelease import CanaryStatement, RejectedRevision
from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.rollout.conditions import Situation, stuck
from edgecanary.rollout.context import Context, build_context
from edgecanary.rollout.endings import ABORTED, end_entry, lagging_end
from edgecanary.rollout.gates import next_measurement, queries
from edgecanary.rollout.outcome import Outcome, Release, hold, to_plan
from edgecanary.rollout.progress import (
    Rejection,
    Run,
    complete,
    is_last,
    next_step,
    rejection,
    resume,
    scope,
)
from edgecanary.rollout.settling import conflict, count_for, promoted, rolled_back, without_canary
from edgecanary.rollout.snapshot import Plan, PlannedEvent, Rival, Snapshot
from edgecanary.rollout.waits import going_on


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """What is to be written, said and waited for."""
    context = build_context(snapshot, now)
    if snapshot.rollout.metadata.deletion_timestamp is not None:
        return Plan(release=None, status=snapshot.rollout.status)
    if (lost := _lost(context)) is not None:
        return _hold(context, lost)
    return to_plan(context, _decide(context))


def due_queries(snapshot: Snapshot, now: datetime) -> tuple[MetricQuery, ...]:
    """What Prometheus is to be asked before `plan`: nothing unless a step has nodes to judge and a look is due."""
    context = build_context(snapshot, now)
    analysis = context.spec.analysis
    canary = _canary_in_progress(context)
    if analysis is None or canary is None or snapshot.rollout.metadata.deletion_timestamp is not None:
        return ()
    if context.winner is not None:
        return ()
    run = resume(context, canary, context.target)
    if run.skips_gates or not run.view.updated or next_measurement(analysis, run.analysis, now) > now:
        return ()
    return queries(analysis, run.status, scope(run), now, run.analysis)


def _canary_in_progress(context: Context) -> CanaryStatement | None:
    """The release's canary, while it is to go on.

    That is while it is wanted, while nobody can say what is wanted, and while a pause keeps another revision from
    taking its place. Going back to the stable one waits for nothing.
    """
    canary, target, stable = context.canary, context.target, context.stable
    if canary is None or context.rejection(canary.revision, attempt=canary.attempt) is not None:
        return None
    if target is None or target.revision == canary.revision:
        return canary
    goes_back = stable is not None and stable.revision == target.revision
    return canary if context.spec.paused and not goes_back else None


def _lost(context: Context) -> Situation | None:
    """Why a deleted release cannot be written again, when it cannot.

    A new release without the stable revision would take the model off the fleet, and one without the canary
    would forget it. Nodes keep what they run while there is none.
    """
    known = context.status.stable
    if context.snapshot.release is not None:
        return None
    if known is not None and context.stable is None:
        if context.winner is not None:
            return conflict(context, context.winner)
        text = (
            f"the ModelRelease was deleted and the stable {known.version} ({known.revision[:12]}) is described "
            f"nowhere else; nodes keep it. Set the EdgeModel back to {known.version}, and to the new version afterwards"
        )
        return stuck("StableLost", text)
    return context.obstacle if known is None and context.status.canary is not None else None


def _hold(context: Context, lost: Situation) -> Plan:
    """Writes no release. An abort rejects the canary all the same."""
    known, attempt = context.status.canary, max(1, context.status.attempt)
    if known is None or not context.actions.abort:
        return hold(context, lost, events=_unused(context))
    entry = RejectedRevision(
        revision=known.revision,
        version=known.version,
        reason=ABORTED,
        message="aborted by edgecanary.dev/abort while there was no ModelRelease",
        time=context.now,
        attempt=attempt,
    )
    rejecting = replace(context, rejected=(*context.rejected, entry), canary=None)
    event = PlannedEvent("RolledBack", f"{known.version} is rejected: {entry.message}", warning=True)
    return hold(context, lost, rejected=entry, ended=lagging_end(rejecting), events=(event,))


def _decide(context: Context) -> Outcome:
    canary = _canary_in_progress(context)
    if context.winner is not None and not (canary and context.actions.abort):
        return _yield_to(context, context.winner, canary).saying(*_unused(context))
    if canary is not None:
        return _go_on(context, resume(context, canary, context.target))
    return without_canary(context).saying(*_unused(context))


def _yield_to(context: Context, winner: Rival, canary: CanaryStatement | None) -> Outcome:
    """An older Rollout has the model: a canary is withdrawn, what is stable stays where no other release is."""
    ended = end_entry(context, HistoryOutcome.WITHDRAWN, "ModelConflict") if canary else lagging_end(context)
    outcome = Outcome(
        situation=conflict(context, winner),
        counts=count_for(context),
        release=Release(context.stable),
        rejected=context.rejected,
        ended=ended,
    )
    if canary is None:
        return outcome
    text = f"{canary.version} is withdrawn: Rollout {winner.name} is older and has the EdgeModel"
    return outcome.saying(PlannedEvent("Withdrawn", text, warning=True))


def _go_on(context: Context, run: Run) -> Outcome:
    if (why := rejection(run)) is not None:
        return _take_back(run, why)
    told = _unused(context)
    if context.actions.full:
        token = context.actions.tokens.promote
        text = f"{run.statement.version} goes to all nodes by {token}: no bake and no gate counts"
        told = (*told, PlannedEvent("FullPromotion", text, warning=True))
    if not complete(run):
        return going_on(run, events=told, ended=lagging_end(context))
    if is_last(run):
        return promoted(context, run).saying(*told)
    following = next_step(run)
    text = f"{run.title} passed; {following.title} takes {len(following.view.nodes)} nodes"
    started = PlannedEvent("StepStarted", text)
    return going_on(following, events=(*told, started), ended=lagging_end(context))


def _take_back(run: Run, why: Rejection) -> Outcome:
    context = run.context
    entry = RejectedRevision(
        revision=run.statement.revision,
        version=run.statement.version,
        reason=why.reason,
        message=clip(why.message),
        time=context.now,
        attempt=run.attempt,
    )
    ended = end_entry(context, why.outcome, why.reason)
    others = tuple(known for known in context.rejected if known.revision != entry.revision)
    outcome = rolled_back(context, entry, rejected=(*others, entry), ended=ended)
    outcome = replace(outcome, analysis=run.analysis)
    return outcome.saying(PlannedEvent("RolledBack", outcome.situation.message, warning=True))


def _unused(context: Context) -> tuple[PlannedEvent, ...]:
    """Tokens that find nothing to act on. While the status lags behind the release they may have acted already."""
    known, released = context.status.canary, context.canary
    if known is not None if released is None else not context.knows(released):
        return ()
    canary = _canary_in_progress(context)
    told = []
    target = context.target
    if context.actions.abort and released is None:
        told.append(
            PlannedEvent("NothingToAbort", "edgecanary.dev/abort: nothing is rolling, nothing was done")
        )
    retried = target is not None and context.rejection(target.revision) is not None
    if context.actions.retry and (canary is not None or not retried):
        told.append(
            PlannedEvent("NothingToRetry", "edgecanary.dev/retry: the wanted revision is not rejected")
        )
    if context.actions.promote and canary is None:
        text = "edgecanary.dev/promote: no step was in progress; set another token for one that is"
        told.append(PlannedEvent("NothingToPromote", text))
    return tuple(told)
