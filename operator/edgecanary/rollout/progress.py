"""A canary in progress: what the current step waits for, and what comes after it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import OnMissing
from edgecanary.api.modelrelease import CanaryStatement, RevisionStatement
from edgecanary.api.rollout import Approval, Initial, OnDeadline, RollbackPolicy, Step
from edgecanary.api.rollout_status import AnalysisStatus, HistoryOutcome, StepStatus
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.cohort import Share, Stratum, cutoffs, to_bounds
from edgecanary.rollout.conditions import Situation, working
from edgecanary.rollout.context import Context
from edgecanary.rollout.explain import (
    describe_baking,
    describe_missing_nodes,
    describe_updating,
    step_display,
    step_title,
)
from edgecanary.rollout.fleet import StepView, Targets, count, names, targets, view_step
from edgecanary.rollout.gates import (
    GateView,
    describe,
    evaluate_gates,
    next_measurement,
    view_gates,
    window_seconds,
)
from edgecanary.rollout.outcome import Outcome, end_entry
from edgecanary.rollout.snapshot import PlannedEvent
from edgecanary.rollout.statement import as_canary, without_urls


@dataclass(frozen=True)
class Run:
    """One canary's current step, seen whole."""

    context: Context
    statement: RevisionStatement
    attempt: int
    position: int
    found: Targets
    bounds: dict[Stratum, int]
    view: StepView
    status: StepStatus
    analysis: AnalysisStatus | None
    gates: GateView

    @property
    def step(self) -> Step:
        """The step's spec."""
        return self.context.spec.strategy.steps[self.position]

    @property
    def title(self) -> str:
        """The step for people: `step 2/4 canary`."""
        return step_title(self.context.spec.strategy.steps, self.position)


@dataclass(frozen=True)
class Rejection:
    """Why a canary is taken back."""

    reason: str
    message: str
    outcome: HistoryOutcome = HistoryOutcome.ROLLED_BACK


def begin(context: Context, target: RevisionStatement) -> Run:
    """The first step of a new attempt at `target`."""
    steps = context.spec.strategy.steps
    first = context.stable is None and context.spec.strategy.initial is Initial.ALL_AT_ONCE
    position = len(steps) - 1 if first else 0
    attempt = context.attempts(target.revision) + 1
    return _enter(context, target, attempt, position, bounds={})


def resume(context: Context, canary: CanaryStatement, target: RevisionStatement | None) -> Run:
    """The step that the canary is in, with the gates' new answers taken in.

    The release is written before the status; when the operator was stopped between the two, the step is
    entered again with the bounds that the release has.
    """
    statement = target or without_urls(canary)
    status = context.status.step
    known = context.status.canary
    if (
        status is None
        or known is None
        or known.revision != canary.revision
        or context.status.attempt != canary.attempt
    ):
        return _enter(context, statement, canary.attempt, 0, bounds=to_bounds(canary.cutoffs))
    position = min(status.index, len(context.spec.strategy.steps) - 1)
    return _look(context, statement, canary.attempt, position, to_bounds(canary.cutoffs), status)


def scope(run: Run) -> Scope:
    """What the step's queries are about."""
    stable = run.context.stable
    return Scope(
        namespace=run.context.snapshot.rollout.metadata.namespace,
        model=run.context.spec.model_ref.name,
        canary=run.statement.revision,
        stable=stable.revision if stable else "",
        nodes=tuple(node.facts.name for node in run.view.updated),
        window_seconds=window_seconds(run.status, run.context.now),
    )


def _enter(
    context: Context, statement: RevisionStatement, attempt: int, position: int, *, bounds: dict[Stratum, int]
) -> Run:
    steps = context.spec.strategy.steps
    status = StepStatus(
        index=position,
        name=steps[position].name,
        start_time=context.now,
        display=step_display(steps, position),
    )
    return _look(context, statement, attempt, position, bounds, status, fresh=True)


