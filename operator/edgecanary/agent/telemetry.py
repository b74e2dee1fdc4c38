"""What the agent counts, for Prometheus.

All series of a revision start at 0 before it takes traffic, so that an increase over a window sees the first
event; they vanish when the revision leaves the node. Used from the event loop's thread; models' threads count
requests as well.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgecanary.agent.installer import DownloadKind
from edgecanary.agent.ports import ModelKey

LABELS = ("namespace", "model", "revision", "version")
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)
"""Upper bounds in seconds; with +Inf ten buckets."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Role(StrEnum):
    """What a revision is to this node."""

    ACTIVE = "active"
    PREVIOUS = "previous"


class Outcome(StrEnum):
    """How a request ended. A client's own mistake is neither."""

    OK = "ok"
    ERROR = "error"


class Feedback(StrEnum):
    """What a client found out about an answer later."""

    CORRECT = "correct"
    INCORRECT = "incorrect"


class Shadowed(StrEnum):
    """How the active revision's answer compares with the one that the other revision gives to the same input."""

    AGREE = "agree"
    DISAGREE = "disagree"
    """They differ, and nobody knows who is right."""
    CANARY_WORSE = "canary_worse"
    """Only the active revision failed."""
    STABLE_WORSE = "stable_worse"
    """Only the other revision failed."""


@dataclass(frozen=True)
class Identity:
    """Which revision a series belongs to."""

    key: ModelKey
    revision: str
    version: str

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """The values of LABELS."""
        return (self.key.namespace, self.key.name, self.revision, self.version)


@dataclass(frozen=True)
class FeatureReading:
    """One statistic of a revision's inputs or outputs."""

    name: str
    score: float
    """Distance from the reference; NaN while there are too few samples."""
    bins: tuple[tuple[str, int], ...]
    """How many samples fell into each bin, by its upper edge, since the model was loaded."""


@dataclass(frozen=True)
class DriftReading:
    """What a revision's inputs and outputs look like now."""

    samples: int
    """Measured requests that the scores rest on."""
    features: tuple[FeatureReading, ...]


class DriftSource(Protocol):
    """Whoever counts for a loaded revision."""

    def read(self) -> DriftReading:
        """As it is now."""
        ...


@dataclass(frozen=True)
class _Series:
    """What counts the requests of one revision. Counting in it brings no series back that was removed."""

    outcomes: Mapping[Outcome, Counter]
    duration: Histogram


