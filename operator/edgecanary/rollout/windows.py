"""When a node may switch: cron schedules of five fields in a time zone, each opening a window.

A schedule names local wall-clock times. Where clocks are put forward, a time that does not exist that day
opens as far behind the gap as it lies in it; where they are put back, only the first of two equal times
opens. A window lasts its whole duration in elapsed time, whatever the clocks do meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from edgecanary.api.policy import UpdateWindow
from edgecanary.base.errors import InvalidInput

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

_DAYS_AHEAD = 8 * 366
"""How far the next opening is looked for: the longest distance between two 29th of February."""


@dataclass(frozen=True)
class _Field:
    """What one field of a schedule may hold."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()
    first_name: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _WEEKDAYS, 0),
)


@dataclass(frozen=True)
class Schedule:
    """A parsed cron expression."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both day fields are restricted: one of them is enough, as in every cron."""

    def matches(self, day: date) -> bool:
        """Whether the schedule names a time on the day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)


@dataclass(frozen=True)
class Opening:
    """Whether the windows are open at a moment, and when that changes next.

    `changes_at` is the end of the open window, or the start of the next one; None when none ever opens.
    """

    open: bool
    changes_at: datetime | None


def parse_schedule(text: str, *, field: str = "schedule") -> Schedule:
    """The schedule that a cron expression means. Raises InvalidInput naming `field`."""
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise InvalidInput(
            field, f"must be a cron expression of five fields such as '0 2 * * 1-5', got {text!r}"
        )
    minutes, hours, days, months, weekdays = (
        _values(part, spec, field) for part, spec in zip(parts, _FIELDS, strict=True)
    )
    return Schedule(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not (parts[2].startswith("*") or parts[4].startswith("*")),
    )


def opening(windows: Sequence[tuple[UpdateWindow, tzinfo]], now: datetime) -> Opening:
    """The state of the windows at `now`, each with its time zone. No windows at all: always open.

    Raises InvalidInput when a schedule is not a cron expression.
    """
    if not windows:
        return Opening(open=True, changes_at=None)
    schedules = [(parse_schedule(window.schedule), zone, window.duration_seconds) for window, zone in windows]
    ends = [
        end for schedule, zone, seconds in schedules if (end := _open_until(schedule, zone, seconds, now))
    ]
    if ends:
        return Opening(open=True, changes_at=max(ends))
    starts = [start for schedule, zone, _ in schedules if (start := _next_start(schedule, zone, now))]
    return Opening(open=False, changes_at=min(starts, default=None))


def _open_until(schedule: Schedule, zone: tzinfo, seconds: int, now: datetime) -> datetime | None:
    duration = timedelta(seconds=seconds)
    today = now.astimezone(zone).date()
    for back in range(duration.days + 3):
        for start in _starts(schedule, zone, today + timedelta(days=1 - back), latest_first=True):
            if start <= now:
                return start + duration if now < start + duration else None
    return None


def _next_start(schedule: Schedule, zone: tzinfo, now: datetime) -> datetime | None:
    today = now.astimezone(zone).date()
    for ahead in range(-1, _DAYS_AHEAD):
        for start in _starts(schedule, zone, today + timedelta(days=ahead)):
            if start > now:
                return start
    return None


def _starts(schedule: Schedule, zone: tzinfo, day: date, *, latest_first: bool = False) -> Iterator[datetime]:
    """The moments in UTC that the schedule names on the local day."""
    if not schedule.matches(day):
        return
    moments = [
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
        for hour in schedule.hours
        for minute in schedule.minutes
    ]
    yield from sorted(moments, reverse=latest_first)


def _values(text: str, spec: _Field, field: str) -> set[int]:
    return {value for item in text.split(",") for value in _item(item, spec, field)}


def _item(text: str, spec: _Field, field: str) -> range:
    body, slash, step_text = text.partition("/")
    step = _number(step_text, spec, field) if slash else 1
    if step < 1:
        raise InvalidInput(field, f"the step of the {spec.name} must be 1 or more, got {text!r}")
    if body == "*":
        high = spec.high - 1 if spec.names == _WEEKDAYS else spec.high
        return range(spec.low, high + 1, step)
    first_text, dash, last_text = body.partition("-")
    first = _bounded(first_text, spec, field)
    if dash:
        last = _bounded(last_text, spec, field)
    else:
        last = spec.high if slash else first
    if last < first:
        raise InvalidInput(field, f"the range of the {spec.name} must not run backwards, got {text!r}")
    return range(first, last + 1, step)


def _bounded(text: str, spec: _Field, field: str) -> int:
    if text.upper() in spec.names:
        return spec.names.index(text.upper()) + spec.first_name
    value = _number(text, spec, field)
    if not spec.low <= value <= spec.high:
        raise InvalidInput(field, f"the {spec.name} must be within {spec.low} and {spec.high}, got {value}")
    return value


def _number(text: str, spec: _Field, field: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput(
            field, f"the {spec.name} must be made of numbers, *, -, / and commas, got {text!r}"
        )
    return int(text)