def _look(
    context: Context,
    statement: RevisionStatement,
    attempt: int,
    position: int,
    bounds: dict[Stratum, int],
    status: StepStatus,
    *,
    fresh: bool = False,
) -> Run:
    spec, now = context.spec, context.now
    step = spec.strategy.steps[position]
    salt = context.salt(statement.revision)
    found = targets(spec, context.snapshot.fleet, statement)
    grown = cutoffs(
        found.by_stratum(spec.strategy.stratify_by),
        Share(percent=step.percent, nodes=step.nodes),
        salt=salt,
        current=bounds,
    )
    view = view_step(
        found, spec.strategy.stratify_by, grown, salt=salt, revision=statement.revision, attempt=attempt
    )
    approved = now if context.actions.promote and not fresh else status.approved_time
    reached = now if view.has_quorum(spec.strategy.quorum_percent) else None
    status = status.model_copy(
        update={
            "index": position,
            "name": step.name,
            "display": step_display(spec.strategy.steps, position),
            "approved_time": approved,
            "bake_start_time": status.bake_start_time or reached,
        }
    )
    run = Run(
        context, statement, attempt, position, found, grown, view, status, None, GateView(None)
    )  # the gates need the run's scope
    before = None if fresh else context.status.analysis
    analysis = (
        evaluate_gates(spec.analysis, before, {} if fresh else context.snapshot.answers, scope(run), now)
        if spec.analysis
        else None
    )
    return replace(run, analysis=analysis, gates=view_gates(spec.analysis, analysis))


def rejection(run: Run) -> Rejection | None:
    """Why the canary must be taken back now, or None."""
    spec = run.context.spec
    if run.context.actions.abort:
        return Rejection("Aborted", f"aborted by edgecanary.dev/abort in {run.title}", HistoryOutcome.ABORTED)
    if len(run.view.failed) > spec.strategy.max_failed_nodes:
        return Rejection("NodesFailed", _failed_nodes(run))
    asked = [(metric, what) for metric, what in run.gates.missing if what is OnMissing.ROLLBACK]
    if spec.rollback is RollbackPolicy.AUTOMATIC and run.gates.failed:
        return Rejection("AnalysisFailed", f"{run.title}: {describe(run.gates.failed)}")
    if spec.rollback is RollbackPolicy.AUTOMATIC and asked:
        return Rejection("AnalysisMissing", f"{run.title}: {describe([metric for metric, _ in asked])}")
    if spec.strategy.on_deadline is OnDeadline.ROLLBACK and _late(run) and not complete(run):
        return Rejection("DeadlineExceeded", f"{run.title} was not complete by {to_rfc3339(_deadline(run))}")
    return None


def complete(run: Run) -> bool:
    """Whether the step is done: quorum, bake, gates and approval, and nobody holds it."""
    spec = run.context.spec
    if spec.paused or run.context.obstacle is not None or run.gates.missing:
        return False
    overdue = _late(run) and spec.strategy.on_deadline is OnDeadline.PAUSE
    return (
        not overdue
        and run.view.has_quorum(spec.strategy.quorum_percent)
        and (_bake_end(run) or run.context.now + timedelta(days=1)) <= run.context.now
        and run.gates.passed
        and (run.step.approval is Approval.AUTOMATIC or run.status.approved_time is not None)
    )


def is_last(run: Run) -> bool:
    """Whether the step is the rollout's last."""
    return run.position == len(run.context.spec.strategy.steps) - 1


def next_step(run: Run) -> Run:
    """The step after the run's, entered now."""
    return _enter(run.context, run.statement, run.attempt, run.position + 1, bounds=run.bounds)


def going_on(run: Run, *, events: tuple[PlannedEvent, ...] = (), started: bool = False) -> Outcome:
    """The canary goes on in its step, or waits in it."""
    context = run.context
    baking = run.status.bake_start_time is not None and not _was_baking(run)
    bake_events = (PlannedEvent("BakeStarted", _bake_text(run)),) if baking else ()
    superseded = started and context.canary is not None and context.canary.revision != run.statement.revision
    return Outcome(
        situation=situation(run),
        counts=count(run.found, run.view, wanted=None),
        stable=context.stable,
        canary=as_canary(run.statement, run.bounds, run.attempt),
        rejected=tuple(entry for entry in context.rejected if entry.revision != run.statement.revision),
        step=run.status,
        analysis=run.analysis,
        start_time=context.now if started else context.status.start_time or context.now,
        ended=end_entry(context, HistoryOutcome.SUPERSEDED, "Superseded") if superseded else None,
        events=events + bake_events,
        requeue_seconds=_requeue(run),
    )


