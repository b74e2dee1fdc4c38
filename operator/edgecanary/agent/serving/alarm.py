"""Something to be done later unless there is other news before, without a timer for each piece of news."""

import asyncio
from collections.abc import Callable


class Alarm:
    """At most one timer of the event loop. One that rings too early is set anew then."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._action: Callable[[], None] | None = None

    def set(self, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` in so many seconds unless something else is set, or nothing, before."""
        loop = asyncio.get_running_loop()
        self._due, self._action = loop.time() + seconds, action
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._ring)

    def unset(self) -> None:
        """Calls nothing any more."""
        self._action = None

    def drop(self) -> None:
        """Calls nothing any more, and leaves no timer."""
        self.unset()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        action, loop = self._action, asyncio.get_running_loop()
        if action is None:
            return
        if self._due > loop.time():
            self._timer = loop.call_at(self._due, self._ring)
            return
        self._action = None
        action()
