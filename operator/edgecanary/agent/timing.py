"""Whether a node may switch now, by its own clock."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgecanary.api.policy import UpdateWindow
from edgecanary.base.clock import Clock, to_rfc3339
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.windows import opening

_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time was never set."""

_LOOK_AGAIN_SECONDS = 60.0
"""The clock may be set while a node waits: it is looked at again this often."""


_JUMP_SECONDS = 60.0
"""A clock that moved this much more or less than time passed was set."""

DOUBT_SECONDS = 86_400.0
"""A clock that shows less than was seen before is believed after it ran on for this long."""


class ClockWatch:
    """Whether this node's clock can be believed, by comparison with time that passed (monotonic seconds).

    A clock that was set meanwhile is looked at once more before it counts. One that shows less than was seen
    before is wrong now or was wrong then: it is believed when the system says that it is synchronised, or
    after a day.
    """

    def __init__(self) -> None:
        self._last: tuple[datetime, float] | None = None
        self._doubted_since: float | None = None

    def has_jumped(self, now: datetime, passed: float) -> bool:
        """Whether the clock was set since the last look."""
        last, self._last = self._last, (now, passed)
        return last is not None and abs((now - last[0]).total_seconds() - (passed - last[1])) > _JUMP_SECONDS

    def floor(
        self, now: datetime, passed: float, seen: datetime | None, *, synchronised: bool
    ) -> datetime | None:
        """The time before which `now` is not to be believed; None: it is."""
        if seen is None or now >= seen or synchronised:
            self._doubted_since = None
            return None
        if self._doubted_since is None:
            self._doubted_since = passed
        return None if passed - self._doubted_since >= DOUBT_SECONDS else seen


@dataclass(frozen=True)
class Look:
    """What a look at the clock showed."""

    now: datetime
    floor: datetime | None
    """The time before which `now` is not to be believed; None: it is."""
    was_set: bool
    """The clock was set since the look before, and nothing says that it is right."""


class NodeTime:
    """The node's clock, and how far it can be believed."""

    def __init__(self, clock: Clock, is_synchronised: Callable[[], bool]) -> None:
        self._clock = clock
        self._is_synchronised = is_synchronised
        self._watch = ClockWatch()

    def look(self, seen: datetime | None) -> Look:
        """Looks at the clock, in the running event loop; `seen` is a time that it showed before."""
        now, passed = self._clock.now(), asyncio.get_running_loop().time()
        synchronised = self._is_synchronised()
        jumped = self._watch.has_jumped(now, passed)
        floor = self._watch.floor(now, passed, seen, synchronised=synchronised)
        return Look(now, floor, was_set=jumped and not synchronised)


@dataclass(frozen=True)
class Gate:
    """Whether the windows let a node switch; if not, when to look again and why."""

    open: bool
    wait_seconds: float = 0.0
    message: str = ""


def gate(windows: Sequence[UpdateWindow], now: datetime, known: datetime | None) -> Gate:
    """Whether a node may switch at `now`; `known` is a time that has passed, as far as can be known.

    A clock that cannot be right keeps the windows closed. Raises InvalidInput for a window that cannot be
    understood.
    """
    if not windows:
        return Gate(open=True)
    zoned = [(window, _zone(window.time_zone)) for window in windows]
    floor = max(known or _EARLIEST, _EARLIEST)
    if now < floor:
        return Gate(
            open=False,
            wait_seconds=_LOOK_AGAIN_SECONDS,
            message=f"the node's clock shows {to_rfc3339(now)}, which was before {to_rfc3339(floor)}: set it",
        )
    found = opening(zoned, now)
    if found.open:
        return Gate(open=True)
    if found.changes_at is None:
        raise InvalidInput("updateWindows", "none of the schedules ever comes up, such as a 30th of February")
    left = (found.changes_at - now).total_seconds()
    return Gate(
        open=False,
        wait_seconds=min(left, _LOOK_AGAIN_SECONDS),
        message=f"ready; waits for the update window that opens at {to_rfc3339(found.changes_at)}",
    )


def look_again(now: datetime) -> Gate:
    """Closed for now, since the clock was set a moment ago."""
    message = f"the node's clock was set and shows {to_rfc3339(now)}: it is looked at once more"
    return Gate(open=False, wait_seconds=_LOOK_AGAIN_SECONDS, message=message)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            "updateWindows[].timeZone",
            f"must be a time zone that the node knows, got {name!r}; install its time zone data (tzdata)",
        ) from error
