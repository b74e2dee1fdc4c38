"""Whether a node may switch now, by its own clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgecanary.api.policy import UpdateWindow
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.windows import opening

_EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock that shows an earlier time was never set."""

_LOOK_AGAIN_SECONDS = 60.0
"""The clock may be set while a node waits: it is looked at again this often."""


@dataclass(frozen=True)
class Gate:
    """Whether the windows let a node switch; if not, when to look again and why."""

    open: bool
    wait_seconds: float = 0.0
    message: str = ""


def gate(windows: Sequence[UpdateWindow], now: datetime, known: datetime | None) -> Gate:
    """Whether a node may switch at `now`; `known` is a time that has certainly passed.

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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            "updateWindows[].timeZone",
            f"must be a time zone that the node knows, got {name!r}; install its time zone data (tzdata)",
        ) from error
