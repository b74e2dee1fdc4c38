"""Time as a value: the pure layers take `now` as an argument, the shells take a `Clock`."""

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


def to_rfc3339(moment: datetime) -> str:
    """`moment` as Kubernetes writes times: UTC, microseconds only when there are some, `Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
