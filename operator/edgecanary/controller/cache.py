"""The operator's picture of the cluster: small records of each kind, and whom a change concerns.

It is fed by the watches and corrected by whole lists. The objects that a reconcile is about are read afresh;
the fleet comes from here.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from edgecanary.api.edgenode import NodeModelStatus, ProbeMeasurement
from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import WrongAnswer
from edgecanary.clients.kube import KubeClient, Listing
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, MODEL_RELEASES, NODES, ROLLOUTS, Resource
from edgecanary.controller import views
from edgecanary.controller.fleet import FleetViews
from edgecanary.controller.sight import Sight
from edgecanary.controller.store import Change, Store
from edgecanary.controller.views import EdgeNodeRecord, NodeRecord, ObjectKey, PlainRecord, RolloutRecord
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import NodeView, Rival

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scope:
    """Which namespaces the operator serves; `namespaces` empty means all. EdgeNodes live in `system` only."""

    system: str
    namespaces: tuple[str, ...] = ()

    def of(self, resource: Resource) -> tuple[str | None, ...]:
        """The namespaces to list; None means all, or that the kind has none."""
        if resource == EDGE_NODES:
            return (self.system,)
        if not resource.namespaced or not self.namespaces:
            return (None,)
        return self.namespaces

    def covers(self, resource: Resource, namespace: str) -> bool:
        """Whether an object of the kind in the namespace concerns this operator."""
        wanted = self.of(resource)
        return None in wanted or namespace in wanted


@dataclass(frozen=True)
class Wakes:
    """Whom a change concerns: the keys of Rollouts and EdgeModels to look at again."""

    rollouts: frozenset[ObjectKey] = frozenset()
    models: frozenset[ObjectKey] = frozenset()

    def __or__(self, other: "Wakes") -> "Wakes":
        return Wakes(self.rollouts | other.rollouts, self.models | other.models)


class Part(Protocol):
    """One kind's share of the cache."""

    @property
    def resource(self) -> Resource:
        """The kind."""
        ...

    def observe(self, event_type: str | None, body: JsonObject) -> Wakes:
        """Takes in one watch event."""
        ...

    def reload(self, kube: KubeClient) -> Wakes:
        """Takes in a whole list. Raises the API server's errors."""
        ...

    @property
    def owes(self) -> bool:
        """Whether a list has shown an object that the watch has not delivered yet."""
        ...

    def overdue(self) -> float:
        """For how many seconds the watch had owed an object at the last list; 0 when it has delivered it."""
        ...


@dataclass(frozen=True)
class _Entry(Generic[T]):
    key: ObjectKey
    version: int
    record: T


@dataclass(frozen=True)
class _Debt:
    """What lists have shown and the watch has not: an object of this version, between these moments."""

    version: int
    since: float
    confirmed: float


@dataclass(frozen=True)
class _Guard:
    """What all parts share."""

    scope: Scope
    lock: threading.RLock = field(default_factory=threading.RLock)


