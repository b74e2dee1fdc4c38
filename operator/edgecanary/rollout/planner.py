"""The planner: from a snapshot to what is to be written, as a pure function.

It decides in this order: which revision is wanted, what a person asked for (abort, retry), whether the
canary in progress must be taken back, and then how far it may go.
"""

from dataclasses import replace
from datetime import datetime

from edgecanary.analysis.query import MetricQuery
from edgecanary.api.fields import clip
from edgecanary.api.modelrelease import CanaryStatement, RejectedRevision, RevisionStatement
from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome
from edgecanary.rollout.conditions import Situation, done, stuck, working
from edgecanary.rollout.context import Context, build_context
from edgecanary.rollout.explain import describe_missing_nodes
from edgecanary.rollout.fleet import Targets, count, names, runs, targets
from edgecanary.rollout.gates import next_measurement, queries
from edgecanary.rollout.outcome import Outcome, end_entry, hold, to_plan
from edgecanary.rollout.progress import (
    Rejection,
    Run,
    begin,
    complete,
    going_on,
    is_last,
    next_step,
    rejection,
    resume,
    scope,
)
from edgecanary.rollout.snapshot import Plan, PlannedEvent, Snapshot


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """What is to be written, said and waited for."""
    context = build_context(snapshot, now)
    if snapshot.rollout.metadata.deletion_timestamp is not None:
        return Plan(release=None, status=snapshot.rollout.status)
    if (lost := _lost_stable(context)) is not None:
        return hold(context, lost)
    return to_plan(context, _decide(context))


def due_queries(snapshot: Snapshot, now: datetime) -> tuple[MetricQuery, ...]:
    """What Prometheus is to be asked before `plan`: nothing unless a step has nodes to judge and a look is due."""
    context = build_context(snapshot, now)
    analysis = context.spec.analysis
    canary = _canary_in_progress(context)
    if analysis is None or canary is None or snapshot.rollout.metadata.deletion_timestamp is not None:
        return ()
    run = resume(context, canary, context.target)
    if not run.view.updated or next_measurement(analysis, run.analysis, now) > now:
        return ()
    return queries(analysis, run.status, scope(run), now)


def _canary_in_progress(context: Context) -> CanaryStatement | None:
    """The release's canary, when it is the wanted revision or nobody can say what is wanted."""
    canary = context.canary
    if canary is None or context.rejection(canary.revision) is not None:
        return None
    if context.target is not None and context.target.revision != canary.revision:
        return None
    return canary


def _lost_stable(context: Context) -> Situation | None:
    """Whether the release that described the stable revision was deleted.

    A new release without it would take the model off the fleet. Nodes keep what they run while there is
    none, and with the stable revision back in the EdgeModel the release can be written again.
    """
    known = context.status.stable
    if known is None or context.stable is not None:
        return None
    text = (
        f"the ModelRelease was deleted and the stable {known.version} ({known.revision[:12]}) is described nowhere "
        f"else; nodes keep it. Set the EdgeModel back to {known.version}, and to the new version afterwards"
    )
    return stuck("StableLost", text)


def _decide(context: Context) -> Outcome:
    target, canary = context.target, _canary_in_progress(context)
    if canary is not None:
        return _go_on(context, resume(context, canary, target))
    if target is None:
        return _settled(
            context, context.obstacle or working("ModelPending", "the EdgeModel is being checked")
        )
    if context.stable is not None and target.revision == context.stable.revision:
        return _settled_on_target(context, target)
    if (rejected := context.rejection(target.revision)) is not None and not context.actions.retry:
        return _rolled_back(context, rejected)
    if context.actions.abort and context.canary is not None:
        return _take_back(
            begin(context, target), Rejection("Aborted", "aborted before it began", HistoryOutcome.ABORTED)
        )
    return _start(context, target)


def _start(context: Context, target: RevisionStatement) -> Outcome:
    run = begin(context, target)
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    text = f"{target.version} ({target.revision[:12]}{attempt}) begins with {run.title}"
    events = [PlannedEvent("RolloutStarted", text)]
    if context.canary is not None and context.canary.revision != target.revision:
        events.append(
            PlannedEvent("Superseded", f"{context.canary.version} is superseded by {target.version}")
        )
    return going_on(run, events=tuple(events), started=True)


def _go_on(context: Context, run: Run) -> Outcome:
    if (why := rejection(run)) is not None:
        return _take_back(run, why)
    if not complete(run):
        return going_on(run)
    if is_last(run):
        return _promote(context, run)
    following = next_step(run)
    text = f"{run.title} passed; {following.title} takes {len(following.view.nodes)} nodes"
    return going_on(following, events=(PlannedEvent("StepStarted", text),))


