"""The other revision sees a share of the inputs, after the answer was given and never before it.

Nothing here can slow, fail or change an answer: the model's thread only puts what it has into a queue of a few
places, and what finds no place is dropped. The other model runs in a thread of its own at low priority, and waits for
a moment in which the node answers nothing. One that fails, hangs or finds no memory costs comparisons and no more.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Protocol

from edgecanary.agent import headroom, host
from edgecanary.agent.ports import InstalledRevision
from edgecanary.agent.runtime.base import Array, Feeds, RunFault
from edgecanary.agent.serving.worker import Interruptible, call_soon
from edgecanary.agent.telemetry import Shadowed
from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    from edgecanary.agent.serving.engine import Engine

log = logging.getLogger(__name__)

_PLACES = 4
_MAX_BYTES = 2**20
"""Of one request's inputs and outputs; more would hold too much memory for a comparison."""
_NICENESS = 10
"""Lower priority still would let the thread sleep on the interpreter's lock while others use the processor."""
_IDLE_WAIT_SECONDS = 0.1
_IDLE_LOOK_SECONDS = 0.002

Outputs = Mapping[str, "Array"]


class Load(Protocol):
    """Loads the other revision, in the thread that calls it. Raises EdgecanaryError."""

    def __call__(self) -> "Engine":
        """The loaded model."""
        ...


@dataclass(frozen=True)
class Pair:
    """An input with what the answering revision made of it; None where it failed."""

    feeds: "Feeds"
    given: "Outputs | None"


@dataclass(frozen=True)
class Quarters:
    """What a shadow may use."""

    percent: float
    needed_bytes: int
    """Memory that the other model is expected to take."""
    margin_bytes: int
    """Memory that must be left beside it."""
    run_seconds: float
    """A run that takes longer is interrupted and says nothing."""


class Shadow:
    """One revision beside another. Made and ended in the event loop's thread."""

    def __init__(
        self,
        other: InstalledRevision,
        load: Load,
        quarters: Quarters,
        *,
        busy: Callable[[], bool],
        tally: Callable[[Shadowed], None],
    ) -> None:
        """`busy` says whether a request is in progress; `tally` is called in the event loop's thread."""
        self.other = other
        self._load = load
        self._quarters = quarters
        self._busy = busy
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._queue: Queue[Pair | None] = Queue(_PLACES)
        self._share = 0.0
        self._stopped = False
        self._ready = False
        self._engine: Engine | None = None
        self._run: Interruptible | None = None
        self._run_until = 0.0
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the other revision is loaded."""
        return self._ready

    def see(self, feeds: "Feeds", given: "Outputs | None") -> None:
        """Takes its share of what the answering model was given and gave. In that model's thread: quick."""
        self._share += self._quarters.percent
        if self._share < 100.0:
            return
        self._share -= 100.0
        run = self._run
        if run is not None and time.monotonic() > self._run_until:
            run.interrupt()
        if not self._ready or _size(feeds) + _size(given or {}) > _MAX_BYTES:
            return
        try:
            self._queue.put_nowait(Pair(feeds, given))
        except Full:
            return

    def stop(self) -> None:
        """Ends it: the thread lets its model go as soon as it can. Returns at once."""
        self._stopped = True
        self._ready = False
        run = self._run
        if run is not None:
            run.interrupt()
        try:
            self._queue.put_nowait(None)
        except Full:
            return

    def _work(self) -> None:
        host.lower_priority(_NICENESS)
        if not self._has_memory(self._quarters.needed_bytes):
            return
        try:
            engine = self._load()
        except EdgecanaryError as error:
            log.warning("%s: %s is not compared with: %s", self.other.key, self.other.version, error)
            return
        self._engine = engine
        self._ready = not self._stopped
        try:
            while not self._stopped and self._has_memory(0):
                pair = self._queue.get()
                if pair is not None and self._wait_for_a_quiet_moment():
                    self._compare(engine, pair)
        except Exception:
            log.exception("%s: the comparison of revisions ends", self.other.key)
        finally:
            self._ready = False
            self._engine = None
            self._drop_waiting()
            engine.close()

    def _has_memory(self, needed: int) -> bool:
        """Whether the node has so much memory left beside the margin; says so when it has not."""
        left, wanted = headroom.available_bytes(), needed + self._quarters.margin_bytes
        if left >= wanted:
            return True
        log.warning(
            "%s: %s is not compared with: %d MiB of memory are left, %d MiB are needed",
            self.other.key,
            self.other.version,
            left // 2**20,
            wanted // 2**20,
        )
        return False

    def _wait_for_a_quiet_moment(self) -> bool:
        """Waits while requests are answered, but not for ever; False when stopped meanwhile."""
        until = time.monotonic() + _IDLE_WAIT_SECONDS
        while self._busy() and time.monotonic() < until and not self._stopped:
            time.sleep(_IDLE_LOOK_SECONDS)
        return not self._stopped

    def _compare(self, engine: "Engine", pair: Pair) -> None:
        names = [tensor.name for tensor in engine.outputs]
        if pair.given is not None:
            names = [name for name in names if name in pair.given]
        if not names:
            return
        try:
            own = self._answer(engine, pair.feeds, names)
        except RunFault:
            own = None
        if self._stopped or time.monotonic() > self._run_until:
            return
        call_soon(self._loop, self._tally, judged(pair.given, own))

    def _answer(self, engine: "Engine", feeds: "Feeds", names: list[str]) -> dict[str, "Array"]:
        if engine.session is None:
            raise RunFault("the model is closed")
        run = engine.session.new_run()
        self._run_until = time.monotonic() + self._quarters.run_seconds
        self._run = run
        try:
            if self._stopped:
                run.interrupt()
            engine.mark.enter()
            own = dict(zip(names, run.execute(feeds, names), strict=True))
        finally:
            engine.mark.leave()
            self._run = None
        engine.check_finite(own)
        return own

    def _drop_waiting(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return


def judged(given: "Outputs | None", own: "Outputs | None") -> Shadowed:
    """What a pair of answers says of the revision that answers; None is a failure."""
    from edgecanary.agent.serving.agreement import agree  # noqa: PLC0415 -- numpy costs memory until a model is there

    if given is None or own is None:
        if given is own:
            return Shadowed.AGREE
        return Shadowed.CANARY_WORSE if given is None else Shadowed.STABLE_WORSE
    return Shadowed.AGREE if agree(given, own) else Shadowed.DISAGREE


def fits(active: InstalledRevision, other: InstalledRevision) -> bool:
    """Whether both revisions take the same inputs, so that one can see the other's."""
    return (
        active.revision != other.revision
        and active.serve
        and other.serve
        and active.io.inputs == other.io.inputs
    )


def _size(arrays: Mapping[str, "Array"]) -> int:
    return sum(array.nbytes for array in arrays.values())
