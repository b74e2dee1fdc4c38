"""What there is to do and to say when no canary goes on: begin, adopt, settle, stay rolled back."""

from edgecanary.api.modelrelease import RejectedRevision, RevisionStatement
from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome, NodeCounts
from edgecanary.rollout.adoption import adoptable, describe_adopted, describe_undescribed
from edgecanary.rollout.conditions import Situation, done, stuck, working
from edgecanary.rollout.context import Context
from edgecanary.rollout.endings import ABORTED, end_entry, lagging_end, promotion_reason
from edgecanary.rollout.explain import describe_missing_nodes, step_title
from edgecanary.rollout.fleet import Targets, count, names, targets
from edgecanary.rollout.outcome import Outcome, Release
from edgecanary.rollout.progress import Run, begin
from edgecanary.rollout.snapshot import PlannedEvent, Rival
from edgecanary.rollout.waits import going_on


def without_canary(context: Context) -> Outcome:
    """What is decided while nothing is rolling, or what is rolling is no longer wanted."""
    target, stable = context.target, context.stable
    if target is None:
        return _settled(
            context, context.obstacle or working("ModelPending", "the EdgeModel is being checked")
        )
    if stable is not None and target.revision == stable.revision:
        return _settled_on_target(context, target)
    if (rejected := context.rejection(target.revision)) is not None and not context.actions.retry:
        return rolled_back(context, rejected)
    if context.actions.abort and context.canary is not None:
        return _abort_both(context, target)
    if (found := adoptable(context, target)) is not None:
        return _adopt(context, target, found)
    if context.spec.paused:
        first = step_title(context.spec.strategy.steps, 0)
        text = f"spec.paused is true; set it to false and {target.version} begins with {first}"
        return _settled(context, working("Paused", text))
    return _start(context, target)


def promoted(context: Context, run: Run) -> Outcome:
    """The last step is complete: the canary is the stable revision from now on."""
    version, reached = (
        run.statement.version,
        f"{len(run.view.updated)} of {len(run.found.eligible)} nodes run it",
    )
    if run.returning:
        text = f"the fleet returned to {version}; {reached}"
    elif run.skips_gates:
        text = f"{version} was promoted without bakes and gates, as asked for; {reached}"
    else:
        text = f"{version} passed all steps; {reached}"
    ended = end_entry(context, HistoryOutcome.PROMOTED, promotion_reason(run.status))
    outcome = _settled_outcome(context, run.statement, run.found, ended)
    return outcome.saying(PlannedEvent("Promoted", text))


