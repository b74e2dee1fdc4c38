"""When each key is to be worked on: the work queue's rules, without threads, timers or a clock of its own.

A key is in the schedule at most once, however often it is added, and is never worked on twice at a time; what
is added while it is worked on comes again afterwards.
"""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Pace:
    """How fast a key may come again, in seconds.

    `interval` is the least time between two starts of one key. A failed key waits a random time of at most
    `base` doubled for each failure in a row, and at most `cap`.
    """

    interval: float = 0.2
    base: float = 0.2
    cap: float = 60.0


class Schedule(Generic[K]):
    """Keys and when they are due. Times are seconds on any clock that never goes back."""

    def __init__(self, pace: Pace, random: Random) -> None:
        self._pace = pace
        self._random = random
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._working: dict[K, float] = {}
        self._started: dict[K, float] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K, now: float, *, delay: float = 0.0) -> None:
        """Makes the key due after `delay` seconds, or earlier where it is due earlier already."""
        earliest = self._started.get(key, float("-inf")) + self._pace.interval
        due = max(now + delay, earliest)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._push(key, due)

    def pop(self, now: float) -> K | None:
        """The key that has been due longest, now being worked on; None when none is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) != due or key in self._working:
                continue
            del self._due[key]
            self._forget(now)
            self._working[key] = self._started[key] = now
            return key
        return None

    def succeed(self, key: K, now: float, *, again: float | None = None) -> None:
        """Ends the work on a key; it comes again after `again` seconds, if that is said."""
        self._failures.pop(key, None)
        self._end(key)
        if again is not None:
            self.add(key, now, delay=again)

    def fail(self, key: K, now: float) -> float:
        """Ends the work on a key without success; the seconds after which it comes again."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        most = min(self._pace.cap, self._pace.base * 2 ** min(failures, 32))
        delay = self._random.uniform(0, most)
        self._end(key)
        self.add(key, now, delay=delay)
        return delay

    def clear(self) -> None:
        """Forgets all keys that wait."""
        self._due.clear()
        self._heap.clear()
        self._failures.clear()

    def next_due(self) -> float | None:
        """When the next key that nobody works on is due."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def waiting(self, now: float) -> int:
        """How many keys are due and not worked on."""
        return sum(due <= now for key, due in self._due.items() if key not in self._working)

    def failures(self, key: K) -> int:
        """Failures of the key in a row."""
        return self._failures.get(key, 0)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    def longest_work(self, now: float) -> float:
        """Since how many seconds the longest work goes on; 0 when there is none."""
        return max((now - start for start in self._working.values()), default=0.0)

    def longest_wait(self, now: float) -> float:
        """By how many seconds the most overdue key that nobody works on is late; 0 when none is."""
        due = self.next_due()
        return max(0.0, now - due) if due is not None else 0.0

    def _forget(self, now: float) -> None:
        """Drops starts that no longer hold anything back, once they outnumber what is in use."""
        if len(self._started) > 64 + 2 * (len(self._due) + len(self._working)):
            recent = now - self._pace.interval
            self._started = {key: start for key, start in self._started.items() if start > recent}

    def _push(self, key: K, due: float) -> None:
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))

    def _end(self, key: K) -> None:
        del self._working[key]
        if (due := self._due.get(key)) is not None:
            self._push(key, due)

    def _is_stale(self, entry: tuple[float, int, K]) -> bool:
        due, _, key = entry
        return self._due.get(key) != due or key in self._working
