"""Gives memory back when the requests pause.

Inference leaves freed pages behind that the next inference takes up again at once, so returning them between
requests would cost each of them time. After a quiet while they are returned, once; sooner after a large request, which
leaves many times its size behind.
"""

import asyncio
from collections.abc import Callable

from edgecanary.agent import host

QUIET_SECONDS = 5.0
SOON_SECONDS = 1.0
LARGE_BYTES = 2**20
"""Of a request, to be large: where it is JSON, reading it took about ten times that."""


class QuietTrim:
    """Lets the process's memory rest once after the last of several requests. Without requests nothing runs."""

    def __init__(
        self,
        quiet_seconds: float = QUIET_SECONDS,
        soon_seconds: float = SOON_SECONDS,
        trim: Callable[[], None] = host.trim_heap,
        rest: Callable[[], None] = host.rest,
    ) -> None:
        """`trim` is for soon after a large request, `rest` for when it was quiet for longer."""
        self._quiet_seconds = quiet_seconds
        self._soon_seconds = soon_seconds
        self._trim = trim
        self._rest = rest
        self._last = 0.0
        self._large = False
        self._timer: asyncio.TimerHandle | None = None

    def touch(self, request_bytes: int = 0) -> None:
        """A request was answered, or memory used in another way."""
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if request_bytes >= LARGE_BYTES and not self._large:
            self._large = True
            self.stop()
        if self._timer is None:
            self._set(self._wait())

    def stop(self) -> None:
        """Trims no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> float:
        return self._soon_seconds if self._large else self._quiet_seconds

    def _set(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)

    def _check(self) -> None:
        passed = asyncio.get_running_loop().time() - self._last
        self._timer = None
        if passed >= self._quiet_seconds:
            self._large = False
            self._rest()
            return
        if self._large and passed >= self._soon_seconds:
            self._large = False
            self._trim()
        self._set(self._wait() - passed)
