"""When a clock is believed."""

from datetime import datetime, timedelta

import pytest

from edgecanary.agent.timing import DOUBT_SECONDS, ClockWatch
from tests.unit.agent.releasing import NOW

YEAR = timedelta(days=365)


def floor(watch: ClockWatch, now: datetime, passed: float, *, synchronised: bool = False) -> datetime | None:
    return watch.floor(now, passed, NOW, synchronised=synchronised)


def test_a_clock_that_goes_on_is_believed() -> None:
    assert floor(ClockWatch(), NOW, 0) is None
    assert floor(ClockWatch(), NOW + YEAR, 0) is None


def test_a_clock_that_shows_less_than_before_is_doubted_for_a_day() -> None:
    watch = ClockWatch()

    assert floor(watch, NOW - YEAR, 100) == NOW
    assert floor(watch, NOW - YEAR, 100 + DOUBT_SECONDS - 1) == NOW
    assert floor(watch, NOW - YEAR, 100 + DOUBT_SECONDS) is None


def test_a_clock_that_the_system_keeps_right_is_believed_at_once() -> None:
    assert floor(ClockWatch(), NOW - YEAR, 0, synchronised=True) is None


def test_doubt_begins_anew_after_the_clock_was_right() -> None:
    watch = ClockWatch()
    floor(watch, NOW - YEAR, 0)
    floor(watch, NOW, 10)

    assert floor(watch, NOW - YEAR, DOUBT_SECONDS) == NOW


@pytest.mark.parametrize("by", [timedelta(hours=1), -timedelta(hours=1), YEAR, -YEAR])
def test_a_clock_that_was_set_is_noticed_once(by: timedelta) -> None:
    watch = ClockWatch()

    assert not watch.has_jumped(NOW, 0)
    assert not watch.has_jumped(NOW + timedelta(seconds=600), 600)
    assert watch.has_jumped(NOW + by + timedelta(seconds=660), 660)
    assert not watch.has_jumped(NOW + by + timedelta(seconds=720), 720)