class _Part(Generic[T]):
    def __init__(
        self,
        resource: Resource,
        read: Callable[[JsonObject], T],
        concerns: Callable[[Change[T]], Wakes],
        guard: "_Guard",
    ) -> None:
        self.resource = resource
        self.store: Store[T] = Store()
        self._read = read
        self._concerns = concerns
        self._lock, self._scope = guard.lock, guard.scope
        self._watched = 0
        self._debt: _Debt | None = None

    def observe(self, event_type: str | None, body: JsonObject) -> Wakes:
        entry = self._entry(body)
        if entry is None or not self._scope.covers(self.resource, entry.key.namespace):
            return Wakes()
        with self._lock:
            self._watched = max(self._watched, entry.version)
            if self._debt is not None and entry.version >= self._debt.version:
                self._debt = None
            if event_type == "DELETED":
                change = self.store.remove(entry.key, entry.version)
            else:
                change = self.store.put(entry.key, entry.version, entry.record)
            return self._concerns(change) if change else Wakes()

    def reload(self, kube: KubeClient) -> Wakes:
        namespaces = self._scope.of(self.resource)
        return self.take([kube.list_all(self.resource, self._entry, namespace=name) for name in namespaces])

    def take(self, listings: Iterable[Listing[_Entry[T] | None]]) -> Wakes:
        """Takes in the lists of all namespaces."""
        found = tuple(listings)
        entries = [entry for listing in found for entry in listing.items if entry is not None]
        version = min(int(listing.version) for listing in found)
        newest = max((entry.version for entry in entries), default=0)
        with self._lock:
            changes = self.store.replace([(e.key, e.version, e.record) for e in entries], version=version)
            if newest > self._watched:
                now = time.monotonic()
                self._debt = replace(self._debt, confirmed=now) if self._debt else _Debt(newest, now, now)
            return _together(self._concerns(change) for change in changes)

    @property
    def owes(self) -> bool:
        return self._debt is not None

    def overdue(self) -> float:
        with self._lock:
            return self._debt.confirmed - self._debt.since if self._debt else 0.0

    def _entry(self, body: JsonObject) -> _Entry[T] | None:
        """The record of an object; None, and a line in the log, for one that cannot be read."""
        try:
            identity = views.identify(body)
            return _Entry(identity.key, identity.version, self._read(body))
        except WrongAnswer as error:
            log.warning("ignoring one of %s: %s", self.resource, error)
            return None


