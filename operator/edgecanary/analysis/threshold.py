"""The threshold of a gate: one value against its limits. No data, no number and an error say nothing."""

import math
from decimal import Decimal

from edgecanary.analysis.look import Look, format_value
from edgecanary.analysis.query import Answer, QueryError, Vector
from edgecanary.api.analysis import Metric, Threshold
from edgecanary.api.rollout_status import MeasurementOutcome


def look_at_threshold(metric: Metric, threshold: Threshold, answer: Answer) -> Look:
    """What the answer says of the metric by its threshold."""
    number = single(answer.value)
    if isinstance(number, Look):
        return number
    baseline, seen = number_or_none(answer.baseline), count_or_none(answer)
    value = format_value(number)
    base = None if baseline is None else format_value(baseline)
    if (few := too_few(metric, seen, value)) is not None:
        return Look(MeasurementOutcome.TOO_FEW_SAMPLES, "TooFewSamples", few, value, seen, base)
    rests = "" if seen is None else f" over {seen} samples"
    compared = "" if base is None else f" (stable: {base})"
    if broken := _broken_limit(threshold, number):
        text = f"{value} {broken}{rests}{compared}"
        return Look(MeasurementOutcome.BEYOND, "LimitExceeded", text, value, seen, base)
    text = f"{value} is within {limits_text(threshold)}{rests}{compared}"
    return Look(MeasurementOutcome.WITHIN, "WithinLimits", text, value, seen, base)


def too_few(metric: Metric, seen: int | None, value: str) -> str | None:
    """What to say when fewer samples were seen than the metric wants; None when they suffice."""
    if not metric.min_samples or (seen is not None and seen >= metric.min_samples):
        return None
    have = "an unknown number of" if seen is None else str(seen)
    return f"needs {metric.min_samples} samples, has {have}; {value} so far"


def single(answer: Vector | QueryError | None) -> float | Look:
    """The one number of an answer, or the Look that says why there is none."""
    if answer is None:
        return Look(MeasurementOutcome.ERROR, "NotAsked", "the query was not asked")
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


def number_or_none(answer: Vector | QueryError | None) -> float | None:
    """The one finite number of an answer, if it has just that."""
    if not isinstance(answer, Vector) or len(answer.samples) != 1:
        return None
    value = answer.samples[0].value
    return value if math.isfinite(value) else None


def count_or_none(answer: Answer) -> int | None:
    """How many answers the value rests on, where that is known."""
    samples = number_or_none(answer.samples)
    return None if samples is None else int(samples + 0.5)


def limits_text(threshold: Threshold) -> str:
    """The limits for a person."""
    low = f"at least {threshold.min}" if threshold.min is not None else ""
    high = f"at most {threshold.max}" if threshold.max is not None else ""
    return " and ".join(part for part in (low, high) if part)


def _broken_limit(threshold: Threshold, value: float) -> str | None:
    exact = Decimal(repr(value))
    if threshold.min is not None and exact < Decimal(threshold.min):
        return f"is below the limit {threshold.min}"
    if threshold.max is not None and exact > Decimal(threshold.max):
        return f"is above the limit {threshold.max}"
    return None
