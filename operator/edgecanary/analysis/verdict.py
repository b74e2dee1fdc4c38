"""A gate's verdict: one more look at a metric, by its threshold, its comparison or both, after those before.

No data, a value that is no number, an error and too few samples are Inconclusive. A Fail latches: later
looks in the same attempt cannot undo it.
"""

from datetime import datetime

from edgecanary.analysis.comparison import comparison_limit, look_at_comparison
from edgecanary.analysis.link import prometheus_link
from edgecanary.analysis.look import NOT_APPLICABLE, Look, combine
from edgecanary.analysis.query import Answer
from edgecanary.analysis.threshold import limits_text, look_at_threshold
from edgecanary.api.analysis import Metric
from edgecanary.api.fields import clip
from edgecanary.api.rollout_status import Measurement, MeasurementOutcome, MetricStatus, Verdict

KEPT_MEASUREMENTS = 10
_QUERY_LIMIT = 8192
_LIMIT_LIMIT = 256


def evaluate(
    metric: Metric, before: MetricStatus, answer: Answer, now: datetime, *, prometheus: str = ""
) -> MetricStatus:
    """The gate's status after one more look; `prometheus` is the base address for the link."""
    bound = answer.bound or before.bound_seconds
    look = take_look(metric, answer, bound=bound)
    kept = Measurement(time=now, outcome=look.outcome, value=look.value, samples=look.samples)
    measurements = (*before.measurements, kept)[-KEPT_MEASUREMENTS:]
    if before.verdict is Verdict.FAIL:
        return before.model_copy(update={"measurements": measurements})
    failures = _failures_in_a_row(before.failures, look.outcome)
    verdict, reason, message = _judge(metric, look, failures)
    same = before.since is not None and (before.verdict, before.reason) == (verdict, reason)
    return MetricStatus(
        name=metric.name,
        verdict=verdict,
        reason=reason,
        message=clip(message),
        value=look.value,
        baseline=look.baseline,
        samples=look.samples,
        method=method_name(metric),
        limit=describe_limit(metric),
        evidence=look.evidence,
        worst_nodes=look.worst_nodes,
        bound_seconds=bound,
        since=before.since if same else now,
        link=prometheus_link(prometheus, answer.query.value, now),
        query=answer.query.value[:_QUERY_LIMIT],
        failures=failures,
        errors=before.errors + 1 if look.outcome is MeasurementOutcome.ERROR else 0,
        no_data=before.no_data + 1 if look.outcome is MeasurementOutcome.NO_DATA else 0,
        measurements=measurements,
    )


def take_look(metric: Metric, answer: Answer, *, bound: str = "") -> Look:
    """What the answer says of the metric, by itself; `bound` is the latency bound of the attempt."""
    looks = []
    if metric.threshold is not None:
        looks.append(look_at_threshold(metric, metric.threshold, answer))
    if metric.comparison is not None:
        looks.append(look_at_comparison(metric, metric.comparison, answer, bound=bound))
    if not looks:
        return Look(MeasurementOutcome.ERROR, "NoLimit", "there is no threshold or comparison to judge it by")
    return combine(looks)


def only_compares(metric: Metric) -> bool:
    """Whether the metric has nothing but a comparison."""
    return metric.comparison is not None and metric.threshold is None


def decides(status: MetricStatus) -> bool:
    """Whether the metric's verdict counts: a comparison without a stable revision does not."""
    return status.reason != NOT_APPLICABLE or status.verdict is Verdict.FAIL


def method_name(metric: Metric) -> str:
    """How the metric is judged."""
    return "Threshold" if metric.comparison is None else str(metric.comparison.method)


def describe_limit(metric: Metric) -> str:
    """What the value is held against."""
    parts = [limits_text(metric.threshold)] if metric.threshold is not None else []
    if metric.comparison is not None:
        parts.append(comparison_limit(metric.comparison))
    return "; ".join(parts)[:_LIMIT_LIMIT]


def _judge(metric: Metric, look: Look, failures: int) -> tuple[Verdict, str, str]:
    match look.outcome:
        case MeasurementOutcome.WITHIN:
            return Verdict.PASS, look.reason, look.message
        case MeasurementOutcome.BEYOND if failures > metric.failure_limit:
            return Verdict.FAIL, look.reason, look.message
        case MeasurementOutcome.BEYOND:
            tolerated = f"{look.message}; {failures} in a row, {metric.failure_limit} tolerated"
            return Verdict.INCONCLUSIVE, f"{look.reason}Tolerated", tolerated
        case _:
            return Verdict.INCONCLUSIVE, look.reason, look.message


def _failures_in_a_row(before: int, outcome: MeasurementOutcome) -> int:
    """Within the limits resets the count; looks that say nothing leave it as it was."""
    if outcome is MeasurementOutcome.BEYOND:
        return before + 1
    return 0 if outcome is MeasurementOutcome.WITHIN else before
