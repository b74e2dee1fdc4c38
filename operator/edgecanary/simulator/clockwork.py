"""Simulated time: what happens, in the order of its moments. There is no other clock."""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from edgecanary.simulator.settings import START

Action = Callable[[], None]


class Timer:
    """Something that is to happen at a moment, unless it is cancelled before."""

    __slots__ = ("cancelled", "moment")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self.cancelled = False

    def cancel(self) -> None:
        """It does not happen any more."""
        self.cancelled = True


class Clockwork:
    """A queue of events on simulated time, in seconds since START.

    Events of one moment happen in the order in which they were added, or with `shuffle` in an order that
    the random numbers choose.
    """

    def __init__(self, *, shuffle: Random | None = None) -> None:
        self.now = 0.0
        self._shuffle = shuffle
        self._heap: list[tuple[float, float, int, Timer, Action]] = []
        self._added = 0
        self._watchers: list[Action] = []

    @property
    def time(self) -> datetime:
        """The present moment."""
        return moment_at(self.now)

    def after(self, seconds: float, action: Action) -> Timer:
        """Has `action` happen in `seconds`."""
        return self.at(self.now + max(0.0, seconds), action)

    def at(self, moment: float, action: Action) -> Timer:
        """Has `action` happen at `moment`, or now when that has passed."""
        timer = Timer(max(self.now, moment))
        tie = self._shuffle.random() if self._shuffle else 0.0
        self._added += 1
        heapq.heappush(self._heap, (timer.moment, tie, self._added, timer, action))
        return timer

    def watch(self, action: Action) -> None:
        """Has `action` called after every event."""
        self._watchers.append(action)

    def run(self, until: float) -> None:
        """Lets everything happen up to the moment `until`, which is then the present."""
        while self._heap and self._heap[0][0] <= until:
            moment, _, _, timer, action = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self.now = moment
            action()
            for watcher in self._watchers:
                watcher()
        self.now = max(self.now, until)


def moment_at(seconds: float) -> datetime:
    """The time that lies `seconds` after START, in whole milliseconds."""
    return START + timedelta(milliseconds=round(seconds * 1000))


def seconds_at(moment: datetime) -> float:
    """How many seconds after START a time lies."""
    return (moment - START).total_seconds()