class Telemetry:
    """The agent's metrics on a registry of their own."""

    def __init__(self, *, agent_version: str) -> None:
        # The library's type stubs leave this one out.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "edgecanary_requests",
            "Inference requests that the model answered (ok) or failed (error).",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "edgecanary_request_duration_seconds",
            "Time from the whole request being read to the answer being ready.",
            LABELS,
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._feedback = Counter(
            "edgecanary_feedback",
            "Answers that clients later found correct or incorrect.",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._shadow = Counter(
            "edgecanary_shadow",
            "Answers compared with those of the other revision to the same inputs.",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._memory = Gauge(
            "edgecanary_model_memory_bytes",
            "Private memory that loading and warming the model added to the agent.",
            LABELS,
            registry=self.registry,
        )
        self._state = Gauge(
            "edgecanary_model_state",
            "1 for what the revision is to this node: active, or previous.",
            (*LABELS, "role"),
            registry=self.registry,
        )
        self._refused = Counter(
            "edgecanary_refused_requests",
            "Requests refused before a model ran, by HTTP status.",
            ("status",),
            registry=self.registry,
        )
        self._sandbox = Gauge(
            "edgecanary_probe_sandbox_layer",
            "1 for a layer of the probe's sandbox that this node puts into force, 0 for one that it cannot.",
            ("layer",),
            registry=self.registry,
        )
        self._downloads = Counter(
            "edgecanary_download_bytes",
            "Bytes fetched for models: full files, and deltas in their place.",
            ("kind",),
            registry=self.registry,
        )
        for kind in DownloadKind:
            self._downloads.labels(kind)
        self._open: dict[Identity, _Series] = {}
        self._drift: dict[Identity, DriftSource] = {}
        self.registry.register(_DriftCollector(self._drift))
        info = Gauge(
            "edgecanary_agent_info", "1, with the agent's version.", ("version",), registry=self.registry
        )
        info.labels(agent_version).set(1)
        ProcessCollector(registry=self.registry)

    def open(self, identity: Identity) -> None:
        """Starts the revision's counters at 0 where they do not exist yet."""
        self._open[identity] = _Series(
            {outcome: self._requests.labels(*identity.labels, outcome) for outcome in Outcome},
            self._duration.labels(*identity.labels),
        )
        for feedback in Feedback:
            self._feedback.labels(*identity.labels, feedback)

    def open_shadow(self, identity: Identity) -> None:
        """Starts the revision's comparisons at 0 where they do not exist yet."""
        for outcome in Shadowed:
            self._shadow.labels(*identity.labels, outcome)

    def count_shadow(self, identity: Identity, outcome: Shadowed) -> None:
        """Counts one comparison, unless the revision has left."""
        if identity in self._open:
            self._shadow.labels(*identity.labels, outcome).inc()

    def set_role(self, identity: Identity, role: Role) -> None:
        """Shows the revision in this role and in no other."""
        for other in Role:
            if other is not role:
                self._state.remove_by_labels(_named(identity, role=other))
        self._state.labels(*identity.labels, role).set(1)

    def set_memory(self, identity: Identity, count: int) -> None:
        """Shows the model's memory, in bytes."""
        self._memory.labels(*identity.labels).set(count)

    def clear_memory(self, identity: Identity) -> None:
        """Drops the memory series of a model that is no longer loaded."""
        self._memory.remove_by_labels(_named(identity))

    def set_drift(self, identity: Identity, source: DriftSource | None) -> None:
        """Where a loaded revision's drift comes from; None when it has no profile or is not loaded any more."""
        if source is None:
            self._drift.pop(identity, None)
        else:
            self._drift[identity] = source

    def close(self, identity: Identity) -> None:
        """Removes every series of a revision that left the node."""
        self._open.pop(identity, None)
        self._drift.pop(identity, None)
        for metric in (
            self._requests,
            self._feedback,
            self._shadow,
            self._duration,
            self._memory,
            self._state,
        ):
            metric.remove_by_labels(_named(identity))

    def count_request(self, identity: Identity, outcome: Outcome, seconds: float) -> None:
        """Counts a request that reached the model, unless its revision has left since. Safe from any thread."""
        series = self._open.get(identity)
        if series is not None:
            series.outcomes[outcome].inc()
            series.duration.observe(seconds)

    def count_feedback(self, identity: Identity, feedback: Feedback) -> None:
        """Counts one piece of feedback, unless the revision has left."""
        if identity not in self._open:
            return
        self._feedback.labels(*identity.labels, feedback).inc()

    def count_refused(self, status: int) -> None:
        """Counts a request that no model saw. Safe from any thread."""
        self._refused.labels(str(status)).inc()

    def set_sandbox(self, in_force: Iterable[str], missing: Iterable[str]) -> None:
        """Shows which layers of the probe's sandbox this node has."""
        for layer in missing:
            self._sandbox.labels(layer).set(0)
        for layer in in_force:
            self._sandbox.labels(layer).set(1)

    def count_download(self, kind: DownloadKind, count: int) -> None:
        """Counts bytes that came from a store."""
        self._downloads.labels(kind).inc(count)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)


class _DriftCollector(Collector):
    """Reads every source when it is asked."""

    def __init__(self, sources: Mapping[Identity, DriftSource]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        score = GaugeMetricFamily(
            "edgecanary_drift_score",
            "Distance of the live values from the model's profile, less what chance gives: 0 no drift, 1 all differs.",
            labels=(*LABELS, "feature"),
        )
        samples = GaugeMetricFamily(
            "edgecanary_drift_samples", "Measured requests that the drift scores rest on.", labels=LABELS
        )
        bins = CounterMetricFamily(
            "edgecanary_drift_observations",
            "Measured requests by the bin that the feature fell into, by the bin's upper edge.",
            labels=(*LABELS, "feature", "bin"),
        )
        for identity, source in self._sources.items():
            reading = source.read()
            samples.add_metric(identity.labels, reading.samples)
            for feature in reading.features:
                if not math.isnan(feature.score):
                    score.add_metric((*identity.labels, feature.name), feature.score)
                for upper, count in feature.bins:
                    bins.add_metric((*identity.labels, feature.name, upper), count)
        yield from (score, samples, bins)


def _named(identity: Identity, **more: str) -> dict[str, str]:
    return dict(zip(LABELS, identity.labels, strict=True)) | more