def situation(run: Run) -> Situation:
    """What the step waits for, the most urgent first."""
    context, spec = run.context, run.context.spec
    if context.obstacle is not None:
        return context.obstacle
    if run.gates.failed:
        text = f"{run.title}: {describe(run.gates.failed)}; rollback is Manual"
        return working("AwaitingRollback", f"{text}: set edgecanary.dev/abort to take it back")
    if spec.paused:
        return working("Paused", f"{run.title}: spec.paused is true; set it to false to go on")
    if not run.found.eligible:
        return working("NoMatchingNodes", describe_missing_nodes(spec, run.found, run.statement))
    if _late(run) and spec.strategy.on_deadline is OnDeadline.PAUSE:
        text = f"{run.title} was not complete by {to_rfc3339(_deadline(run))}: {_waits_for(run).message}; "
        return working("DeadlineExceeded", text + "set edgecanary.dev/promote to give it the same time again")
    return _waits_for(run)


def _waits_for(run: Run) -> Situation:
    if not run.view.has_quorum(run.context.spec.strategy.quorum_percent):
        reason, text = describe_updating(run.view, run.statement, run.title)
        return working(reason, text)
    end = _bake_end(run)
    if end is not None and end > run.context.now:
        return working("Baking", describe_baking(run.title, run.view, end, run.gates))
    if run.gates.missing:
        paused = describe([metric for metric, _ in run.gates.missing])
        return working(
            "AnalysisInconclusive", f"{run.title}: {paused}; the rollout waits until the query answers"
        )
    if not run.gates.passed:
        return working("AnalysisInconclusive", f"{run.title}: {describe(run.gates.waiting)}")
    if run.step.approval is Approval.MANUAL and run.status.approved_time is None:
        return working("AwaitingApproval", f"{run.title}: gates pass; set edgecanary.dev/promote to go on")
    return working("Progressing", f"{run.title}: complete")


def _failed_nodes(run: Run) -> str:
    failed = run.view.failed
    first = next((node.report for node in failed if node.report), None)
    text = f" ({first.result}: {first.message})" if first else ""
    most = run.context.spec.strategy.max_failed_nodes
    return f"{run.title}: {len(failed)} failed, {most} tolerated: {names(failed)}{text}"


def _bake_end(run: Run) -> datetime | None:
    """When the bake ends; a promotion ends it at once. None before it began."""
    if run.status.bake_start_time is None:
        return None
    if run.status.approved_time is not None:
        return max(run.status.approved_time, run.status.bake_start_time)
    return run.status.bake_start_time + timedelta(seconds=run.step.bake_seconds)


def _bake_text(run: Run) -> str:
    return f"{run.title}: {len(run.view.updated)} of {len(run.view.nodes)} nodes run {run.statement.version}"


def _was_baking(run: Run) -> bool:
    before = run.context.status.step
    return (
        before is not None
        and before.start_time == run.status.start_time
        and before.bake_start_time is not None
    )


def _deadline(run: Run) -> datetime:
    since = max(run.status.start_time, run.status.approved_time or run.status.start_time)
    return since + timedelta(seconds=run.context.spec.strategy.step_deadline_seconds)


def _late(run: Run) -> bool:
    return run.context.now > _deadline(run)


def _requeue(run: Run) -> float:
    """When time alone may change the plan, in seconds: the next look, the end of the bake, the deadline."""
    moments = [_deadline(run) + timedelta(seconds=1)]
    if (end := _bake_end(run)) is not None:
        moments.append(end)
    analysis = run.context.spec.analysis
    if analysis is not None and run.view.updated:
        moments.append(next_measurement(analysis, run.analysis, run.context.now))
    waits = [(moment - run.context.now).total_seconds() for moment in moments]
    return max(0.05, min((wait for wait in waits if wait > 0), default=3600.0))
