"""A canary in progress: how far its step is, whether it is complete, whether it must be taken back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edgecanary.analysis.counting import chooses
from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import OnMissing
from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import CanaryStatement, RevisionStatement
from edgecanary.api.rollout import Decided, Initial, OnDeadline, Step
from edgecanary.api.rollout_status import AnalysisStatus, HistoryOutcome, MetricStatus, StepStatus
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.attempt import Attempt, current_attempt, new_attempt
from edgecanary.rollout.cohort import Stratum
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.context import Context
from edgecanary.rollout.explain import describe_failures, step_display, step_title
from edgecanary.rollout.fleet import StepView, Targets, names
from edgecanary.rollout.gates import (
    GateView,
    describe,
    evaluate_gates,
    view_gates,
    window_seconds,
)
from edgecanary.rollout.returning import returns
from edgecanary.rollout.steps import locate

NO_GATES = GateView(None)


@dataclass(frozen=True)
class Run:
    """One canary's current step, seen whole."""

    underway: Attempt
    position: int
    bounds: Mapping[Stratum, int]
    view: StepView
    status: StepStatus
    analysis: AnalysisStatus | None = None
    gates: GateView = NO_GATES

    @property
    def context(self) -> Context:
        """What the decision is made from."""
        return self.underway.context

    @property
    def statement(self) -> RevisionStatement:
        """The revision."""
        return self.underway.statement

    @property
    def attempt(self) -> int:
        """Which attempt at the revision it is."""
        return self.underway.number

    @property
    def found(self) -> Targets:
        """The nodes that the rollout is for."""
        return self.underway.found

    @property
    def step(self) -> Step:
        """The step's spec."""
        return self.context.spec.strategy.steps[self.position]

    @property
    def skips_gates(self) -> bool:
        """Whether neither gates nor the bake nor a deadline count."""
        return self.status.skips_gates

    @property
    def returning(self) -> bool:
        """Whether the fleet returns to a revision that was stable before."""
        return self.status.skips_gates and self.status.approved_time is None

    @property
    def title(self) -> str:
        """The step for people: `step 2/4 canary`, `return to 1.0.0`."""
        if self.returning:
            return f"return to {self.statement.version}"
        return step_title(self.context.spec.strategy.steps, self.position)


@dataclass(frozen=True)
class Rejection:
    """Why a canary is taken back."""

    reason: str
    message: str
    outcome: HistoryOutcome = HistoryOutcome.ROLLED_BACK


def begin(context: Context, target: RevisionStatement) -> Run:
    """The first step of a new attempt at `target`; the last one for a return."""
    attempt, last = new_attempt(context, target), len(context.spec.strategy.steps) - 1
    if returns(context, target.revision):
        return _enter(attempt, last, skips_gates=True)
    at_once = context.stable is None and context.spec.strategy.initial is Initial.ALL_AT_ONCE
    return _enter(attempt, last if at_once else 0)


def resume(context: Context, canary: CanaryStatement, target: RevisionStatement | None) -> Run:
    """The step that the canary is in, with the gates' new answers taken in.

    A full promotion moves it to the last step.
    """
    attempt = current_attempt(context, canary, target)
    place = locate(attempt, canary)
    last = len(context.spec.strategy.steps) - 1
    if context.actions.full and not (place.known and place.known.skips_gates):
        return _enter(attempt, last, skips_gates=True, approved=context.now)
    if place.known is None:
        unknown = not context.knows(canary)
        return _enter(attempt, place.position, skips_gates=unknown and returns(context, canary.revision))
    return _look(attempt, place.position, place.known)


def next_step(run: Run) -> Run:
    """The step after the run's, entered now."""
    times = run.analysis.step_times if run.analysis else run.underway.times
    attempt = replace(run.underway.reaching(run.bounds), times=times)
    return _enter(attempt, run.position + 1, analysis=run.analysis)


