"""A limit on bytes per second that several transfers share."""

import threading
import time
from collections.abc import Callable

BURST_SECONDS = 1.0
"""How much of unused time may be made up for."""


class RateLimit:
    """A token bucket: over any time, at most the rate times that time and one burst of a second.

    Transfers are served in the order in which they ask, so that none starves.
    """

    def __init__(self, bytes_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._paid_until = clock() - BURST_SECONDS

    @property
    def bytes_per_second(self) -> float:
        """The limit."""
        return self._rate

    def take(self, count: int) -> float:
        """Seconds to wait before so many more bytes may be used."""
        with self._lock:
            now = self._clock()
            self._paid_until = max(self._paid_until, now - BURST_SECONDS) + count / self._rate
            return max(0.0, self._paid_until - now)
