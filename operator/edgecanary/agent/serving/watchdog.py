"""Work that nobody waits for any more and that does not end: a runtime that hangs in its thread.

A thread cannot be ended from outside. It holds its model's memory and may burn a core for ever, so when one
stays away the process has to make way for a new one, in order.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Work(Protocol):
    """Work in another thread, such as a Future of an executor."""

    def running(self) -> bool:
        """Whether the thread is at it."""
        ...


class Watchdog:
    """The work in models' threads that was given up. Belongs to the event loop's thread."""

    def __init__(self, hang_seconds: float) -> None:
        """Work hangs when it goes on for so long after it was told to end."""
        self.hung = asyncio.Event()
        """Set once some work hangs."""
        self._seconds = hang_seconds
        self._left: set[Work] = set()

    @property
    def stuck(self) -> bool:
        """Whether some work that was given up is going on."""
        self._left = {work for work in self._left if work.running()}
        return bool(self._left)

    def leave(self, work: Work, on_hang: Callable[[], None] | None = None) -> None:
        """Looks after work that nobody waits for any more; `on_hang` is called when it hangs."""
        if not work.running():
            return
        self._left.add(work)
        asyncio.get_running_loop().call_later(self._seconds, self._look, work, on_hang)

    def _look(self, work: Work, on_hang: Callable[[], None] | None) -> None:
        if not work.running():
            self._left.discard(work)
            return
        if on_hang is not None:
            on_hang()
        self.hung.set()
