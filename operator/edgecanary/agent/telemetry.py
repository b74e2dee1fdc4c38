"""What the agent counts, for Prometheus.

All series of a revision start at 0 before it takes traffic, so that an increase over a window sees the first
event; they vanish when the revision leaves the node. Used from the event loop's thread only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

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
        self._open: set[Identity] = set()
        info = Gauge(
            "edgecanary_agent_info", "1, with the agent's version.", ("version",), registry=self.registry
        )
        info.labels(agent_version).set(1)
        ProcessCollector(registry=self.registry)

    def open(self, identity: Identity) -> None:
        """Starts the revision's counters at 0 where they do not exist yet."""
        self._open.add(identity)
        for outcome in Outcome:
            self._requests.labels(*identity.labels, outcome)
        for feedback in Feedback:
            self._feedback.labels(*identity.labels, feedback)
        self._duration.labels(*identity.labels)

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

    def close(self, identity: Identity) -> None:
        """Removes every series of a revision that left the node."""
        self._open.discard(identity)
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
        """Counts a request that reached the model, unless its revision has left since."""
        if identity not in self._open:
            return
        self._requests.labels(*identity.labels, outcome).inc()
        self._duration.labels(*identity.labels).observe(seconds)

    def count_feedback(self, identity: Identity, feedback: Feedback) -> None:
        """Counts one piece of feedback, unless the revision has left."""
        if identity not in self._open:
            return
        self._feedback.labels(*identity.labels, feedback).inc()

    def count_refused(self, status: int) -> None:
        """Counts a request that no model saw."""
        self._refused.labels(str(status)).inc()

    def set_sandbox(self, in_force: Iterable[str], missing: Iterable[str]) -> None:
        """Shows which layers of the probe's sandbox this node has."""
        for layer in missing:
            self._sandbox.labels(layer).set(0)
        for layer in in_force:
            self._sandbox.labels(layer).set(1)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)


def _named(identity: Identity, **more: str) -> dict[str, str]:
    return dict(zip(LABELS, identity.labels, strict=True)) | more
