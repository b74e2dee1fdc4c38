"""The gates of a rollout's current step: which are due, what they say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgecanary.analysis.counting import Attempt
from edgecanary.analysis.presets import build_query
from edgecanary.analysis.query import Answer, MetricQuery, QueryError
from edgecanary.analysis.template import Scope
from edgecanary.analysis.verdict import decides, evaluate, only_compares
from edgecanary.api.analysis import Analysis, Metric, MetricMode, OnMissing
from edgecanary.api.rollout_status import AnalysisStatus, MetricStatus, StepStatus, Verdict
from edgecanary.base.errors import InvalidInput

MIN_WINDOW_SECONDS = 10
MAX_WINDOW_SECONDS = 3600


@dataclass(frozen=True)
class GateView:
    """What the gates of a step say together.

    `failed`, `waiting` and `missing` hold enforced metrics only: those that failed, those that do not
    pass yet, and those whose onError or onNoData has come into force, with what it asks for.
    """

    status: AnalysisStatus | None
    failed: tuple[MetricStatus, ...] = ()
    waiting: tuple[MetricStatus, ...] = ()
    missing: tuple[tuple[MetricStatus, OnMissing], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every enforced metric passes."""
        return not self.failed and not self.waiting


def window_seconds(step: StepStatus, now: datetime) -> int:
    """The window that queries look back on: since the step began, 10 seconds to an hour.

    Starting with the step keeps an earlier attempt's samples out.
    """
    elapsed = int((now - step.start_time).total_seconds()) + 1
    return max(MIN_WINDOW_SECONDS, min(elapsed, MAX_WINDOW_SECONDS))


def next_measurement(analysis: Analysis, status: AnalysisStatus | None, now: datetime) -> datetime:
    """When the gates are to be measured next."""
    if status is None or status.time is None:
        return now
    return min(status.time, now) + timedelta(seconds=analysis.interval_seconds)


def queries(
    analysis: Analysis, step: StepStatus, scope: Scope, now: datetime, before: AnalysisStatus | None = None
) -> tuple[MetricQuery, ...]:
    """What to ask Prometheus now; `before` is the attempt's analysis so far.

    A query that cannot be built, or has nothing to compare with, is left out; `evaluate_gates` reports it.
    """
    found = []
    for index, metric in enumerate(analysis.metrics):
        if not _delayed(metric, step, now) and not _idle(metric, scope):
            attempt = _attempt(analysis, metric, before, step.start_time)
            query = _build(metric, scope, index, attempt, now)
            if isinstance(query, MetricQuery):
                found.append(query)
    return tuple(found)


def evaluate_gates(
    analysis: Analysis,
    before: AnalysisStatus | None,
    answers: Mapping[str, Answer],
    scope: Scope,
    now: datetime,
) -> AnalysisStatus | None:
    """The gates after the answers; unchanged when nothing was asked."""
    unasked = _unasked(analysis, before, scope, now)
    if not answers and not (unasked and next_measurement(analysis, before, now) <= now):
        return before
    known = {status.name: status for status in before.metrics} if before else {}
    found = {**unasked, **answers}
    url = analysis.prometheus.url
    metrics = tuple(
        evaluate(metric, _before(metric, known), found[metric.name], now, prometheus=url)
        if metric.name in found
        else _before(metric, known)
        for metric in analysis.metrics
    )
    status = before or AnalysisStatus()
    return status.model_copy(
        update={"time": now, "display": _display(analysis.metrics, metrics), "metrics": metrics}
    )


def view_gates(analysis: Analysis | None, status: AnalysisStatus | None) -> GateView:
    """What the gates say together. A metric without a status has not passed."""
    if analysis is None:
        return GateView(None)
    known = {metric.name: metric for metric in status.metrics} if status else {}
    enforced = [
        (metric, found)
        for metric in analysis.metrics
        if metric.mode is MetricMode.ENFORCE and decides(found := _before(metric, known))
    ]
    return GateView(
        status,
        failed=tuple(found for _, found in enforced if found.verdict is Verdict.FAIL),
        waiting=tuple(found for _, found in enforced if found.verdict is Verdict.INCONCLUSIVE),
        missing=tuple((found, asked) for metric, found in enforced if (asked := _in_force(metric, found))),
    )


def describe(metrics: Sequence[MetricStatus]) -> str:
    """Metrics with what they say, for a person."""
    return "; ".join(f"{metric.name}: {metric.message}" for metric in metrics)


def _in_force(metric: Metric, status: MetricStatus) -> OnMissing | None:
    """What onError or onNoData asks for once the limit of failed looks in a row is passed."""
    if status.errors > metric.consecutive_error_limit and metric.on_error is not OnMissing.WAIT:
        return metric.on_error
    if status.no_data > metric.consecutive_error_limit and metric.on_no_data is not OnMissing.WAIT:
        return metric.on_no_data
    return None


def _delayed(metric: Metric, step: StepStatus, now: datetime) -> bool:
    if metric.initial_delay_seconds == 0:
        return False
    if step.bake_start_time is None:
        return True
    return now < step.bake_start_time + timedelta(seconds=metric.initial_delay_seconds)


def _idle(metric: Metric, scope: Scope) -> bool:
    """Whether there is nothing to ask: only a comparison, and no stable revision to compare with."""
    return not scope.stable and only_compares(metric)


def _unasked(
    analysis: Analysis, before: AnalysisStatus | None, scope: Scope, now: datetime
) -> dict[str, Answer]:
    """Answers for metrics that Prometheus is not asked for: they cannot be asked, or have nothing to say."""
    found: dict[str, Answer] = {}
    for index, metric in enumerate(analysis.metrics):
        shown = MetricQuery(metric.name, metric.query or "")
        if _idle(metric, scope):
            found[metric.name] = Answer(shown, None)
            continue
        query = _build(metric, scope, index, _attempt(analysis, metric, before, now), now)
        if isinstance(query, QueryError):
            found[metric.name] = Answer(shown, query)
    return found


def _attempt(
    analysis: Analysis, metric: Metric, before: AnalysisStatus | None, otherwise: datetime
) -> Attempt:
    """What comparisons need to know; `otherwise` is when the attempt began where that was not noted."""
    known = {status.name: status.bound_seconds for status in before.metrics} if before else {}
    return Attempt(
        step_times=(before.step_times if before else ()) or (otherwise,),
        history_seconds=analysis.history_seconds,
        interval_seconds=analysis.interval_seconds,
        bound=known.get(metric.name, ""),
    )


def _build(
    metric: Metric, scope: Scope, index: int, attempt: Attempt, now: datetime
) -> MetricQuery | QueryError:
    field = f"spec.analysis.metrics[{index}]"
    try:
        return build_query(metric, scope, field=field, attempt=attempt, now=now)
    except InvalidInput as error:
        return QueryError("QueryInvalid", error.message)


def _before(metric: Metric, known: Mapping[str, MetricStatus]) -> MetricStatus:
    unmeasured = MetricStatus(name=metric.name, reason="NotMeasured", message="not measured yet")
    return known.get(metric.name, unmeasured)


def _display(metrics: Sequence[Metric], statuses: Sequence[MetricStatus]) -> str:
    enforced = {metric.name for metric in metrics if metric.mode is MetricMode.ENFORCE}
    verdicts = [status.verdict for status in statuses if status.name in enforced and decides(status)]
    failed = sum(verdict is Verdict.FAIL for verdict in verdicts)
    if failed:
        return f"{failed}/{len(verdicts)} Fail"
    return f"{sum(verdict is Verdict.PASS for verdict in verdicts)}/{len(verdicts)} Pass"
