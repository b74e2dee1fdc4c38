"""Which revision of each model answers, and which revisions may still get feedback.

Belongs to the event loop's thread: a switch is one assignment, so a request sees the old revision or the new
one and never neither.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from edgecanary.agent.latency import BUCKETS, bucket_of
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.serving.worker import Worker
from edgecanary.agent.telemetry import Identity, Role, Telemetry

if TYPE_CHECKING:
    from edgecanary.agent.serving.engine import Engine
    from edgecanary.agent.serving.lane import Lane
    from edgecanary.agent.serving.shadow import Shadow


class Failure(StrEnum):
    """How the model failed a request."""

    FAULT = "fault"
    NOT_FINITE = "not-finite"
    TIMEOUT = "timeout"


_RETRY_SECONDS = 5
"""When to ask again for a model that is not loaded for now."""

_REMEMBERED = 32
"""Revisions that left and are still known by name, for each model."""


@dataclass
class ServedRevision:
    """A revision that answers, or did so until the last switch, with its tally for its health."""

    identity: Identity
    requests: int = 0
    errors: int = 0
    not_finite: int = 0
    timeouts_in_a_row: int = 0
    hung: bool = False
    latencies: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set soon after something is counted. For the event loop's thread."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, seconds: float, failure: Failure | None) -> None:
        """Counts a request that reached the model. Safe from any thread."""
        with self._lock:
            self.requests += 1
            if failure is None:
                self.latencies[bucket_of(seconds)] += 1
                self.timeouts_in_a_row = 0
            else:
                self.errors += 1
                self.not_finite += failure is Failure.NOT_FINITE
                self.timeouts_in_a_row += failure is Failure.TIMEOUT

    def hang(self) -> None:
        """Notes that an inference does not end though it was interrupted."""
        self.hung = True
        self.changed.set()

    @property
    def counters(self) -> HealthCounters:
        """The tally as it is now."""
        with self._lock:
            return HealthCounters(
                requests=self.requests,
                errors=self.errors,
                not_finite=self.not_finite,
                latencies=tuple(self.latencies),
                timeouts_in_a_row=self.timeouts_in_a_row,
                hung=self.hung,
            )


@dataclass
class ActiveRevision:
    """The revision that answers, with its model and the thread that runs it."""

    served: ServedRevision
    installed: InstalledRevision
    engine: "Engine"
    worker: Worker
    shadow: "Shadow | None" = None
    """Compares it with the other revision."""
    lane: "Lane | None" = None
    """The connections that the thread serves itself."""

    @property
    def identity(self) -> Identity:
        """Which revision it is."""
        return self.served.identity


@dataclass
class Slot:
    """One model on this node."""

    key: ModelKey
    active: ActiveRevision | None = None
    previous: ServedRevision | None = None
    absence: str = ""
    """Why the model answers again later, while it does not now."""
    departed: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def find(self, revision: str) -> ServedRevision | None:
        """The revision, if it is active or was so until the last switch."""
        return next((served for served in self.kept() if served.identity.revision == revision), None)

    def kept(self) -> tuple[ServedRevision, ...]:
        """The revisions that have series: the active one and the previous one."""
        active = () if self.active is None else (self.active.served,)
        return active if self.previous is None else (*active, self.previous)


class Registry:
    """All models of the node by name."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._slots: dict[ModelKey, Slot] = {}
        self._expected: set[ModelKey] = set()

    def expect(self, keys: Iterable[ModelKey]) -> None:
        """Models that will be back in a moment: until their first switch, requests are asked to wait."""
        self._expected.update(keys)

    @property
    def complete(self) -> bool:
        """Whether no model is expected any more."""
        return not self._expected

    def switch(self, key: ModelKey, active: ActiveRevision | None) -> ActiveRevision | None:
        """Makes `active` answer from now on (None: nothing does), and returns what answered until now.

        The revision that answered becomes the previous one; the one before it leaves, with its series.
        """
        self._expected.discard(key)
        slot = self._slots.setdefault(key, Slot(key))
        known = {served.identity for served in slot.kept()}
        retired, slot.absence = slot.active, ""
        if retired is not None:
            slot.previous = retired.served
        if active is not None:
            self._telemetry.open(active.identity)
            self._telemetry.set_memory(active.identity, active.engine.memory_bytes)
            self._telemetry.set_drift(active.identity, active.engine.drift)
            self._telemetry.set_role(active.identity, Role.ACTIVE)
        slot.active = active
        if slot.previous is not None and active is not None and slot.previous.identity == active.identity:
            slot.previous = None
        self._settle(slot, known)
        return retired

    def excuse(self, key: ModelKey, why: str) -> None:
        """Asks requests for a model that is not loaded to come again later, until its next switch."""
        self._slots.setdefault(key, Slot(key)).absence = why

    def begin_shadow(self, identity: Identity) -> None:
        """The revision's answers are compared from now on."""
        self._telemetry.open_shadow(identity)

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        """What the revision answered since its last activation; zeros when it is not known."""
        slot = self._slots.get(key)
        served = None if slot is None else slot.find(revision)
        return HealthCounters(0, 0) if served is None else served.counters

    async def more_answers(self, key: ModelKey, revision: str, seen: HealthCounters) -> None:
        """Waits until the revision's counters differ from `seen`; for ever while it is not known."""
        slot = self._slots.get(key)
        served = None if slot is None else slot.find(revision)
        if served is None:
            await asyncio.Event().wait()
            return
        while served.counters == seen:
            served.changed.clear()
            await served.changed.wait()

    def active(self, key: ModelKey) -> ActiveRevision | None:
        """The revision that answers for the model."""
        slot = self._slots.get(key)
        return None if slot is None else slot.active

    def active_revisions(self) -> tuple[ActiveRevision, ...]:
        """Every revision that answers."""
        return tuple(slot.active for slot in self._slots.values() if slot.active is not None)

    def find(self, name: str) -> Slot:
        """The model called `<namespace>.<name>`, or `<name>` while only one model has that name.

        Raises HttpFault 503 while it is being loaded after a start, else 404.
        """
        if any(name in (str(key), key.name) for key in self._expected):
            raise HttpFault(503, f"model {name!r} is being loaded, try again", retry_after_seconds=1)
        slots = self._slots.values()
        for slot in slots:
            if str(slot.key) == name:
                return slot
        namesakes = [slot for slot in slots if slot.key.name == name]
        serving = [slot for slot in namesakes if slot.active is not None] or namesakes
        if len(serving) == 1:
            return serving[0]
        if serving:
            full = " or ".join(sorted(str(slot.key) for slot in serving))
            raise HttpFault(404, f"model {name!r} is on this node more than once: call it {full}")
        known = ", ".join(sorted(str(slot.key) for slot in slots if slot.active is not None)) or "none"
        raise HttpFault(404, f"model {name!r} is not on this node; it serves {known}")

    def find_active(self, name: str, revision: str | None) -> ActiveRevision:
        """The revision that answers for a model, which must be `revision` if that is given.

        Raises HttpFault 404.
        """
        slot = self.find(name)
        if slot.active is None and slot.absence:
            message = f"model {slot.key} is not loaded: {slot.absence}; try again"
            raise HttpFault(503, message, retry_after_seconds=_RETRY_SECONDS)
        if slot.active is None:
            raise HttpFault(404, f"model {slot.key} has no active revision on this node at present")
        if revision is not None and slot.active.identity.revision != revision:
            raise HttpFault(
                404,
                f"revision {revision!r} of model {slot.key} does not answer here; the active one is "
                f"{slot.active.identity.revision}",
            )
        return slot.active

    def find_for_feedback(self, name: str, revision: str | None) -> ServedRevision:
        """The revision that feedback is for: the one named, or the active one.

        Raises HttpFault 404 when it is not known here, 410 when it has left this node.
        """
        if revision is None:
            return self.find_active(name, None).served
        slot = self.find(name)
        served = slot.find(revision)
        if served is not None:
            return served
        if revision in slot.departed:
            raise HttpFault(
                410,
                f"revision {revision} of model {slot.key} has left this node; its feedback is not counted",
            )
        raise HttpFault(404, f"revision {revision!r} of model {slot.key} has not answered on this node")

    def _settle(self, slot: Slot, known: set[Identity]) -> None:
        """Shows the previous revision as such, and lets those go that are neither active nor previous."""
        kept = {served.identity for served in slot.kept()}
        if slot.previous is not None:
            self._telemetry.set_role(slot.previous.identity, Role.PREVIOUS)
            self._telemetry.clear_memory(slot.previous.identity)
            self._telemetry.set_drift(slot.previous.identity, None)
        for identity in known - kept:
            self._telemetry.close(identity)
            slot.departed.append(identity.revision)
        for identity in kept:
            if identity.revision in slot.departed:
                slot.departed.remove(identity.revision)