class Cache:
    """All kinds together; safe to use from several threads."""

    def __init__(self, scope: Scope) -> None:
        guard = _Guard(scope)
        self._scope, self._lock = scope, guard.lock
        self._nodes = _Part(NODES, views.read_node, self._node_changed, guard)
        self._edge_nodes = _Part(EDGE_NODES, views.read_edge_node, self._edge_node_changed, guard)
        self._models = _Part(EDGE_MODELS, views.read_model, self._model_changed, guard)
        self._rollouts = _Part(ROLLOUTS, views.read_rollout, self._rollout_changed, guard)
        self._releases = _Part(MODEL_RELEASES, views.read_plain, self._release_changed, guard)
        self._by_model: dict[ObjectKey, set[ObjectKey]] = {}
        self._fleet = FleetViews()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The kinds, the fleet first: a list of Rollouts then finds the nodes known."""
        return (self._nodes, self._edge_nodes, self._models, self._releases, self._rollouts)

    def everything(self) -> Wakes:
        """All Rollouts and EdgeModels."""
        with self._lock:
            return Wakes(frozenset(self._rollouts.store.records), frozenset(self._models.store.records))

    def reasons(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """How many Rollouts, and how many EdgeModels, have which reason of their Ready condition."""
        with self._lock:
            rollouts = Counter(entry.record.reason for entry in self._rollouts.store.records.values())
            models = Counter(entry.record.reason for entry in self._models.store.records.values())
        return rollouts, models

    def sight(self) -> Sight:
        """All that the metrics are counted from."""
        with self._lock:
            models = self._models.store.records.items()
            return Sight(
                rollouts={key: entry.record for key, entry in self._rollouts.store.records.items()},
                expiries={k: e.record.expires for k, e in models if e.record.expires is not None},
                nodes={key.name: entry.record for key, entry in self._nodes.store.records.items()},
                agents={key.name: entry.record for key, entry in self._edge_nodes.store.records.items()},
            )

    def fleet(self, model: ObjectKey) -> tuple[NodeView, ...]:
        """Every Node with what its agent says of the model."""
        with self._lock:
            return self._fleet.of(model)

    def rivals(self, model: ObjectKey, rollout: ObjectKey) -> tuple[Rival, ...]:
        """The other Rollouts that name the EdgeModel and are not being deleted."""
        with self._lock:
            others = [
                (key, self._rollouts.store.get(key)) for key in sorted(self._rollouts_of(model) - {rollout})
            ]
        return tuple(
            Rival(key.name, record.uid, record.created)
            for key, record in others
            if record is not None and not record.deleting
        )

    def probes(self, model: ObjectKey, revision: str) -> Mapping[str, ProbeMeasurement]:
        """By variant, the largest of each measurement that nodes report for the revision."""
        with self._lock:
            reports = [e.record.models.get(model) for e in self._edge_nodes.store.records.values()]
        largest: dict[str, ProbeMeasurement] = {}
        for report in reports:
            if report is not None and report.desired == revision and report.probe is not None:
                known = largest.get(report.probe.variant)
                largest[report.probe.variant] = _largest(known, report.probe) if known else report.probe
        return largest

    def _agent(self, node: str) -> EdgeNodeRecord | None:
        return self._edge_nodes.store.get(ObjectKey(self._scope.system, node))

    def _rollouts_matching(self, *labels: Mapping[str, str]) -> frozenset[ObjectKey]:
        rollouts = self._rollouts.store.records.items()
        return frozenset(
            key for key, entry in rollouts if any(matches(entry.record.selector, found) for found in labels)
        )

    def _rollouts_of(self, model: ObjectKey) -> frozenset[ObjectKey]:
        return frozenset(self._by_model.get(model, ()))

    def _node_changed(self, change: Change[NodeRecord]) -> Wakes:
        self._fleet.put_node(change.key.name, change.after)
        labels = [record.labels for record in (change.before, change.after) if record is not None]
        agent = self._agent(change.key.name)
        models = agent.models if agent else ()
        reported = frozenset(rollout for model in models for rollout in self._rollouts_of(model))
        return Wakes(self._rollouts_matching(*labels) | reported)

    def _edge_node_changed(self, change: Change[EdgeNodeRecord]) -> Wakes:
        self._fleet.put_agent(change.key.name, change.after)
        before, after = change.before or EdgeNodeRecord(), change.after or EdgeNodeRecord()
        moved = before.node_uid != after.node_uid
        told = {
            m
            for m in before.models.keys() | after.models.keys()
            if moved or before.models.get(m) != after.models.get(m)
        }
        rollouts = frozenset(rollout for model in told for rollout in self._rollouts_of(model))
        if moved or before.capabilities != after.capabilities:
            node = self._nodes.store.get(ObjectKey("", change.key.name))
            rollouts |= self._rollouts_matching(node.labels) if node else frozenset()
        measured = frozenset(m for m in told if _probe(before.models.get(m)) != _probe(after.models.get(m)))
        return Wakes(rollouts, measured)

    def _model_changed(self, change: Change[PlainRecord]) -> Wakes:
        return Wakes(self._rollouts_of(change.key), frozenset({change.key}))

    def _release_changed(self, change: Change[PlainRecord]) -> Wakes:
        return Wakes(frozenset({change.key}))

    def _rollout_changed(self, change: Change[RolloutRecord]) -> Wakes:
        if change.before is not None:
            self._by_model.get(change.before.model, set()).discard(change.key)
        if change.after is not None:
            self._by_model.setdefault(change.after.model, set()).add(change.key)
        before, after = (record.claim if record else None for record in (change.before, change.after))
        if before == after:
            return Wakes(frozenset({change.key}))
        claims = [claim for claim in (before, after) if claim is not None]
        others = frozenset(rollout for model, *_ in claims for rollout in self._rollouts_of(model))
        return Wakes(others | {change.key})


def _together(wakes: Iterable[Wakes]) -> Wakes:
    found = tuple(wakes)
    return Wakes(
        frozenset(key for each in found for key in each.rollouts),
        frozenset(key for each in found for key in each.models),
    )


def _probe(report: NodeModelStatus | None) -> ProbeMeasurement | None:
    return report.probe if report else None


def _largest(one: ProbeMeasurement, other: ProbeMeasurement) -> ProbeMeasurement:
    return ProbeMeasurement(
        variant=one.variant,
        load_milliseconds=max(one.load_milliseconds, other.load_milliseconds),
        latency_p95_milliseconds=max(one.latency_p95_milliseconds, other.latency_p95_milliseconds),
        peak_memory_bytes=max(one.peak_memory_bytes, other.peak_memory_bytes),
    )
