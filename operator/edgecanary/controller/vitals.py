"""Whether the operator itself is well: the event loop, the queues and the watches. What is outside does not count.

An API server that is down makes the operator wait, not ill: to restart it would not help.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from edgecanary.base.clock import Clock, SystemClock
from edgecanary.base.quantities import human_seconds
from edgecanary.controller.attendance import Attendance
from edgecanary.controller.cache import Cache
from edgecanary.controller.health import Check
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.queue import Load
from edgecanary.controller.series import Shown

T = TypeVar("T")

_LOOP_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 300.0
_LONGEST_WORK_SECONDS = 900.0
_LONGEST_ARREARS_SECONDS = 600.0
_BOUNDED = frozenset({"rollout", "list"})
"""Queues whose work has time limits; a model's check takes as long as its files are large."""


class Queue(Protocol):
    """A work queue as far as its load goes."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def load(self) -> Load:
        """What it has to do now; to be called in the event loop's thread."""
        ...


class Watches(Protocol):
    """What watches, as far as its being there goes."""

    @property
    def ended(self) -> bool:
        """Whether it was started and is gone."""
        ...


class Replica(Protocol):
    """One of several replicas, as far as its part in the election goes."""

    @property
    def leads(self) -> bool:
        """Whether it decides now."""
        ...

    def problem(self) -> str | None:
        """What keeps it from taking part."""
        ...


class _Alone:
    leads = True

    def problem(self) -> str | None:
        return None


class Vitals:
    """Answers from any thread; asks the event loop and does not wait for ever."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cache: Cache,
        metrics: OperatorMetrics,
        queues: tuple[Queue, ...],
        watches: Watches,
        replica: Replica | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._loop = loop
        self._cache = cache
        self._metrics = metrics
        self._queues = queues
        self._watches = watches
        self._replica = replica or _Alone()
        self._clock = clock or SystemClock()
        self._attendance = Attendance()

    def alive_checks(self) -> Mapping[str, Check]:
        """What /healthz looks at."""
        return {
            "queues": self._check_queues,
            "watches": self._check_watches,
            "election": self._replica.problem,
        }

    def render_metrics(self) -> bytes:
        """The metrics as of now; without the queues' load when the loop does not answer."""
        for name, load in (self._loads() or {}).items():
            self._metrics.set_load(name, waiting=load.waiting, working=load.working)
        for part in self._cache.parts:
            self._metrics.set_overdue(part.resource, part.overdue())
        self._metrics.set_leader(leads=self._replica.leads)
        sight = self._cache.sight()
        roll = self._attendance.look(sight, time.monotonic())
        self._metrics.show(Shown(self._clock.now(), sight, roll))
        rollouts, models = self._cache.reasons()
        self._metrics.set_reasons("rollouts", rollouts)
        self._metrics.set_reasons("models", models)
        return self._metrics.render()

    def _check_queues(self) -> str | None:
        loads = self._loads()
        if loads is None:
            return f"the event loop has not answered for {_LOOP_SECONDS:g} s"
        for name, load in loads.items():
            if load.longest_wait > _LONGEST_WAIT_SECONDS:
                return f"a key of queue {name} has waited for {human_seconds(load.longest_wait)}"
            if name in _BOUNDED and load.longest_work > _LONGEST_WORK_SECONDS:
                return f"a key of queue {name} has been worked on for {human_seconds(load.longest_work)}"
        return None

    def _check_watches(self) -> str | None:
        if self._watches.ended:
            return "the thread that keeps the watches going has ended"
        for part in self._cache.parts:
            if part.overdue() > _LONGEST_ARREARS_SECONDS:
                return f"the watch of {part.resource} has been behind for {human_seconds(part.overdue())}"
        return None

    def _loads(self) -> Mapping[str, Load] | None:
        return self._ask_loop(lambda: {queue.name: queue.load() for queue in self._queues})

    def _ask_loop(self, question: Callable[[], T]) -> T | None:
        async def answer() -> T:
            return question()

        try:
            return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(_LOOP_SECONDS)
        except TimeoutError:
            return None
