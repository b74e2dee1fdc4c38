"""Time as a value: the pure layers take `now` as an argument, the shells take a `Clock`."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the shells get the time from; tests and the simulator bring their own."""

    def now(self) -> datetime:
        """The current time, always with a time zone (UTC)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current UTC time."""
        return datetime.now(UTC)


def steady_seconds() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def to_rfc3339(moment: datetime) -> str:
    """`moment` as Kubernetes writes times: UTC, microseconds only when there are some, `Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
