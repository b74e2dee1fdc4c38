"""One simulated node: networks and power that go and come, releases that reach it or do not."""

from edgecanary.agent.machine import INTERRUPTIBLE, TRIAL, State, next_state
from edgecanary.agent.orders import is_stale, orders
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record, new_record
from edgecanary.agent.report import model_status
from edgecanary.agent.restart import found_at_start
from edgecanary.api.edgenode import ModelResult
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.simulator.fleet import NodeTraits
from edgecanary.simulator.updating import RESTART_SECONDS, Updating
from edgecanary.simulator.work import delayed


class SimNode(Updating):
    """One node with one model: what reaches it, and what becomes of it without network or power."""

    def settle(self, record: Record) -> None:
        """Starts the node with a revision that it runs already."""
        self.record = record
        self.disk = set(record.needed)
        self.told = model_status(record)
        self._serve(record.active)

    def hear(self) -> None:
        """Takes in the release, and the node's labels, as the API server has them."""
        release = self._world.release
        known = self._order is not None and release is self._heard and self.record.state is State.SETTLED
        if self.online and self.powered and not known:
            self._heard = release
            self._take_orders(release)

    def relabel(self, traits: NodeTraits) -> None:
        """The node's labels changed."""
        self.traits, self._order = traits, None
        self.hear()

    def lose_network(self) -> None:
        """Nothing comes in or goes out any more; what is served goes on being served."""
        self.online = False
        if self._work is not None and self.record.state is State.DOWNLOAD:
            left = self._work.moment - self._world.clockwork.now
            self._bytes_left = left * self.traits.link.megabits
            self._stop_work()
            self._delay(delayed(ModelResult.DOWNLOAD_FAILED, "Unreachable", "no network"))

    def lose_power(self) -> None:
        """The process dies without a word."""
        self.online = self.powered = False
        self._stop_work()
        self._stop_retry()
        self._serve(None)

    def return_online(self) -> None:
        """The network, or the power, is back."""
        self.online = True
        if self.powered:
            self.hear()
            self.tell()
        else:
            self._come_back()

    def die(self) -> None:
        """The agent's process ends without a word and is started again."""
        if not self.powered:
            return
        self._stop_work()
        self._stop_retry()
        self._serve(None)
        self.powered = False
        self._retry = self._world.clockwork.after(RESTART_SECONDS, self._come_back)

    def _come_back(self) -> None:
        """A new process takes up what the record says."""
        self._stop_retry()
        self.powered = True
        found = self.record
        counted, event = found_at_start(found)
        self.record = counted.model_copy(update={"state": next_state(found.state, event)})
        self._order, self._missing = None, False
        self._serve(self.record.active)
        self.tell()
        self.hear()
        self._drive()

    def _take_orders(self, release: ModelRelease | None) -> None:
        """What the supervisor of a real node does with a release."""
        key, releases = self.record.key, [release] if release else []
        followed = {key: self.record.release_uid} if self.record.release_uid else {}
        order = orders(releases, self.traits.facts, followed).get(key)
        idle = self.record.state is State.SETTLED or self.record.state in INTERRUPTIBLE - TRIAL
        if order is None and self.record.active is None and idle:
            if self.record != new_record(key):
                self._forget(key)
            return
        if order is not None and order.target is None and self.record == new_record(key):
            return
        self._missing = order is None
        if order is not None and is_stale(self.record, order):
            return
        if order is not None:
            self._order = order
        self._wake()

    def _forget(self, key: ModelKey) -> None:
        self._stop_work()
        self._stop_retry()
        self.record = new_record(key)
        self.disk.clear()
        self.tell()
