"""The Ratio comparison: the canary's value against the stable revision's, by a plain percentage.

There is no statistics in it: it is for values that do not come from counting, such as memory. Higher is worse.
"""

from edgecanary.analysis.look import Look, format_value
from edgecanary.analysis.query import Answer
from edgecanary.analysis.threshold import count_or_none, single, too_few
from edgecanary.api.analysis import Comparison, Metric
from edgecanary.api.rollout_status import MeasurementOutcome


def look_at_ratio(metric: Metric, comparison: Comparison, answer: Answer) -> Look:
    """What the answer says of the metric by the increase over the stable revision."""
    number = single(answer.value)
    if isinstance(number, Look):
        return number
    seen, value = count_or_none(answer), format_value(number)
    stable = single(answer.baseline)
    if isinstance(stable, Look):
        text = f"{value}, but nothing to compare it with: the stable revision: {stable.message}"
        return Look(stable.outcome, stable.reason, text, value, seen)
    base = format_value(stable)
    if (few := too_few(metric, seen, value)) is not None:
        return Look(MeasurementOutcome.TOO_FEW_SAMPLES, "TooFewSamples", few, value, seen, base)
    percent = comparison.max_increase_percent or 0
    if stable < 0 or (stable == 0 and number != 0):
        text = f"{value} has no ratio to the stable revision's {base}, which must be above 0; use a threshold"
        return Look(MeasurementOutcome.ERROR, "NoRatio", text, value, seen, base)
    limit = stable * (1 + percent / 100)
    rests = "" if seen is None else f" over {seen} samples"
    rise = 0.0 if stable == 0 else (number / stable - 1) * 100
    change = f"{value} is {abs(rise):.3g} % {'above' if rise >= 0 else 'below'} the stable revision's {base}{rests}"
    if number > limit:
        text = f"{change}; at most {percent} % above is allowed"
        return Look(MeasurementOutcome.BEYOND, "IncreaseExceeded", text, value, seen, base)
    text = f"{change}; up to {percent} % above is allowed"
    return Look(MeasurementOutcome.WITHIN, "WithinLimits", text, value, seen, base)
