"""What a canary in progress says: what its step waits for, in conditions, status and Events."""

from dataclasses import replace
from datetime import datetime, timedelta

from edgecanary.api.rollout import Decided, OnDeadline
from edgecanary.api.rollout_status import HistoryEntry
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.adoption import describe_undescribed
from edgecanary.rollout.conditions import Situation, working
from edgecanary.rollout.explain import describe_baking, describe_missing_nodes, describe_updating
from edgecanary.rollout.fleet import count
from edgecanary.rollout.gates import describe, next_measurement
from edgecanary.rollout.outcome import Outcome, Release
from edgecanary.rollout.progress import Run, bake_end, deadline, is_late
from edgecanary.rollout.snapshot import PlannedEvent
from edgecanary.rollout.statement import as_canary

LONGEST_WAIT = 3600.0
"""A canary is looked at again after this many seconds at most."""


def going_on(
    run: Run,
    *,
    events: tuple[PlannedEvent, ...] = (),
    started: bool = False,
    ended: tuple[HistoryEntry, ...] = (),
) -> Outcome:
    """The canary goes on in its step, or waits in it."""
    context = run.context
    baking = run.status.bake_start_time is not None and not _was_baking(run)
    bake_events = (PlannedEvent("BakeStarted", _bake_text(run)),) if baking else ()
    return Outcome(
        situation=_with_notes(run, situation(run)),
        counts=count(run.found, run.view, wanted=None),
        release=Release(
            stable=context.stable,
            canary=as_canary(run.statement, run.bounds, run.attempt, step=run.position),
            keys=run.underway.keys,
            salt=run.underway.salt,
        ),
        rejected=tuple(entry for entry in context.rejected if entry.revision != run.statement.revision),
        step=run.status,
        analysis=run.analysis,
        start_time=context.now if started else context.status.start_time or context.now,
        ended=ended,
        events=events + bake_events,
        requeue_seconds=_requeue(run),
    )


def situation(run: Run) -> Situation:
    """What the step waits for, the most urgent first."""
    context, spec = run.context, run.context.spec
    if context.obstacle is not None:
        return context.obstacle
    if run.gates.failed:
        text = f"{run.title}: {describe(run.gates.failed)}; rollback is Manual: "
        return working(
            "AwaitingRollback",
            text
            + "set edgecanary.dev/abort to take it back, or edgecanary.dev/promote to full-<anything> to go on",
            until=_until(run),
        )
    if spec.paused:
        other = "" if _is_wanted(run) else f"; {_wanted_version(run)} follows then"
        return working("Paused", f"{run.title}: spec.paused is true; set it to false to go on{other}")
    if not run.found.eligible:
        return working("NoMatchingNodes", describe_missing_nodes(spec, run.found, run.statement))
    if spec.strategy.on_deadline is OnDeadline.PAUSE and is_late(run):
        text = f"{run.title} was not complete by {to_rfc3339(deadline(run))}: {_waits_for(run).message}; "
        return working("DeadlineExceeded", text + "set edgecanary.dev/promote to give it the same time again")
    return _waits_for(run)


def _with_notes(run: Run, said: Situation) -> Situation:
    """The situation, with what does not follow from the spec and the step alone."""
    notes = ""
    keys = run.context.spec.strategy.stratify_by
    if run.context.sound and keys != run.underway.keys:
        notes += "; the changed spec.strategy.stratifyBy counts from the next attempt"
    notes += describe_undescribed(run.context, run.found, run.statement.revision)
    return replace(said, message=said.message + notes) if notes else said


def _waits_for(run: Run) -> Situation:
    until = _until(run)
    if not run.view.has_quorum(run.context.spec.strategy.quorum_percent):
        reason, text = describe_updating(run.view, run.statement, run.title)
        return working(reason, text, until=until)
    if run.skips_gates:
        return working("Progressing", f"{run.title}: complete")
    end = bake_end(run)
    if end is not None and end > run.context.now:
        return working("Baking", describe_baking(run.title, run.view, end, run.gates), until=end)
    if run.gates.missing:
        paused = describe([metric for metric, _ in run.gates.missing])
        text = f"{run.title}: {paused}; the rollout waits until the query answers"
        return working("AnalysisInconclusive", text, until=until)
    if not run.gates.passed:
        return working("AnalysisInconclusive", f"{run.title}: {describe(run.gates.waiting)}", until=until)
    if run.step.approval is Decided.MANUAL and run.status.approved_time is None:
        text = f"{run.title}: gates pass; set edgecanary.dev/promote to go on"
        return working("AwaitingApproval", text, until=until)
    return working("Progressing", f"{run.title}: complete")


def _until(run: Run) -> datetime | None:
    """The deadline, while it is still to come and counts."""
    moment = deadline(run)
    return moment if not run.skips_gates and moment >= run.context.now else None


def _is_wanted(run: Run) -> bool:
    target = run.context.target
    return target is None or target.revision == run.statement.revision


def _wanted_version(run: Run) -> str:
    target = run.context.target
    return target.version if target else ""


def _bake_text(run: Run) -> str:
    return f"{run.title}: {len(run.view.updated)} of {len(run.view.nodes)} nodes run {run.statement.version}"


def _was_baking(run: Run) -> bool:
    before = run.context.status.step
    return (
        before is not None
        and before.start_time == run.status.start_time
        and before.bake_start_time == run.status.bake_start_time
    )


def _requeue(run: Run) -> float:
    """When time alone may change the plan, in seconds: the next look, the end of the bake, the deadline."""
    now, moments = run.context.now, [deadline(run) + timedelta(seconds=1)]
    if (end := bake_end(run)) is not None:
        moments.append(end)
    analysis = run.context.spec.analysis
    if analysis is not None and run.view.updated and not run.skips_gates:
        moments.append(next_measurement(analysis, run.analysis, now))
    waits = [(moment - now).total_seconds() for moment in moments]
    return max(0.05, min((wait for wait in waits if wait > 0), default=LONGEST_WAIT))
