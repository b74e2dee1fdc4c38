"""Update windows: cron schedules in time zones, and the moments at which they open and close."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.api.policy import UpdateWindow
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.windows import opening, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
HOUR = 3600


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(schedule: str, seconds: int = HOUR, zone: ZoneInfo = BERLIN) -> tuple[UpdateWindow, ZoneInfo]:
    return UpdateWindow(schedule=schedule, duration_seconds=seconds, time_zone=zone.key), zone


def test_without_windows_a_node_may_switch_at_any_time() -> None:
    assert opening([], at("2026-01-01T00:00")).open


def test_a_window_opens_at_the_minute_it_names_and_closes_after_its_duration() -> None:
    nightly = [window("30 2 * * *", 2 * HOUR)]  # 01:30 to 03:30 UTC in winter

    assert not opening(nightly, at("2026-01-10T01:29:59")).open
    assert opening(nightly, at("2026-01-10T01:30")).open
    assert opening(nightly, at("2026-01-10T03:29:59")).open
    assert not opening(nightly, at("2026-01-10T03:30")).open


def test_it_tells_when_the_next_change_comes() -> None:
    nightly = [window("30 2 * * *", 2 * HOUR)]

    assert opening(nightly, at("2026-01-10T00:00")).changes_at == at("2026-01-10T01:30")
    assert opening(nightly, at("2026-01-10T02:00")).changes_at == at("2026-01-10T03:30")
    assert opening(nightly, at("2026-01-10T12:00")).changes_at == at("2026-01-11T01:30")


def test_of_several_windows_one_that_is_open_is_enough_and_the_first_to_open_is_told() -> None:
    both = [window("0 6 * * *"), window("0 3 * * *")]

    assert opening(both, at("2026-01-10T02:30")).open
    assert opening(both, at("2026-01-10T05:30")).open
    assert opening(both, at("2026-01-10T03:30")).changes_at == at("2026-01-10T05:00")


def test_a_window_longer_than_a_day_stays_open_over_midnights() -> None:
    weekend = [window("0 18 * * FRI", 60 * HOUR)]

    assert opening(weekend, at("2026-01-09T17:00")).open  # a Friday
    assert opening(weekend, at("2026-01-11T23:00")).open
    assert not opening(weekend, at("2026-01-12T05:00")).open


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        pytest.param("2026-03-28", "2026-03-28T01:30", id="the day before clocks go forward"),
        pytest.param("2026-03-29", "2026-03-29T01:30", id="02:30 does not exist: half an hour after the gap"),
        pytest.param("2026-03-30", "2026-03-30T00:30", id="the day after, an hour earlier in UTC"),
        pytest.param("2026-10-25", "2026-10-25T00:30", id="02:30 comes twice: the first of the two"),
        pytest.param("2026-10-26", "2026-10-26T01:30", id="winter again"),
    ],
)
def test_schedules_follow_the_wall_clock_through_changes_of_the_clocks(day: str, opens: str) -> None:
    nightly = [window("30 2 * * *")]

    assert opening(nightly, at(f"{day}T00:00") - timedelta(hours=1)).changes_at == at(opens)


def test_the_second_of_two_equal_wall_clock_times_opens_nothing() -> None:
    nightly = [window("30 2 * * *", 600)]

    assert opening(nightly, at("2026-10-25T00:35")).open
    assert not opening(nightly, at("2026-10-25T01:35")).open


def test_a_window_lasts_its_elapsed_time_though_the_clocks_change_meanwhile() -> None:
    nightly = [window("30 1 * * *", 2 * HOUR)]  # 00:30 UTC on the day the clocks go forward

    assert opening(nightly, at("2026-03-29T02:29")).open
    assert not opening(nightly, at("2026-03-29T02:30")).open


def test_time_zones_with_odd_offsets_count() -> None:
    assert opening([window("0 0 * * *", HOUR, KATHMANDU)], at("2026-01-09T18:15")).open
    assert not opening([window("0 0 * * *", HOUR, KATHMANDU)], at("2026-01-09T18:14")).open


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        pytest.param("0 12 13 * *", ["2026-01-13", "2026-02-13"], id="a day of the month"),
        pytest.param("0 12 * * 1", ["2026-01-05", "2026-01-12"], id="a day of the week"),
        pytest.param("0 12 6 * MON", ["2026-01-05", "2026-01-06"], id="both: either is enough"),
        pytest.param(
            "0 12 */10 * MON", ["2026-05-11", "2026-06-01"], id="a star with a step is no restriction"
        ),
        pytest.param("0 12 * * 7", ["2026-01-04", "2026-01-11"], id="7 is Sunday"),
        pytest.param("0 12 29 2 *", ["2028-02-29", "2032-02-29"], id="a leap day"),
        pytest.param("0 12 1 JAN,JUL *", ["2026-01-01", "2026-07-01"], id="months by name"),
        pytest.param(
            "0 12 31 * *", ["2026-01-31", "2026-03-31"], id="months without the day are passed over"
        ),
    ],
)
def test_days_are_matched_as_in_every_cron(schedule: str, days: list[str]) -> None:
    utc = [window(schedule, 60, ZoneInfo("UTC"))]
    found, now = [], at("2026-01-01T00:00")
    for _ in days:
        change = opening(utc, now).changes_at
        assert change is not None
        found.append(change)
        now = change + timedelta(minutes=2)

    assert found == [at(f"{day}T12:00") for day in days]


def test_a_schedule_that_never_comes_up_has_no_next_opening() -> None:
    assert opening([window("0 0 30 2 *")], at("2026-01-01T00:00")).changes_at is None


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("60 * * * *", "minute must be within 0 and 59, got 60"),
        ("* 24 * * *", "hour must be within 0 and 23"),
        ("* * 0 * *", "day of the month must be within 1 and 31"),
        ("* * * 13 *", "month must be within 1 and 12"),
        ("* * * * 8", "day of the week must be within 0 and 7"),
        ("5-1 * * * *", "must not run backwards"),
        ("*/0 * * * *", "step of the minute must be 1 or more"),
        ("* * L * *", "must be made of numbers"),
        ("* * * * 1#2", "must be made of numbers"),
        ("* * * *", "five fields"),
        ("1,,2 * * * *", "must be made of numbers"),
        ("٣ * * * *", "must be made of numbers"),
    ],
)
def test_what_is_no_schedule_is_refused_by_the_rule_it_breaks(schedule: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_schedule(schedule, field="updateWindows[0].schedule")

    assert caught.value.field == "updateWindows[0].schedule"


_minutes = st.sampled_from(["*", "0", "*/17", "5-50/9", "7,44", "30/10"])
_hours = st.sampled_from(["*", "3", "*/5", "22-23", "0,12"])
_days = st.sampled_from(["*", "15", "*/9", "1-7"])
_weekdays = st.sampled_from(["*", "0", "MON-FRI", "6,7"])


@given(
    schedule=st.tuples(_minutes, _hours, _days, st.just("*"), _weekdays).map(" ".join),
    minutes=st.integers(0, 366 * 24 * 60),
    duration=st.sampled_from([60, 3600, 26 * 3600]),
)
def test_openness_agrees_with_looking_at_every_minute_before(
    schedule: str, minutes: int, duration: int
) -> None:
    now = at("2026-01-01T00:00") + timedelta(minutes=minutes)
    parsed = parse_schedule(schedule)

    def is_named(moment: datetime) -> bool:
        local = moment.astimezone(KATHMANDU)
        return local.minute in parsed.minutes and local.hour in parsed.hours and parsed.matches(local.date())

    expected = any(is_named(now - timedelta(minutes=back)) for back in range(duration // 60))

    assert opening([window(schedule, duration, KATHMANDU)], now).open == expected


@given(
    schedule=st.tuples(_minutes, _hours, _days, st.just("*"), _weekdays).map(" ".join),
    minutes=st.integers(0, 366 * 24 * 60),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_a_closed_window_opens_just_when_it_said_it_would(schedule: str, minutes: int, zone: str) -> None:
    windows = [window(schedule, 60, ZoneInfo(zone))]
    now = at("2026-01-01T00:00") + timedelta(minutes=minutes)
    found = opening(windows, now)

    assert found.changes_at is not None
    assert found.changes_at > now
    if not found.open:
        assert opening(windows, found.changes_at).open
        assert not opening(windows, found.changes_at - timedelta(seconds=1)).open
