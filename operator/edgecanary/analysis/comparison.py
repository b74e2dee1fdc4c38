"""The comparison of a gate: canary nodes against stable nodes, by the method that the spec names.

A regression that was found fails the gate. None found passes it only once the comparison would have found the
increase that the spec declares; until then the gate is Inconclusive and says what it still needs.
"""

import numpy as np

from edgecanary.analysis.compared import Compared, compare, evidence_limit, rejected_share
from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.look import NOT_APPLICABLE, Look, format_value
from edgecanary.analysis.query import Answer, CountsQuery, QueryError
from edgecanary.analysis.ratio import look_at_ratio
from edgecanary.analysis.threshold import too_few
from edgecanary.analysis.wording import describe_compared, describe_need, describe_worst
from edgecanary.api.analysis import Comparison, ComparisonMethod, Metric, Preset
from edgecanary.api.rollout_status import MeasurementOutcome

_UNDECIDED = {
    "CountsIncomplete": MeasurementOutcome.TOO_FEW_SAMPLES,
    "NoData": MeasurementOutcome.NO_DATA,
}
"""What errors of counting are to a gate; all others are errors."""

_SETTLING_SECONDS = 120
"""After the warm-up: until a node's first counts can be in Prometheus."""


def look_at_comparison(metric: Metric, comparison: Comparison, answer: Answer, *, bound: str) -> Look:
    """What the answer says of the metric by its comparison; `bound` is the latency bound of the attempt."""
    if comparison.method is ComparisonMethod.RATIO:
        if answer.query.baseline is None:
            return _nothing_to_compare()
        return look_at_ratio(metric, comparison, answer)
    if answer.query.counts is None or metric.preset is None:
        return _nothing_to_compare()
    if answer.counts is None:
        return Look(MeasurementOutcome.ERROR, "NotAsked", "the counts were not asked")
    if isinstance(answer.counts, QueryError):
        outcome = _UNDECIDED.get(answer.counts.reason, MeasurementOutcome.ERROR)
        return Look(outcome, answer.counts.reason, answer.counts.message)
    if (nothing := _nothing_counted(answer.query.counts, answer.counts)) is not None:
        return nothing
    return _judge(
        metric, metric.preset, comparison, compare(comparison, answer.query.counts, answer.counts), bound
    )


def comparison_limit(comparison: Comparison) -> str:
    """What a comparison holds its evidence against, for people."""
    if comparison.method is ComparisonMethod.RATIO:
        return f"at most {comparison.max_increase_percent} % above the stable revision"
    if comparison.method is ComparisonMethod.RANDOMIZATION:
        return (
            f"not among the worst choices of canaries at {format_value(100 * rejected_share(comparison))} %"
        )
    return f"evidence below {format_value(evidence_limit(comparison))}"


def _judge(metric: Metric, preset: Preset, comparison: Comparison, found: Compared, bound: str) -> Look:
    text = describe_compared(preset, comparison, found, bound)
    samples, value = round(found.total), format_value(_shown(preset, found.share))
    if (few := too_few(metric, samples, value)) is not None:
        outcome, reason, text = MeasurementOutcome.TOO_FEW_SAMPLES, "TooFewSamples", few
    elif found.obstacle:
        outcome, reason, text = (
            MeasurementOutcome.TOO_FEW_SAMPLES,
            "TooFewChoices",
            f"{text}; {found.obstacle}",
        )
    elif found.regression:
        outcome, reason = MeasurementOutcome.BEYOND, "RegressionFound"
        text += describe_worst(found.worst)
    elif found.cleared:
        outcome, reason = MeasurementOutcome.WITHIN, "NoRegression"
        text += f"; a {comparison.detect_ratio}x increase would have been found"
    else:
        outcome, reason = MeasurementOutcome.TOO_FEW_SAMPLES, "ExposureTooLow"
        text += f"; {describe_need(preset, found)}"
    return Look(
        outcome,
        reason,
        text,
        value=value,
        samples=samples,
        baseline=format_value(_shown(preset, found.expected_share)),
        evidence=found.evidence,
        worst_nodes=found.worst,
    )


def _shown(preset: Preset, share: float) -> float:
    """The share of bad events as the preset's own value: accuracy is the share of good ones."""
    return 1.0 - share if preset is Preset.ACCURACY else share


def _nothing_counted(query: CountsQuery, counts: ComparisonCounts) -> Look | None:
    """What to say while no event of a canary node counts; None when some do."""
    since = counts.since
    if float(np.where(since.canary, since.total, 0.0).sum()) > 0:
        return None
    if not since.canary.any():
        return Look(
            MeasurementOutcome.NO_DATA, "NoData", "Prometheus has no samples of the canary revision yet"
        )
    switched = since.canary.any(0)
    seconds = float(since.ticks[switched].sum()) * counts.tick_seconds
    if seconds <= query.warmup_seconds + _SETTLING_SECONDS:
        text = f"canary nodes are warming up: the first {query.warmup_seconds} s of each do not count"
        return Look(MeasurementOutcome.TOO_FEW_SAMPLES, "WarmingUp", text)
    return Look(
        MeasurementOutcome.NO_DATA, "NoData", "the canary nodes have counted nothing since their warm-up"
    )


def _nothing_to_compare() -> Look:
    text = "there is no stable revision to compare with in the first rollout; the comparison does not decide"
    return Look(MeasurementOutcome.TOO_FEW_SAMPLES, NOT_APPLICABLE, text, applies=False)
