"""How many events nodes count for each metric today, and what their history says: from Prometheus or from flags."""

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgecanary.analysis.counting import Attempt, build_counts
from edgecanary.analysis.labels import FEEDBACK, REQUESTS
from edgecanary.analysis.prospect import Learned, learn_fleet
from edgecanary.analysis.query import QueryError
from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import Analysis, Metric, Preset, PrometheusSource
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.base.quantities import human_seconds
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.clients.prometheus import Trust
from edgecanary.controller.counts_history import read_past
from edgecanary.controller.prometheus_session import Session
from edgecanary.rollout.forecast_gates import BY_COUNTS, Rates

_SLOW = {Preset.LATENCY_P95: 0.05, Preset.LATENCY_P99: 0.01}
"""Share of answers beyond the stable revision's own quantile, which comparisons count as bad."""


PATIENCE_SECONDS = 60
"""How long all questions of a plan may take: a person waits, and the history of a large fleet is long."""

_ADVICE = "give --requests-per-hour and --error-rate, or --prometheus"


@dataclass(frozen=True)
class Traffic:
    """Rates by metric name, and what is to be said of where they come from."""

    rates: Mapping[str, Rates]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What the plan is about: the model, the revision that is planned and the stable one, empty if not known."""

    namespace: str
    model: str
    canary: str
    stable: str

    @property
    def labels(self) -> str:
        """Label matchers for the model."""
        return f'namespace="{self.namespace}",model="{self.model}"'


@dataclass(frozen=True)
class Counter:
    """What the agents count for a preset: the metric, and which outcome is bad."""

    name: str
    bad: str


_REQUESTS = Counter(REQUESTS, 'outcome="error"')
_FEEDBACK = Counter(FEEDBACK, 'outcome="incorrect"')


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


def from_prometheus(analysis: Analysis, session: Session, subject: Subject, seconds: float) -> Traffic:
    """The rates of the last `seconds`; metrics that Prometheus says nothing about are left out and noted."""
    found: dict[Counter, Rates] = {}
    notes = []
    for counter in dict.fromkeys(counter_of(metric) for metric in analysis.metrics):
        rates = _ask(session, counter, subject.labels, max(1, round(seconds)))
        if isinstance(rates, Rates):
            found[counter] = rates
            notes.append(f"{_words(counter, rates)}, over the last {human_seconds(seconds)} by {session.url}")
        else:
            notes.append(f"the rate of {counter.name} is not known: {rates}; {_ADVICE}")
    by_metric = {
        metric.name: _for_metric(metric, found[counter_of(metric)])
        for metric in analysis.metrics
        if counter_of(metric) in found
    }
    for name, learned in _histories(analysis, session, subject, by_metric, max(1, round(seconds))):
        if isinstance(learned, str):
            notes.append(f"the history of {name} is not known: {learned}")
        else:
            by_metric[name] = replace(by_metric[name], learned=learned)
    return Traffic(by_metric, tuple(notes))


def _histories(
    analysis: Analysis, session: Session, subject: Subject, rates: Mapping[str, Rates], seconds: int
) -> Iterator[tuple[str, Learned | str]]:
    """What the history says of each metric that is compared by counts, or why it says nothing."""
    asked = [metric for metric in analysis.metrics if metric.name in rates and _by_counts(metric)]
    if not asked:
        return
    stable = subject.stable or _most_served(session, subject, seconds)
    for metric in asked:
        if isinstance(stable, QueryError):
            yield metric.name, stable.message
        else:
            yield metric.name, _history(analysis, metric, session, replace(subject, stable=stable))


def _by_counts(metric: Metric) -> bool:
    comparison = metric.comparison
    return metric.preset is not None and comparison is not None and comparison.method in BY_COUNTS


def _most_served(session: Session, subject: Subject, seconds: int) -> str | QueryError:
    """The revision that most nodes answered with, other than the one that is planned."""
    selected = f'{REQUESTS}{{{subject.labels},revision!="{subject.canary}"}}'
    answer = session.instant(
        f"count by (revision) (count by (node, revision) (rate({selected}[{seconds}s])))"
    )
    if isinstance(answer, QueryError):
        return answer
    nodes = {dict(sample.labels).get("revision", ""): sample.value for sample in answer.samples}
    if not nodes:
        return QueryError("NoData", "Prometheus has no data of another revision")
    return max(sorted(nodes), key=lambda revision: nodes[revision])


def _history(analysis: Analysis, metric: Metric, session: Session, subject: Subject) -> Learned | str:
    """The history as the metric's comparison would read it if the rollout began now."""
    if metric.preset is None or metric.comparison is None:
        return "it is not compared by counts"
    # Nothing of the revision that is planned counts: the stable one stands for both.
    scope = Scope(subject.namespace, subject.model, subject.stable, subject.stable, (), 0)
    attempt = Attempt((SystemClock().now(),), analysis.history_seconds, analysis.interval_seconds)
    past = read_past(build_counts(metric.preset, metric.comparison, scope, attempt), session)
    if isinstance(past, QueryError):
        return past.message
    learned = learn_fleet(past.nodes, past.history, past.tick_seconds)
    return learned or "it is too short, or nothing bad was counted in it"


def _ask(session: Session, counter: Counter, labels: str, seconds: int) -> Rates | str:
    """The rates of a counter by the average node, or why there are none."""
    selected = f"{counter.name}{{{labels}"
    total = _number(session, f"sum(rate({selected}}}[{seconds}s]))")
    if isinstance(total, str):
        return total
    nodes = _number(session, f"count(count by (node) (rate({selected}}}[{seconds}s])))")
    bad = _number(session, f"sum(rate({selected},{counter.bad}}}[{seconds}s]))", empty=0.0)
    if isinstance(nodes, str) or isinstance(bad, str):
        return str(nodes if isinstance(nodes, str) else bad)
    if total <= 0 or nodes <= 0:
        return "Prometheus has counted nothing in that time"
    return Rates(total / nodes * 3600, bad / total)


def _number(session: Session, promql: str, *, empty: float | None = None) -> float | str:
    answer = session.instant(promql)
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


def open_session(
    analysis: Analysis, options: argparse.Namespace, *, kube: KubeClient | None, namespace: str
) -> Session | str:
    """The Prometheus to ask, or why it cannot be asked."""
    patient = {"timeout_seconds": max(PATIENCE_SECONDS, analysis.prometheus.timeout_seconds)}
    source = analysis.prometheus.model_copy(update=patient)
    if options.prometheus is not None:
        return _session(source.model_copy(update={"url": options.prometheus}), Trust())
    if source.secret_ref is None:
        return _session(source, Trust())
    name = source.secret_ref.name
    if kube is None:
        return f"{source.url} needs the Secret {name}, which only a cluster has"
    try:
        return _session(source, Trust.from_secret(Secrets(kube).read(namespace, name), name=name))
    except EdgecanaryError as error:
        return error.message


def _session(source: PrometheusSource, trust: Trust) -> Session:
    return Session(source, trust, observe=lambda _: None)


def find_traffic(
    analysis: Analysis | None,
    options: argparse.Namespace,
    subject: Subject,
    *,
    kube: KubeClient | None,
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
    session = open_session(analysis, options, kube=kube, namespace=subject.namespace)
    if isinstance(session, str):
        return Traffic({}, (f"the request rate is not known: {session}; {_ADVICE}",))
    return from_prometheus(analysis, session, subject, options.rate_seconds)
