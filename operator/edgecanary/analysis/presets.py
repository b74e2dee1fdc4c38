"""The PromQL of each preset: plain queries over the agents' metrics that a person can paste into Prometheus."""

from edgecanary.analysis.query import MetricQuery
from edgecanary.analysis.template import Scope, fill
from edgecanary.api.analysis import Metric, Preset

_REQUESTS = "edgecanary_requests_total"
_FEEDBACK = "edgecanary_feedback_total"
_SHADOW = "edgecanary_shadow_total"
_DURATION = "edgecanary_request_duration_seconds_bucket"


def build_query(metric: Metric, scope: Scope, *, field: str) -> MetricQuery:
    """What to ask for the metric: the canary's value, the answers that it rests on, the stable value.

    Raises InvalidInput naming `field` when a custom query has an unknown place.
    """
    if metric.preset is None:
        value = fill(metric.query or "", scope, field=f"{field}.query")
        return MetricQuery(metric.name, value, samples=_count(_REQUESTS, scope, scope.canary))
    counted = {Preset.ACCURACY: _FEEDBACK, Preset.DISAGREEMENT: _SHADOW}.get(metric.preset, _REQUESTS)
    return MetricQuery(
        metric.name,
        value=_value(metric.preset, scope, scope.canary),
        samples=_count(counted, scope, scope.canary),
        baseline=_value(metric.preset, scope, scope.stable) if scope.stable else None,
    )


def _value(preset: Preset, scope: Scope, revision: str) -> str:
    labels = _labels(scope, revision)
    match preset:
        case Preset.ERROR_RATE:
            return _share(_REQUESTS, "error", scope, revision)
        case Preset.ACCURACY:
            return _share(_FEEDBACK, "correct", scope, revision)
        case Preset.DISAGREEMENT:
            return _share(_SHADOW, "disagree", scope, revision)
        case Preset.LATENCY_P95:
            return _quantile("0.95", scope, revision)
        case Preset.LATENCY_P99:
            return _quantile("0.99", scope, revision)
        case Preset.MEMORY:
            return f"max(edgecanary_model_memory_bytes{{{labels}}})"
        case Preset.DRIFT:
            return f"max(edgecanary_drift_score{{{labels}}})"


def _labels(scope: Scope, revision: str) -> str:
    return f'namespace="{scope.namespace}",model="{scope.model}",revision="{revision}"'


def _count(metric: str, scope: Scope, revision: str) -> str:
    return f"sum(increase({metric}{{{_labels(scope, revision)}}}[{scope.window_seconds}s]))"


def _share(metric: str, outcome: str, scope: Scope, revision: str) -> str:
    chosen = f'{metric}{{{_labels(scope, revision)},outcome="{outcome}"}}[{scope.window_seconds}s]'
    return f"sum(increase({chosen})) / {_count(metric, scope, revision)}"


def _quantile(quantile: str, scope: Scope, revision: str) -> str:
    rates = f"rate({_DURATION}{{{_labels(scope, revision)}}}[{scope.window_seconds}s])"
    return f"histogram_quantile({quantile}, sum by (le) ({rates}))"