def _promote(context: Context, run: Run) -> Outcome:
    version = run.statement.version
    ended = end_entry(context, HistoryOutcome.PROMOTED, "Promoted")
    text = f"{version} passed all steps; {len(run.view.updated)} of {len(run.found.eligible)} nodes run it"
    outcome = _settled_outcome(context, run.statement, run.found, ended)
    return _with_events(outcome, PlannedEvent("Promoted", text))


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
    outcome = replace(
        _rolled_back(context, entry, rejected=(*others, entry), ended=ended), analysis=run.analysis
    )
    return _with_events(outcome, PlannedEvent("RolledBack", outcome.situation.message, warning=True))


def _rolled_back(
    context: Context,
    entry: RejectedRevision,
    *,
    rejected: tuple[RejectedRevision, ...] | None = None,
    ended: HistoryEntry | None = None,
) -> Outcome:
    """The wanted revision is rejected: the stable one is for everybody, or none where there is none."""
    stable = context.stable
    found = targets(context.spec, context.snapshot.fleet, stable or context.target)
    back = (
        f"the fleet runs {stable.version}"
        if stable
        else "there is no earlier revision: the model is withdrawn"
    )
    text = (
        f"{entry.version} ({entry.revision[:12]}) is rejected: {entry.message}; {back}. "
        "Release a new revision, or set edgecanary.dev/retry to try this one again"
    )
    lagging = _lagging_end(context) if ended is None else None
    told_again = (PlannedEvent("RolledBack", text, warning=True),) if lagging else ()
    return Outcome(
        situation=Situation("False", "RolledBack", text, stalled=entry.reason),
        counts=count(found, None, wanted=stable.revision if stable else None),
        stable=stable,
        rejected=context.rejected if rejected is None else rejected,
        analysis=context.status.analysis,
        ended=ended or lagging,
        events=told_again,
    )


def _settled_on_target(context: Context, target: RevisionStatement) -> Outcome:
    """Nothing is rolling: the wanted revision is the stable one."""
    found = targets(context.spec, context.snapshot.fleet, target)
    withdrawn = context.canary
    ended = (
        end_entry(context, HistoryOutcome.WITHDRAWN, "ReturnedToStable")
        if withdrawn
        else _lagging_end(context)
    )
    outcome = _settled_outcome(context, target, found, ended)
    if withdrawn is None:
        return outcome
    text = f"{withdrawn.version} is withdrawn: the EdgeModel asks for the stable {target.version} again"
    return _with_events(outcome, PlannedEvent("Withdrawn", text))


def _settled_outcome(
    context: Context, stable: RevisionStatement, found: Targets, ended: HistoryEntry | None
) -> Outcome:
    counts = count(found, None, wanted=stable.revision)
    missing = [node for node in found.eligible if not runs(node, stable.revision)]
    if not found.eligible:
        situation = working("NoMatchingNodes", describe_missing_nodes(context.spec, found, stable))
    elif missing:
        text = f"{stable.version} is stable on {counts.updated} of {counts.targeted} nodes; to follow: {names(missing)}"
        situation = done("StragglersPending", text)
    else:
        situation = done("Promoted", f"{stable.version} is stable on all {counts.targeted} nodes")
    return Outcome(situation=situation, counts=counts, stable=stable, rejected=context.rejected, ended=ended)


def _settled(context: Context, situation: Situation) -> Outcome:
    """Nothing is rolling and nobody can say what is wanted: what is stable stays."""
    stable = context.stable
    found = targets(context.spec, context.snapshot.fleet, stable)
    return Outcome(
        situation=situation,
        counts=count(found, None, wanted=stable.revision if stable else None),
        stable=stable,
        rejected=context.rejected,
        ended=_lagging_end(context),
    )


def _lagging_end(context: Context) -> HistoryEntry | None:
    """The end of a canary that the release shows and the status does not know yet."""
    known = context.status.canary
    if known is None or context.canary is not None:
        return None
    if context.stable is not None and known.revision == context.stable.revision:
        return end_entry(context, HistoryOutcome.PROMOTED, "Promoted")
    return end_entry(context, HistoryOutcome.ROLLED_BACK, "RolledBack")


def _with_events(outcome: Outcome, *events: PlannedEvent) -> Outcome:
    return replace(outcome, events=outcome.events + events)
