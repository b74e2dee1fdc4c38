"""Gives memory back when the requests pause.

Inference leaves freed pages behind that the next inference takes up again at once, so returning them between
requests would cost each of them time. After a quiet while they are returned, once.
"""

import asyncio

from edgecanary.agent import host

QUIET_SECONDS = 5.0


class QuietTrim:
    """Lets the process's memory rest once after the last of several requests. Without requests nothing runs."""

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet_seconds = quiet_seconds
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """A request was answered."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._quiet_seconds, self._check)

    def stop(self) -> None:
        """Trims no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + self._quiet_seconds - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check)
        else:
            self._timer = None
            host.rest()