def scope(run: Run) -> Scope:
    """What the step's queries are about."""
    stable = run.context.stable
    return Scope(
        namespace=run.context.snapshot.rollout.metadata.namespace,
        model=run.context.spec.model_ref.name,
        canary=run.statement.revision,
        stable=stable.revision if stable else "",
        nodes=run.view.updated_names,
        window_seconds=window_seconds(run.status, run.context.now),
        strata=_strata(run),
    )


def _strata(run: Run) -> tuple[tuple[str, ...], ...]:
    """The nodes by stratum where a gate must know them."""
    analysis, keys = run.context.spec.analysis, run.context.spec.strategy.stratify_by
    if analysis is None or not keys:
        return ()
    if not any(metric.comparison and chooses(metric.comparison) for metric in analysis.metrics):
        return ()
    return tuple(tuple(names) for _, names in sorted(run.found.by_stratum(keys).items()))


def _enter(
    attempt: Attempt,
    position: int,
    *,
    skips_gates: bool = False,
    approved: datetime | None = None,
    analysis: AnalysisStatus | None = None,
) -> Run:
    now, steps = attempt.context.now, attempt.context.spec.strategy.steps
    status = StepStatus(
        index=position,
        name=steps[position].name,
        start_time=now,
        approved_time=approved,
        skips_gates=skips_gates,
        display=step_display(steps, position),
    )
    known = analysis or (attempt.context.status.analysis if attempt.times else None)
    return _look(attempt.entering(now), position, status, entered=True, analysis=_carried_over(known))


def _carried_over(analysis: AnalysisStatus | None) -> AnalysisStatus | None:
    """What a new step of the same attempt takes over: no verdict, only what is frozen for the attempt."""
    if analysis is None:
        return None
    frozen = tuple(
        MetricStatus(
            name=metric.name,
            reason="NotMeasured",
            message="not measured yet",
            bound_seconds=metric.bound_seconds,
        )
        for metric in analysis.metrics
        if metric.bound_seconds
    )
    return AnalysisStatus(metrics=frozen)


def _look(
    attempt: Attempt,
    position: int,
    status: StepStatus,
    *,
    entered: bool = False,
    analysis: AnalysisStatus | None = None,
) -> Run:
    context, spec = attempt.context, attempt.context.spec
    bounds = attempt.bounds if context.holds else attempt.grown(position)
    view = attempt.view(bounds)
    if not entered and _is_widened_by_an_edit(context, view):
        status = status.model_copy(update={"bake_start_time": None, "approved_time": None})
    approved = context.now if context.actions.promote and not entered else status.approved_time
    reached = (
        context.now if view.has_quorum(spec.strategy.quorum_percent) and not status.skips_gates else None
    )
    status = status.model_copy(
        update={
            "index": position,
            "name": spec.strategy.steps[position].name,
            "display": step_display(spec.strategy.steps, position),
            "approved_time": approved,
            "bake_start_time": status.bake_start_time or reached,
        }
    )
    run = Run(attempt, position, bounds, view, status)
    return _judged(run, analysis if entered else context.status.analysis, ask=not entered)


def _is_widened_by_an_edit(context: Context, view: StepView) -> bool:
    """Whether an edit made the step reach more nodes: it bakes and is approved anew."""
    step, status = context.status.step, context.status
    edited = context.snapshot.rollout.metadata.generation != status.observed_generation
    return edited and len(view.nodes) > status.nodes.in_step and not (step and step.skips_gates)


def _judged(run: Run, before: AnalysisStatus | None, *, ask: bool) -> Run:
    """The run with what its gates say. A step that was entered now has not been measured."""
    context, analysis = run.context, run.context.spec.analysis
    if analysis is None:
        return run
    times = {"step_times": run.underway.times}
    known = (before or AnalysisStatus()).model_copy(update=times)
    if run.skips_gates:
        return replace(run, analysis=AnalysisStatus(step_times=run.underway.times))
    found = evaluate_gates(analysis, known, context.snapshot.answers if ask else {}, scope(run), context.now)
    judged = (found or known).model_copy(update=times)
    return replace(run, analysis=judged, gates=view_gates(analysis, judged))


