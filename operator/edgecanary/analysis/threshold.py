"""The Threshold gate: one look at a metric, judged against its limits.

No data, a value that is no number, an error and too few samples are Inconclusive. A Fail latches: later
looks in the same attempt cannot undo it.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from edgecanary.analysis.query import Answer, QueryError, Vector
from edgecanary.api.analysis import Metric, Threshold
from edgecanary.api.fields import clip
from edgecanary.api.rollout_status import Measurement, MeasurementOutcome, MetricStatus, Verdict

KEPT_MEASUREMENTS = 10
_QUERY_LIMIT = 8192
_VALUE_LIMIT = 40


@dataclass(frozen=True)
class Look:
    """What one answer says, before limits in a row are counted."""

    outcome: MeasurementOutcome
    reason: str
    message: str
    value: str | None = None
    samples: int | None = None
    baseline: str | None = None


def evaluate(metric: Metric, before: MetricStatus, answer: Answer, now: datetime) -> MetricStatus:
    """The gate's status after one more look."""
    look = take_look(metric, answer)
    failures = _failures_in_a_row(before.failures, look.outcome)
    verdict, reason, message = _judge(metric, before, look, failures)
    kept = Measurement(time=now, outcome=look.outcome, value=look.value, samples=look.samples)
    return MetricStatus(
        name=metric.name,
        verdict=verdict,
        reason=reason,
        message=clip(message),
        value=look.value,
        baseline=look.baseline,
        samples=look.samples,
        query=answer.query.value[:_QUERY_LIMIT],
        failures=failures,
        errors=before.errors + 1 if look.outcome is MeasurementOutcome.ERROR else 0,
        no_data=before.no_data + 1 if look.outcome is MeasurementOutcome.NO_DATA else 0,
        measurements=(*before.measurements, kept)[-KEPT_MEASUREMENTS:],
    )


def take_look(metric: Metric, answer: Answer) -> Look:
    """What the answer says of the metric, by itself."""
    number = _single(answer.value)
    if isinstance(number, Look):
        return number
    baseline = _number_or_none(answer.baseline)
    samples = _number_or_none(answer.samples)
    seen = None if samples is None else int(samples + 0.5)
    value = format_value(number)
    base = None if baseline is None else format_value(baseline)
    if metric.min_samples and (seen is None or seen < metric.min_samples):
        have = "an unknown number of" if seen is None else str(seen)
        text = f"needs {metric.min_samples} samples, has {have}; {value} so far"
        return Look(MeasurementOutcome.TOO_FEW_SAMPLES, "TooFewSamples", text, value, seen, base)
    rests = "" if seen is None else f" over {seen} samples"
    compared = "" if base is None else f" (stable: {base})"
    if metric.threshold is None:
        text = f"{value}{rests}{compared}, and no threshold to judge it by"
        return Look(MeasurementOutcome.ERROR, "NoThreshold", text, value, seen, base)
    broken = _broken_limit(metric.threshold, number)
    if broken:
        return Look(
            MeasurementOutcome.BEYOND,
            "LimitExceeded",
            f"{value} {broken}{rests}{compared}",
            value,
            seen,
            base,
        )
    text = f"{value} is within {limits_text(metric.threshold)}{rests}{compared}"
    return Look(MeasurementOutcome.WITHIN, "WithinLimits", text, value, seen, base)


def _judge(metric: Metric, before: MetricStatus, look: Look, failures: int) -> tuple[Verdict, str, str]:
    if before.verdict is Verdict.FAIL:
        return Verdict.FAIL, before.reason, before.message
    match look.outcome:
        case MeasurementOutcome.WITHIN:
            return Verdict.PASS, look.reason, look.message
        case MeasurementOutcome.BEYOND if failures > metric.failure_limit:
            return Verdict.FAIL, look.reason, look.message
        case MeasurementOutcome.BEYOND:
            tolerated = f"{look.message}; {failures} in a row, {metric.failure_limit} tolerated"
            return Verdict.INCONCLUSIVE, "LimitExceededTolerated", tolerated
        case _:
            return Verdict.INCONCLUSIVE, look.reason, look.message


def _failures_in_a_row(before: int, outcome: MeasurementOutcome) -> int:
    """Within the limits resets the count; looks that say nothing leave it as it was."""
    if outcome is MeasurementOutcome.BEYOND:
        return before + 1
    return 0 if outcome is MeasurementOutcome.WITHIN else before


def _single(answer: Vector | QueryError) -> float | Look:
    """The one number of an answer, or the Look that says why there is none."""
    if isinstance(answer, QueryError):
        return Look(MeasurementOutcome.ERROR, answer.reason, answer.message)
    if not answer.samples:
        return Look(MeasurementOutcome.NO_DATA, "NoData", "Prometheus has no data for the query yet")
    if len(answer.samples) > 1:
        text = f"the query must give one number, it gives {len(answer.samples)} series; aggregate with sum() or max()"
        return Look(MeasurementOutcome.ERROR, "SeveralSeries", text)
    value = answer.samples[0].value
    if not math.isfinite(value):
        text = f"the query gives {value}, which is no number to judge; often a division by zero before any traffic"
        return Look(MeasurementOutcome.NO_DATA, "NotANumber", text)
    return value


def _number_or_none(answer: Vector | QueryError | None) -> float | None:
    if not isinstance(answer, Vector) or len(answer.samples) != 1:
        return None
    value = answer.samples[0].value
    return value if math.isfinite(value) else None


def _broken_limit(threshold: Threshold, value: float) -> str | None:
    exact = Decimal(repr(value))
    if threshold.min is not None and exact < Decimal(threshold.min):
        return f"is below the limit {threshold.min}"
    if threshold.max is not None and exact > Decimal(threshold.max):
        return f"is above the limit {threshold.max}"
    return None


def limits_text(threshold: Threshold) -> str:
    """The limits for a person."""
    low = f"at least {threshold.min}" if threshold.min is not None else ""
    high = f"at most {threshold.max}" if threshold.max is not None else ""
    return " and ".join(part for part in (low, high) if part)


def format_value(value: float) -> str:
    """A number with six significant digits as a plain decimal; what is too long for that, with an exponent."""
    text = f"{Decimal(f'{value:.6g}'):f}"
    if len(text) > _VALUE_LIMIT:
        return "0" if abs(value) < 1 else f"{value:.6g}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
