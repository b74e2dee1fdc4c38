"""How many events a node counts per hour for each metric today, from Prometheus or from flags."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgecanary.analysis.query import QueryError
from edgecanary.api.analysis import Analysis, Metric, Preset
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.base.quantities import human_seconds
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.prometheus import Prometheus, Trust
from edgecanary.rollout.forecast_gates import Rates

_SLOW = {Preset.LATENCY_P95: 0.05, Preset.LATENCY_P99: 0.01}
"""Share of answers beyond the stable revision's own quantile, which comparisons count as bad."""


_ADVICE = "give --requests-per-hour and --error-rate, or --prometheus"


@dataclass(frozen=True)
class Traffic:
    """Rates by metric name, and what is to be said of where they come from."""

    rates: Mapping[str, Rates]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counter:
    """What the agents count for a preset: the metric, and which outcome is bad."""

    name: str
    bad: str


_REQUESTS = Counter("edgecanary_requests_total", 'outcome="error"')
_FEEDBACK = Counter("edgecanary_feedback_total", 'outcome="incorrect"')


def counter_of(metric: Metric) -> Counter:
    """What decides when the metric has enough data."""
    return _FEEDBACK if metric.preset is Preset.ACCURACY else _REQUESTS


def from_flags(analysis: Analysis, options: argparse.Namespace) -> Traffic:
    """The rates that --requests-per-hour and --error-rate mean, the same for all metrics."""
    rates = {
        metric.name: Rates(
            options.requests_per_hour, _SLOW.get(metric.preset, options.error_rate) if metric.preset else None
        )
        for metric in analysis.metrics
    }
    note = f"{options.requests_per_hour:g} answers per node and hour, as --requests-per-hour says"
    return Traffic(rates, (note,))


def from_prometheus(
    analysis: Analysis, server: Prometheus, *, namespace: str, model: str, seconds: float
) -> Traffic:
    """The rates of the last `seconds`; metrics that Prometheus says nothing about are left out and noted."""
    labels = f'namespace="{namespace}",model="{model}"'
    found: dict[Counter, Rates] = {}
    notes = []
    for counter in dict.fromkeys(counter_of(metric) for metric in analysis.metrics):
        rates = _ask(server, counter, labels, max(1, round(seconds)))
        if isinstance(rates, Rates):
            found[counter] = rates
            notes.append(f"{_words(counter, rates)}, over the last {human_seconds(seconds)} by {server.url}")
        else:
            notes.append(f"the rate of {counter.name} is not known: {rates}; {_ADVICE}")
    by_metric = {
        metric.name: _for_metric(metric, found[counter_of(metric)])
        for metric in analysis.metrics
        if counter_of(metric) in found
    }
    return Traffic(by_metric, tuple(notes))


def _ask(server: Prometheus, counter: Counter, labels: str, seconds: int) -> Rates | str:
    """The rates of a counter by the average node, or why there are none."""
    selected = f"{counter.name}{{{labels}"
    total = _number(server, f"sum(rate({selected}}}[{seconds}s]))")
    if isinstance(total, str):
        return total
    nodes = _number(server, f"count(count by (node) (rate({selected}}}[{seconds}s])))")
    bad = _number(server, f"sum(rate({selected},{counter.bad}}}[{seconds}s]))", empty=0.0)
    if isinstance(nodes, str) or isinstance(bad, str):
        return str(nodes if isinstance(nodes, str) else bad)
    if total <= 0 or nodes <= 0:
        return "Prometheus has counted nothing in that time"
    return Rates(total / nodes * 3600, bad / total)


def _number(server: Prometheus, promql: str, *, empty: float | None = None) -> float | str:
    answer = server.query(promql)
    if isinstance(answer, QueryError):
        return answer.message
    if not answer.samples:
        return "Prometheus has no data for the model" if empty is None else empty
    value = answer.samples[0].value
    return value if math.isfinite(value) else f"Prometheus gives {value}"


def _for_metric(metric: Metric, rates: Rates) -> Rates:
    if metric.preset is None:
        return Rates(rates.per_hour)
    return Rates(rates.per_hour, _SLOW.get(metric.preset, rates.bad_share))


def _words(counter: Counter, rates: Rates) -> str:
    what = "judged answers" if counter is _FEEDBACK else "answers"
    bad = "" if rates.bad_share is None else f", {rates.bad_share:.3%} of them bad"
    return f"{rates.per_hour:,.0f} {what} per node and hour{bad}"


def open_prometheus(
    analysis: Analysis, options: argparse.Namespace, *, kube: KubeClient | None, namespace: str
) -> Prometheus | str:
    """The Prometheus to ask, or why it cannot be asked."""
    source = analysis.prometheus
    if options.prometheus is not None:
        return Prometheus(options.prometheus, timeout_seconds=source.timeout_seconds)
    if source.secret_ref is None:
        return Prometheus(source.url, timeout_seconds=source.timeout_seconds)
    name = source.secret_ref.name
    if kube is None:
        return f"{source.url} needs the Secret {name}, which only a cluster has"
    try:
        trust = Trust.from_secret(Secrets(kube).read(namespace, name), name=name)
        return Prometheus(source.url, timeout_seconds=source.timeout_seconds, trust=trust)
    except EdgecanaryError as error:
        return error.message


def find_traffic(
    analysis: Analysis | None,
    options: argparse.Namespace,
    *,
    kube: KubeClient | None,
    namespace: str,
    model: str,
) -> Traffic:
    """The rates by the flags where they are given, else by Prometheus.

    Raises InvalidInput when --error-rate stands alone, or --prometheus is no address.
    """
    if options.error_rate is not None and options.requests_per_hour is None:
        raise InvalidInput(
            "--error-rate", "must be given together with --requests-per-hour", reason="InvalidSetting"
        )
    if options.prometheus is not None and not options.prometheus.startswith(("http://", "https://")):
        rule = f"must be an http:// or https:// address, got {options.prometheus!r}"
        raise InvalidInput("--prometheus", rule, reason="InvalidSetting")
    if analysis is None:
        return Traffic({})
    if options.requests_per_hour is not None:
        return from_flags(analysis, options)
    server = open_prometheus(analysis, options, kube=kube, namespace=namespace)
    if isinstance(server, str):
        return Traffic({}, (f"the request rate is not known: {server}; {_ADVICE}",))
    return from_prometheus(analysis, server, namespace=namespace, model=model, seconds=options.rate_seconds)