def rolled_back(
    context: Context,
    entry: RejectedRevision,
    *,
    rejected: tuple[RejectedRevision, ...] | None = None,
    ended: tuple[HistoryEntry, ...] = (),
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
    lagging = () if ended else lagging_end(context)
    told_again = (PlannedEvent("RolledBack", text, warning=True),) if lagging else ()
    text += describe_undescribed(context, found, entry.revision)
    return Outcome(
        situation=Situation("False", "RolledBack", text, stalled=entry.reason),
        counts=count(found, None, wanted=stable.revision if stable else None),
        release=Release(stable),
        rejected=context.rejected if rejected is None else rejected,
        analysis=context.status.analysis,
        ended=ended or lagging,
        events=told_again,
    )


def conflict(context: Context, winner: Rival) -> Situation:
    """An older Rollout names the same EdgeModel."""
    model = context.spec.model_ref.name
    text = (
        f"spec.modelRef.name: Rollout {winner.name} names EdgeModel {model}, too, and is older: nodes follow that one, "
        f"and this one begins nothing. Delete {winner.name}, or let one of the two name another EdgeModel"
    )
    return stuck("ModelConflict", text)


def count_for(context: Context) -> NodeCounts:
    """The fleet in numbers by the stable revision, or by the wanted one before there is one."""
    stable = context.stable
    found = targets(context.spec, context.snapshot.fleet, stable or context.target)
    return count(found, None, wanted=stable.revision if stable else None)


def _start(context: Context, target: RevisionStatement) -> Outcome:
    run = begin(context, target)
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    named = f"{target.version} ({target.revision[:12]}{attempt})"
    if run.returning:
        text = f"the fleet returns to {named} at once: it was stable before, and no gate counts"
        events = [PlannedEvent("Returning", text)]
    else:
        events = [PlannedEvent("RolloutStarted", f"{named} begins with {run.title}")]
    ended, before = lagging_end(context), context.canary
    if before is not None and context.rejection(before.revision, attempt=before.attempt) is None:
        ended = end_entry(context, HistoryOutcome.SUPERSEDED, "Superseded")
        events.append(PlannedEvent("Superseded", f"{before.version} is superseded by {target.version}"))
    return going_on(run, events=tuple(events), started=True, ended=ended)


def _abort_both(context: Context, target: RevisionStatement) -> Outcome:
    """An abort came together with a new revision: neither the old canary nor the new one is to run."""
    fresh = []
    message = "aborted by edgecanary.dev/abort before it began"
    attempts = [(target, context.attempts(target.revision) + 1, message)]
    if context.canary is not None:
        attempts.insert(0, (context.canary, context.canary.attempt, "aborted by edgecanary.dev/abort"))
    for statement, attempt, why in attempts:
        fresh.append(
            RejectedRevision(
                revision=statement.revision,
                version=statement.version,
                reason=ABORTED,
                message=why,
                time=context.now,
                attempt=attempt,
            )
        )
    new = {entry.revision for entry in fresh}
    others = tuple(known for known in context.rejected if known.revision not in new)
    ended = end_entry(context, HistoryOutcome.ABORTED, ABORTED)
    outcome = rolled_back(context, fresh[-1], rejected=(*others, *fresh), ended=ended)
    return outcome.saying(PlannedEvent("RolledBack", outcome.situation.message, warning=True))


def _adopt(context: Context, target: RevisionStatement, found: Targets) -> Outcome:
    """The fleet runs the wanted revision already: it is stable as it is."""
    ended = HistoryEntry(
        revision=target.revision,
        version=target.version,
        outcome=HistoryOutcome.ADOPTED,
        reason="Adopted",
        attempt=context.attempts(target.revision) + 1,
        end_time=context.now,
    )
    outcome = _settled_outcome(context, target, found, (*lagging_end(context), ended))
    return outcome.saying(PlannedEvent("Adopted", describe_adopted(found, target)))


def _settled_on_target(context: Context, target: RevisionStatement) -> Outcome:
    """Nothing is rolling: the wanted revision is the stable one."""
    found = targets(context.spec, context.snapshot.fleet, target)
    withdrawn = context.canary
    ended = (
        end_entry(context, HistoryOutcome.WITHDRAWN, "ReturnedToStable")
        if withdrawn
        else lagging_end(context)
    )
    outcome = _settled_outcome(context, target, found, ended)
    if withdrawn is None:
        return outcome
    text = f"{withdrawn.version} is withdrawn: the EdgeModel asks for the stable {target.version} again"
    return outcome.saying(PlannedEvent("Withdrawn", text))


def _settled_outcome(
    context: Context, stable: RevisionStatement, found: Targets, ended: tuple[HistoryEntry, ...]
) -> Outcome:
    counts = count(found, None, wanted=stable.revision)
    view = found.settled(stable.revision)
    missing = view.missing
    if not found.eligible:
        situation = working("NoMatchingNodes", describe_missing_nodes(context.spec, found, stable))
    elif missing:
        text = f"{stable.version} is stable on {counts.updated} of {counts.targeted} nodes; to follow: {names(missing)}"
        text += f"; {view.troubles}" if view.troubles else ""
        situation = done("StragglersPending", text)
    else:
        situation = done("Promoted", f"{stable.version} is stable on all {counts.targeted} nodes")
    return Outcome(
        situation=situation, counts=counts, release=Release(stable), rejected=context.rejected, ended=ended
    )


def _settled(context: Context, situation: Situation) -> Outcome:
    """Nothing begins now: what is stable stays."""
    return Outcome(
        situation=situation,
        counts=count_for(context),
        release=Release(context.stable),
        rejected=context.rejected,
        ended=lagging_end(context),
    )
