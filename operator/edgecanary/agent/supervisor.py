"""Turns what the cluster says into orders, and keeps one updater for each model of this node."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from edgecanary.agent.loading import claim_of
from edgecanary.agent.machine import INTERRUPTIBLE, RETREAT, TRIAL, State
from edgecanary.agent.marks import Mark
from edgecanary.agent.memory import Claim
from edgecanary.agent.orders import Order, orders
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record
from edgecanary.agent.report import refused_status
from edgecanary.agent.steps import Workshop
from edgecanary.agent.updater import RetryPace, Updater
from edgecanary.api.edgenode import Capabilities, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleaseChanged, ReleaseGone, ReleasesListed
from edgecanary.rollout.eligibility import NodeFacts

log = logging.getLogger(__name__)

_Place = tuple[str, str]


class Supervisor:
    """The models of one node. Nothing is decided before both the releases and the node's labels were heard."""

    def __init__(
        self,
        node: str,
        capabilities: Capabilities,
        workshop: Workshop,
        pace: RetryPace,
        on_news: Callable[[], None],
    ) -> None:
        """`on_news` is called when there is something to report."""
        self.node_uid = ""
        """UID of the Node, as it was heard last; empty while it was never heard."""
        self._node = node
        self._capabilities = capabilities
        self._shop = workshop
        self._pace = pace
        self._on_news = on_news
        self._releases: dict[_Place, ModelRelease] | None = None
        self._labels: Mapping[str, str] | None = None
        self._updaters: dict[ModelKey, Updater] = {}
        self._tasks: dict[ModelKey, asyncio.Task[None]] = {}
        self._given: dict[ModelKey, Order | None] = {}
        self._refused: dict[ModelKey, NodeModelStatus] = {}

    @property
    def records(self) -> list[Record]:
        """What is known of each model."""
        return [updater.record for updater in self._updaters.values()]

    @property
    def refused(self) -> list[NodeModelStatus]:
        """Models that releases assign and that the node does not begin with, with the reasons."""
        return list(self._refused.values())

    @property
    def retreating(self) -> bool:
        """Whether a revision is being replaced by the one before it at this moment."""
        return any(record.state in RETREAT for record in self.records)

    def start(self) -> None:
        """Serves what is on disk and goes on with what was under way. Raises StoreFailure."""
        keys = self._shop.store.models()
        self._reserve(keys)
        loading = {key: self._shop.store.files_of(key).found_loading() for key in keys}
        found = self._shop.marks.found | {
            Mark(key, revision) for key, revision in loading.items() if revision
        }
        for key in keys:
            marked = frozenset(mark.revision for mark in found if mark.key == key)
            self._add(key, marked if found else None)

    def _reserve(self, keys: Iterable[ModelKey]) -> None:
        """Gives the node's memory to what serves after a start, the highest priority first."""
        claims: list[Claim] = []
        for key in keys:
            record, home = self._shop.store.load(key), self._shop.store.files_of(key)
            claim = claim_of(home, record, record.active)
            claims += [claim] if claim is not None else []
        self._shop.memory.reserve(claims)

    async def stop(self) -> None:
        """Ends all work; what is under way is taken up again at the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for updater in self._updaters.values():
            try:
                await updater.stop()
            except OSError as error:
                log.error("the end cannot be recorded: %s", error)

    def hear(self, event: NodeEvent) -> None:
        """Takes in what the cluster says."""
        match event:
            case LabelsHeard(labels=None):
                log.warning("there is no Node %s: what is active goes on being served", self._node)
            case LabelsHeard(labels=labels, uid=uid):
                self._labels = labels
                self._is_node(uid)
            case ReleasesListed():
                self._list(event)
            case ReleaseChanged(release=release) if self._releases is not None:
                self._releases[_place(release)] = release
            case ReleaseGone(namespace=namespace, name=name) if self._releases is not None:
                self._releases.pop((namespace, name), None)
        self._give_orders()

    def _is_node(self, uid: str) -> None:
        """Notes which Node this is. What was reported for another one of this name does not count any more."""
        if uid == self.node_uid:
            return
        self.node_uid = uid
        self._on_news()

    def _list(self, event: ReleasesListed) -> None:
        known = self._releases or {}
        self._releases = {place: known[place] for place in event.unreadable if place in known}
        self._releases |= {_place(release): release for release in event.releases}

    def _give_orders(self) -> None:
        if self._releases is None or self._labels is None:
            return
        followed = {record.key: record.release_uid for record in self.records if record.release_uid}
        facts = self._facts(self._labels)
        if self._shop.trust is not None:
            self._shop.trust.node = facts
        wanted = orders(self._releases.values(), facts, followed)
        self._shop.permits.labels = self._labels
        new = {k: o for k, o in wanted.items() if k not in self._updaters and o.target is not None}
        for key in self._permitted(new):
            self._add(key)
        for key in list(self._updaters):
            self._give(key, wanted.get(key))

    def reconsider(self) -> None:
        """Looks at everything again: the rules for namespaces have changed."""
        self._give_orders()
        for updater in self._updaters.values():
            updater.try_again()

    def _permitted(self, new: Mapping[ModelKey, Order]) -> list[ModelKey]:
        """Those of the models that the node may begin with. Of the others nothing is kept but why."""
        told, now = self._refused, self._shop.clock.now()
        self._refused = {}
        found = []
        for key, order in new.items():
            refused = self._shop.permits.refusal(key.namespace)
            if refused is None:
                found.append(key)
                continue
            status, known = refused_status(key, order, refused, now), told.get(key)
            if known is not None and known == status.model_copy(
                update={"transition_time": known.transition_time}
            ):
                status = known
            else:
                log.warning("%s: not taken: %s", key, refused)
            self._refused[key] = status
        if self._refused != told:
            self._on_news()
        return found

    def _give(self, key: ModelKey, order: Order | None) -> None:
        if key in self._given and self._given[key] == order:
            return
        self._given[key] = order
        updater = self._updaters[key]
        if order is None and _has_nothing(updater.record):
            self._forget(key)
        else:
            updater.receive(order)

    def _add(self, key: ModelKey, marked: frozenset[str] | None = None) -> None:
        updater = Updater(key, self._shop, self._pace, self._on_news, marked)
        self._updaters[key] = updater
        self._tasks[key] = asyncio.create_task(updater.run(), name=f"updater {key}")
        self._tasks[key].add_done_callback(partial(self._ended, updater))

    def _forget(self, key: ModelKey) -> None:
        """Removes a model of which nothing is served and whose release is gone."""
        try:
            self._shop.store.forget(key)
        except OSError as error:
            log.error("%s: its files cannot be removed, which is tried again: %s", key, error)
            self._given.pop(key, None)
            asyncio.get_running_loop().call_later(self._pace.cap_seconds, self._give_orders)
            return
        log.info("%s: its release is gone and nothing of it is served: forgotten", key)
        self._tasks.pop(key).cancel()
        self._updaters.pop(key)
        self._given.pop(key, None)
        self._shop.memory.leave(key)
        self._shop.notifier.forget(key)
        self._on_news()

    def _ended(self, updater: Updater, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.critical("an updater ended by a defect of the agent", exc_info=error)
        updater.give_up(error)

    def _facts(self, labels: Mapping[str, str]) -> NodeFacts:
        return NodeFacts(
            name=self._node,
            labels=labels,
            architecture=self._capabilities.architecture,
            memory_bytes=self._capabilities.memory_bytes,
            accelerators=frozenset(self._capabilities.accelerators),
            runtimes=frozenset(self._capabilities.runtimes),
        )


def _has_nothing(record: Record) -> bool:
    """Whether no revision serves and none is about to."""
    return record.active is None and (record.state is State.SETTLED or record.state in INTERRUPTIBLE - TRIAL)


def _place(release: ModelRelease) -> _Place:
    return release.metadata.namespace, release.metadata.name
