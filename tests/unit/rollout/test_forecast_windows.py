"""How long a step may have to wait for an update window."""

from datetime import UTC, datetime, timedelta

import pytest

from edgecanary.api.policy import UpdateWindow
from edgecanary.rollout.forecast_windows import longest_closed, zoned
from edgecanary.rollout.windows import opening

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def window(schedule: str, hours: float, zone: str = "UTC") -> UpdateWindow:
    return UpdateWindow(schedule=schedule, duration_seconds=int(hours * 3600), time_zone=zone)


@pytest.mark.parametrize(
    ("windows", "longest"),
    [
        ([window("0 2 * * *", 2)], 22 * HOUR),
        ([window("0 2 * * *", 2, "Europe/Berlin")], 23 * HOUR),
        ([window("0 2 * * 1", 2)], 166 * HOUR),
        ([window("0 2 * * *", 2), window("0 14 * * *", 2)], 10 * HOUR),
        ([window("0 2 * * *", 2), window("0 3 * * *", 4)], 19 * HOUR),
        ([window("0 0 1 1 *", 1)], 8656 * HOUR),
        ([window("*/10 * * * *", 0.25)], 0 * HOUR),
        ([window("0 2 30 2 *", 1)], 0 * HOUR),
        ([window("0 0 * * *", 48)], 0 * HOUR),
    ],
)
def test_the_longest_time_without_a_window(windows: list[UpdateWindow], longest: timedelta) -> None:
    assert longest_closed(zoned(windows), NOW) == longest


@pytest.mark.parametrize("schedule", ["0 2 * * *", "30 1,13 * * 1-5", "0 */7 * * *", "15 4 1-7 * 3"])
def test_it_is_what_the_nodes_rule_gives_when_openings_are_followed(schedule: str) -> None:
    windows = zoned([window(schedule, 1, "America/New_York")])
    at, longest = NOW, timedelta(0)
    while at < NOW + timedelta(days=360):
        state = opening(windows, at)
        assert state.changes_at is not None
        longest = max(longest, timedelta(0) if state.open else state.changes_at - at)
        at = state.changes_at
    assert longest_closed(windows, NOW) == longest
