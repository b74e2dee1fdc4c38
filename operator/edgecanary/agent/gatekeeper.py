"""Whether a node may fetch or switch now: the release's update windows and the device's own conditions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from edgecanary.agent.preconditions import Conditions, Held, holds_activation, holds_download
from edgecanary.agent.surroundings import Places, read_device, read_link
from edgecanary.agent.timing import gate
from edgecanary.api.policy import UpdateWindow
from edgecanary.base.errors import EdgecanaryError

T = TypeVar("T")


@dataclass(frozen=True)
class Gatekeeper:
    """The conditions of one node. Going back to a revision never asks it."""

    conditions: Conditions = field(default_factory=Conditions)
    places: Places = field(default_factory=Places)

    @property
    def minds_downloads(self) -> bool:
        """Whether anything can hold a download."""
        return self.conditions.asks_for_link or self.conditions.windows_hold_downloads

    async def download(
        self, windows: Sequence[UpdateWindow], now: datetime, known: datetime | None
    ) -> Held | None:
        """What keeps the node from fetching now. `windows`, `now` and `known` as for `gate`."""
        if not self.minds_downloads:
            return None
        closed = outside(windows, now, known) if self.conditions.windows_hold_downloads else None
        if closed is not None or not self.conditions.asks_for_link:
            return closed
        return holds_download(self.conditions, await asyncio.to_thread(read_link, self.places))

    async def activation(
        self, windows: Sequence[UpdateWindow], now: datetime, known: datetime | None
    ) -> Held | None:
        """What keeps the node from switching now."""
        closed = outside(windows, now, known)
        if closed is not None or self.conditions == Conditions():
            return closed
        return holds_activation(
            self.conditions, await asyncio.to_thread(read_device, self.conditions, self.places)
        )


def outside(windows: Sequence[UpdateWindow], now: datetime, known: datetime | None) -> Held | None:
    """The hold of update windows that are closed. Raises InvalidInput for one that cannot be understood."""
    found = gate(windows, now, known)
    return None if found.open else Held("OutsideWindow", found.message, found.wait_seconds)


async def while_allowed(
    work: Coroutine[None, None, T], check: Callable[[], Awaitable[None]], every_seconds: float
) -> T:
    """Does the work unless `check` raises, which is called before and again and again meanwhile."""
    try:
        await check()
    except BaseException:
        work.close()
        raise
    running = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((running,), timeout=every_seconds))[0]:
            await check()
        return running.result()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, EdgecanaryError):
            await running
