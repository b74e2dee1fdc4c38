"""What the agent says of its remote write. Safe from any thread."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from edgecanary.agent.push.outbox import Loss

_SENT = "sent"


class PushMetrics:
    """Metrics on the agent's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples = Counter(
            "edgecanary_remote_write_samples",
            "Samples that left the outbox: sent, or why they were dropped.",
            ("outcome",),
            registry=registry,
        )
        self._failures = Counter(
            "edgecanary_remote_write_failures",
            "Requests that Prometheus did not take and that are tried again.",
            registry=registry,
        )
        self._waiting = Gauge(
            "edgecanary_remote_write_waiting_bytes",
            "Compressed samples that wait in the outbox.",
            registry=registry,
        )
        self._bound = Gauge(
            "edgecanary_remote_write_max_bytes",
            "What may wait in the outbox; beyond it the oldest samples are dropped.",
            registry=registry,
        )
        self._on_disk = Gauge(
            "edgecanary_remote_write_on_disk",
            "1 while the outbox is on disk, 0 while samples are kept in memory only.",
            registry=registry,
        )
        self._offset = Gauge(
            "edgecanary_remote_write_clock_offset_seconds",
            "The node's clock less Prometheus's, at its last answer.",
            registry=registry,
        )
        for outcome in (_SENT, *Loss):
            self._samples.labels(outcome)

    def watch(
        self, waiting_bytes: Callable[[], float], on_disk: Callable[[], float], *, max_bytes: int
    ) -> None:
        """Where the outbox's state comes from at each collection, and its bound."""
        self._bound.set(max_bytes)
        self._waiting.set_function(waiting_bytes)
        self._on_disk.set_function(on_disk)

    def count_sent(self, samples: int) -> None:
        """Prometheus has them."""
        self._samples.labels(_SENT).inc(samples)

    def count_lost(self, why: Loss, samples: int) -> None:
        """They were dropped."""
        self._samples.labels(why).inc(samples)

    def count_failure(self) -> None:
        """A request is to be tried again."""
        self._failures.inc()

    def set_offset(self, seconds: float) -> None:
        """How far the node's clock is ahead."""
        self._offset.set(seconds)