def rejection(run: Run) -> Rejection | None:
    """Why the canary must be taken back now, or None."""
    spec = run.context.spec
    if run.context.actions.abort:
        return Rejection("Aborted", f"aborted by edgecanary.dev/abort in {run.title}", HistoryOutcome.ABORTED)
    if len(run.view.failed) > spec.strategy.max_failed_nodes:
        return Rejection("NodesFailed", _failed_nodes(run))
    asked = [metric for metric, what in run.gates.missing if what is OnMissing.ROLLBACK]
    if spec.rollback is Decided.AUTOMATIC and run.gates.failed:
        return Rejection("AnalysisFailed", f"{run.title}: {describe_failures(run.gates.failed)}")
    if spec.rollback is Decided.AUTOMATIC and asked:
        return Rejection("AnalysisMissing", f"{run.title}: {describe(asked)}")
    if spec.strategy.on_deadline is OnDeadline.ROLLBACK and is_late(run) and not complete(run):
        return Rejection("DeadlineExceeded", f"{run.title} was not complete by {to_rfc3339(deadline(run))}")
    return None


def complete(run: Run) -> bool:
    """Whether the step is done: quorum, bake, gates and approval, and nobody holds it.

    What is complete now is complete, also when the deadline passed while nobody looked.
    """
    context, spec = run.context, run.context.spec
    if context.holds or not run.view.has_quorum(spec.strategy.quorum_percent):
        return False
    if run.skips_gates:
        return True
    end = bake_end(run)
    return (
        not _was_late(run)
        and end is not None
        and end <= context.now
        and not run.gates.missing
        and run.gates.passed
        and (run.step.approval is Decided.AUTOMATIC or run.status.approved_time is not None)
    )


def is_last(run: Run) -> bool:
    """Whether the step is the rollout's last."""
    return run.position == len(run.context.spec.strategy.steps) - 1


def bake_end(run: Run) -> datetime | None:
    """When the bake ends; a promotion ends it at once. None before it began."""
    if run.status.bake_start_time is None:
        return None
    if run.status.approved_time is not None:
        return max(run.status.approved_time, run.status.bake_start_time)
    return run.status.bake_start_time + timedelta(seconds=run.step.bake_seconds)


def deadline(run: Run) -> datetime:
    """When the step should be complete; a promotion gives it the same time again."""
    since = max(run.status.start_time, run.status.approved_time or run.status.start_time)
    return since + timedelta(seconds=run.context.spec.strategy.step_deadline_seconds)


def is_late(run: Run) -> bool:
    """Whether the step has passed its deadline. A bake that is under way may end first."""
    now = run.context.now
    if run.skips_gates or now <= deadline(run):
        return False
    end = bake_end(run)
    baking = end is not None and end > now and run.view.has_quorum(run.context.spec.strategy.quorum_percent)
    return not baking or _was_late(run)


def _was_late(run: Run) -> bool:
    """Whether the last plan found the step late, and nobody has promoted it since: a person looks first."""
    before = run.context.status
    ready = find_condition(before.conditions, ConditionType.READY)
    return (
        run.context.spec.strategy.on_deadline is OnDeadline.PAUSE
        and ready is not None
        and ready.reason == "DeadlineExceeded"
        and before.step is not None
        and before.step.start_time == run.status.start_time
        and run.context.now > deadline(run)
    )


def _failed_nodes(run: Run) -> str:
    failed = run.view.failed
    first = next((node.report for node in failed if node.report), None)
    text = f" ({first.result}: {first.message})" if first else ""
    most = run.context.spec.strategy.max_failed_nodes
    return f"{run.title}: {len(failed)} failed, {most} tolerated: {names(failed)}{text}"
