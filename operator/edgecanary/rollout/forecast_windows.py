"""Update windows over a year: how long a step may have to wait for one."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from edgecanary.api.policy import UpdateWindow
from edgecanary.rollout.windows import parse_schedule

ZonedWindow = tuple[UpdateWindow, tzinfo]

_YEAR_DAYS = 366


def zoned(windows: Iterable[UpdateWindow]) -> list[ZonedWindow]:
    """The windows with their time zones."""
    return [(window, ZoneInfo(window.time_zone)) for window in windows]


def longest_closed(windows: Sequence[ZonedWindow], now: datetime) -> timedelta:
    """The longest time without an open window in the year from `now`; zero when none ever opens.

    Windows that open several times in an hour count as open from the first of these times to the last.
    """
    spans = sorted(span for window, zone in windows for span in _spans(window, zone, now))
    longest, until = timedelta(0), now
    for start, end in spans:
        longest = max(longest, start - until)
        until = max(until, end)
    return longest


def _spans(window: UpdateWindow, zone: tzinfo, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """When the window is open, hour by hour; what is over before `now` is left out."""
    schedule, duration = parse_schedule(window.schedule), timedelta(seconds=window.duration_seconds)
    first, last = schedule.minutes[0], schedule.minutes[-1]
    today = now.astimezone(zone).date()
    for ahead in range(-duration.days - 2, _YEAR_DAYS):
        day = today + timedelta(days=ahead)
        for hour in schedule.hours if schedule.matches(day) else ():
            start, end = (
                datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                for minute in (first, last)
            )
            if end + duration > now:
                yield start, end + duration
