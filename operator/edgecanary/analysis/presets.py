"""The PromQL of each preset: plain queries over the agents' metrics that a person can paste into Prometheus."""

from dataclasses import replace
from datetime import datetime

from edgecanary.analysis.counting import Attempt, build_counts, shown_query
from edgecanary.analysis.labels import (
    DRIFT,
    DRIFT_SAMPLES,
    DURATION,
    FEEDBACK,
    MEMORY,
    REQUESTS,
    SHADOW,
    of_revision,
)
from edgecanary.analysis.query import MetricQuery
from edgecanary.analysis.template import Scope, fill, names_place
from edgecanary.api.analysis import ComparisonMethod, Metric, Preset
from edgecanary.base.errors import InvalidInput

METHODS: dict[Preset | None, tuple[ComparisonMethod, ...]] = {
    None: (ComparisonMethod.RATIO,),
    Preset.ERROR_RATE: (
        ComparisonMethod.NEGATIVE_BINOMIAL,
        ComparisonMethod.RANDOMIZATION,
        ComparisonMethod.RATIO,
    ),
    Preset.LATENCY_P95: (
        ComparisonMethod.NEGATIVE_BINOMIAL,
        ComparisonMethod.RANDOMIZATION,
        ComparisonMethod.RATIO,
    ),
    Preset.LATENCY_P99: (
        ComparisonMethod.NEGATIVE_BINOMIAL,
        ComparisonMethod.RANDOMIZATION,
        ComparisonMethod.RATIO,
    ),
    Preset.ACCURACY: (ComparisonMethod.NEGATIVE_BINOMIAL, ComparisonMethod.RANDOMIZATION),
    Preset.DISAGREEMENT: (ComparisonMethod.PAIRED,),
    Preset.MEMORY: (ComparisonMethod.RATIO,),
    Preset.DRIFT: (ComparisonMethod.RATIO,),
}
"""By which methods a preset (None: a custom query) can be compared; the API server refuses the others."""


def build_query(
    metric: Metric, scope: Scope, *, field: str, attempt: Attempt | None = None, now: datetime | None = None
) -> MetricQuery:
    """What to ask for the metric: the canary's value, the answers that it rests on, the stable value.

    A metric with a comparison needs the attempt and the time too; without a stable revision there is nothing to
    compare with and only the value is asked. Raises InvalidInput naming `field` when a custom query has an
    unknown place, or the comparison's method does not fit.
    """
    plain = _plain(metric, scope, field)
    comparison = metric.comparison
    if comparison is None or not scope.stable or attempt is None or now is None:
        return plain
    check_comparison(metric, field=field)
    if comparison.method is ComparisonMethod.RATIO or metric.preset is None:
        return _with_baseline(metric, plain, scope, attempt, field)
    counts = build_counts(metric.preset, comparison, scope, attempt)
    if metric.threshold is not None:
        return replace(plain, counts=counts)
    return MetricQuery(metric.name, shown_query(counts, now), counts=counts, asks_value=False)


def _plain(metric: Metric, scope: Scope, field: str) -> MetricQuery:
    if metric.preset is None:
        value = fill(metric.query or "", scope, field=f"{field}.query")
        return MetricQuery(metric.name, value, samples=_count(REQUESTS, scope, scope.canary))
    return MetricQuery(
        metric.name,
        value=_value(metric.preset, scope, scope.canary),
        samples=_samples(metric.preset, scope),
        baseline=_value(metric.preset, scope, scope.stable) if scope.stable else None,
    )


def _with_baseline(
    metric: Metric, plain: MetricQuery, scope: Scope, attempt: Attempt, field: str
) -> MetricQuery:
    """With the stable revision's value, or the one it had when the rollout began."""
    baseline = plain.baseline
    if metric.preset is None:
        baseline = fill(metric.query or "", replace(scope, canary=scope.stable), field=f"{field}.query")
    return replace(
        plain, baseline=baseline, baseline_at=attempt.step_times[0] if attempt.step_times else None
    )


def check_comparison(metric: Metric, *, field: str) -> None:
    """Raises InvalidInput naming the field when the metric's comparison can't be judged."""
    comparison = metric.comparison
    if comparison is None:
        return
    known = METHODS[metric.preset]
    if comparison.method not in known:
        fits = " or ".join(known)
        raise InvalidInput(
            f"{field}.comparison.method",
            f"must be {fits} for {metric.preset or 'a query'}, got {comparison.method}",
        )
    if metric.preset is None and not names_place(metric.query or "", "canary"):
        raise InvalidInput(
            f"{field}.query",
            "must name {{ canary }} to be compared: the same is asked for the stable revision",
        )


def _value(preset: Preset, scope: Scope, revision: str) -> str:
    labels = of_revision(scope, revision)
    match preset:
        case Preset.ERROR_RATE:
            return _share(REQUESTS, '="error"', scope, revision)
        case Preset.ACCURACY:
            return _share(FEEDBACK, '="correct"', scope, revision)
        case Preset.DISAGREEMENT:
            return _share(SHADOW, '!="agree"', scope, revision)
        case Preset.LATENCY_P95:
            return _quantile("0.95", scope, revision)
        case Preset.LATENCY_P99:
            return _quantile("0.99", scope, revision)
        case Preset.MEMORY:
            return f"max({MEMORY}{{{labels}}})"
        case Preset.DRIFT:
            return f"max({DRIFT}{{{labels}}})"


def _samples(preset: Preset, scope: Scope) -> str:
    if preset is Preset.DRIFT:
        return f"sum({DRIFT_SAMPLES}{{{of_revision(scope, scope.canary)}}})"
    counted = {Preset.ACCURACY: FEEDBACK, Preset.DISAGREEMENT: SHADOW}.get(preset, REQUESTS)
    return _count(counted, scope, scope.canary)


def _count(metric: str, scope: Scope, revision: str) -> str:
    return f"sum(increase({metric}{{{of_revision(scope, revision)}}}[{scope.window_seconds}s]))"


def _share(metric: str, outcome: str, scope: Scope, revision: str) -> str:
    chosen = f"{metric}{{{of_revision(scope, revision)},outcome{outcome}}}[{scope.window_seconds}s]"
    return f"sum(increase({chosen})) / {_count(metric, scope, revision)}"


def _quantile(quantile: str, scope: Scope, revision: str) -> str:
    rates = f"rate({DURATION}_bucket{{{of_revision(scope, revision)}}}[{scope.window_seconds}s])"
    return f"histogram_quantile({quantile}, sum by (le) ({rates}))"
