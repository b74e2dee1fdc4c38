"""The work queue: hands due keys to workers, and waits without polling when there are none."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, Protocol, TypeVar

from edgecanary.base.errors import Conflict, EdgecanaryError
from edgecanary.controller.schedule import Pace, Schedule
from edgecanary.controller.threads import in_thread

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)


class QueueObserver(Protocol):
    """Hears what the queue does, for metrics."""

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """One piece of work ended; `outcome` is ok, conflict, defect or an error's reason."""
        ...


@dataclass(frozen=True)
class Load:
    """What a queue has to do now; times in seconds."""

    waiting: int
    working: int
    longest_work: float
    longest_wait: float


class WorkQueue(Generic[K]):
    """Runs `work` in a thread for each key that is due, `workers` at a time, never twice at once for one key.

    `work` returns after how many seconds the key is to come again, None when only an event can change it.
    When it raises, the key comes again with growing delay. Its methods belong to the event loop.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[K], float | None],
        *,
        workers: int,
        pace: Pace,
        observer: QueueObserver,
        random: Random | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._workers = workers
        self._observer = observer
        self._schedule: Schedule[K] = Schedule(pace, random or Random())  # noqa: S311
        self._changed = asyncio.Event()
        self._stopping = False
        self._held = False

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Makes the key due after `delay` seconds, or earlier where it is due earlier already."""
        self._schedule.add(key, self._now(), delay=delay)
        self._changed.set()

    async def run(self) -> None:
        """Works until `stop` is called; then what is under way is finished first."""
        running: set[asyncio.Task[None]] = set()
        while not self._stopping:
            self._changed.clear()
            while self._is_free(running) and (key := self._schedule.pop(self._now())) is not None:
                task = asyncio.create_task(self._handle(key), name=f"{self.name} {key}")
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: self._changed.set())
            await self._wait(free=self._is_free(running))
        if running:
            await asyncio.wait(running)

    def stop(self) -> None:
        """Takes no more keys; `run` returns when the work under way has ended."""
        self._stopping = True
        self._changed.set()

    def hold(self) -> None:
        """Hands out no keys until `resume`, and forgets those that wait; what is under way is not interrupted."""
        self._held = True
        self._schedule.clear()

    def resume(self) -> None:
        """Hands out keys again."""
        self._held = False
        self._changed.set()

    def load(self) -> Load:
        """What there is to do now; nothing waits while the queue is held."""
        now = self._now()
        return Load(
            waiting=0 if self._held else self._schedule.waiting(now),
            working=self._schedule.working,
            longest_work=self._schedule.longest_work(now),
            longest_wait=0.0 if self._held else self._schedule.longest_wait(now),
        )

    def _is_free(self, running: set[asyncio.Task[None]]) -> bool:
        return not self._held and len(running) < self._workers

    async def _wait(self, *, free: bool) -> None:
        """Until something changes or, where a worker is free, the next key is due."""
        due = self._schedule.next_due() if free else None
        try:
            await asyncio.wait_for(
                self._changed.wait(), timeout=None if due is None else max(0.0, due - self._now())
            )
        except TimeoutError:
            return

    async def _handle(self, key: K) -> None:
        begin = self._now()
        future = asyncio.ensure_future(in_thread(lambda: self._work(key), name=f"{self.name} {key}"))
        await asyncio.wait({future})
        now = self._now()
        error = future.exception()
        if error is None:
            self._schedule.succeed(key, now, again=future.result())
        else:
            self._report(key, error, self._schedule.fail(key, now))
        self._observer.finished(self.name, _outcome(error), now - begin)

    def _report(self, key: K, error: BaseException, delay: float) -> None:
        if isinstance(error, Conflict):
            log.debug("%s %s: %s; observing again", self.name, key, error)
        elif isinstance(error, EdgecanaryError):
            failures = self._schedule.failures(key)
            log.warning(
                "%s %s: %s: %s; try %d follows in %.1f s",
                self.name,
                key,
                error.reason,
                error,
                failures + 1,
                delay,
            )
        else:
            log.error("%s %s: a defect of edgecanary, please report it", self.name, key, exc_info=error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, EdgecanaryError):
        return error.reason
    return "Defect"
