"""The operator's own metrics. Labels have few values: kinds, verbs, reasons; what names objects is in series.py."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from edgecanary import __version__
from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.clients.resources import Resource
from edgecanary.controller.series import FleetSeries, Shown

_SECONDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0)


class OperatorMetrics:
    """Counts what the operator does, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._work = Histogram(
            "edgecanary_operator_reconcile_seconds",
            "Time to work on one key, by queue and outcome (ok or the error's reason).",
            ("queue", "outcome"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._calls = Counter(
            "edgecanary_operator_api_calls_total",
            "Calls to the API server, by verb, resource and outcome (ok or the error's reason).",
            ("verb", "resource", "outcome"),
            registry=self._registry,
        )
        self._queries = Counter(
            "edgecanary_operator_prometheus_queries_total",
            "Queries to Prometheus, by outcome (ok, empty or the error's reason).",
            ("outcome",),
            registry=self._registry,
        )
        self._watch_restarts = Counter(
            "edgecanary_operator_watch_restarts_total",
            "How often the watches were begun anew after a failure.",
            registry=self._registry,
        )
        self._notices = Counter(
            "edgecanary_notifications_total",
            "Tries to tell the webhook, by outcome (taken, refused or failed).",
            ("outcome",),
            registry=self._registry,
        )
        self._ended = Counter(
            "edgecanary_operator_rollouts_ended_total",
            "Revisions whose time as canary ended while this process led, by outcome.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in HistoryOutcome:
            self._ended.labels(outcome)
        self._fleet = FleetSeries()
        self._registry.register(self._fleet)
        self._depth = self._gauge("queue_waiting", "Keys that are due and wait for a worker.", "queue")
        self._running = self._gauge("queue_working", "Keys that are being worked on.", "queue")
        self._rollouts = self._gauge("rollouts", "Rollouts by the reason of their Ready condition.", "reason")
        self._models = self._gauge("models", "EdgeModels by the reason of their Ready condition.", "reason")
        self._overdue = self._gauge(
            "watch_overdue_seconds", "For how long the watch owes what a list has shown.", "resource"
        )
        self._leader = Gauge(
            "edgecanary_leader",
            "Whether this replica decides (1) or follows (0).",
            registry=self._registry,
        )
        info = self._gauge("info", "The operator's version.", "version")
        info.labels(__version__).set(1)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"edgecanary_operator_{name}", text, labels, registry=self._registry)

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """One piece of work ended."""
        self._work.labels(queue, outcome).observe(seconds)

    def called(self, verb: str, resource: Resource, outcome: str) -> None:
        """One call to the API server ended."""
        self._calls.labels(verb, resource.plural, outcome).inc()

    def queried(self, outcome: str) -> None:
        """One query to Prometheus ended."""
        self._queries.labels(outcome).inc()

    def notified(self, outcome: str) -> None:
        """One try to tell the webhook ended."""
        self._notices.labels(outcome).inc()

    def watch_restarted(self) -> None:
        """The watches are begun anew after a failure."""
        self._watch_restarts.inc()

    def ended(self, outcome: HistoryOutcome) -> None:
        """A revision's time as canary ended."""
        self._ended.labels(outcome).inc()

    def show(self, shown: Shown) -> None:
        """What the next scrape says of Rollouts, signatures and agents."""
        self._fleet.show(shown)

    def set_load(self, queue: str, *, waiting: int, working: int) -> None:
        """What a queue has to do now."""
        self._depth.labels(queue).set(waiting)
        self._running.labels(queue).set(working)

    def set_overdue(self, resource: Resource, seconds: float) -> None:
        """For how long the watch of a kind is behind."""
        self._overdue.labels(resource.plural).set(seconds)

    def set_leader(self, *, leads: bool) -> None:
        """Whether this replica decides."""
        self._leader.set(leads)

    def set_reasons(self, kind: str, counts: Mapping[str, int]) -> None:
        """How many Rollouts (`kind` rollouts) or EdgeModels (`models`) have which Ready reason."""
        gauge = {"rollouts": self._rollouts, "models": self._models}[kind]
        gauge.clear()
        for reason, count in counts.items():
            gauge.labels(reason).set(count)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
