"""Update windows, and deadlines that count meanwhile."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edgecanary.agent.machine import Event, State, next_state
from edgecanary.agent.timing import gate
from edgecanary.api.policy import UpdateWindow
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.windows import opening
from tests.unit.rollout.fleet_play import BAD, rollout
from tests.unit.rollout.semantics.field import V1, V2, Field, field_of, percent_step, revision, strategy
from tests.unit.rollout.semantics.situation import situation

BERLIN = "Europe/Berlin"
AT_ONCE = strategy(percent_step("all", 100, bake=60))
EVENING: dict[str, object] = {"schedule": "0 20 * * *", "durationSeconds": 3600}
"""The stage begins at 8 in the morning, UTC."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def open_at(schedule: str, hours: float, moments: Sequence[str], zone: str = BERLIN) -> list[bool]:
    """Whether a window of that schedule is open at each of the moments (UTC)."""
    window = UpdateWindow(schedule=schedule, duration_seconds=int(hours * 3600), time_zone=zone)
    return [opening([(window, ZoneInfo(zone))], at(moment)).open for moment in moments]


def evenings(*, seconds: float = 60, **more: object) -> Field:
    """A stage whose nodes may switch in the evening only, some time after the model has changed."""
    return field_of(6, strategy={**AT_ONCE, **more}, updateWindows=[EVENING]).rolling(V2, seconds=seconds)


@situation(
    "Windows",
    when="no window is open",
    then="nodes download and probe, do not switch, and are pending; the bake begins when the quorum has switched",
)
def test_nodes_wait_for_their_window_and_the_step_waits_for_them() -> None:
    stage = evenings(seconds=3600)
    assert stage.reason == "NodesUpdating"
    assert stage.status.nodes.pending == 6
    assert stage.running(V2) == []
    stage.now = at("2026-01-05T20:00")
    stage.play(40)
    assert stage.reason == "Baking"
    stage.play(60)
    assert stage.reason == "Promoted"


@situation(
    "Windows",
    when="a node is offline while the window is open",
    then="it switches in the next window that it is there for",
)
def test_a_node_that_misses_its_window_takes_the_next_one() -> None:
    stage = evenings()
    stage.set_online("node-03", online=False)
    stage.now = at("2026-01-05T20:00")
    stage.play(3600)
    assert stage.reason == "StragglersPending"
    stage.set_online("node-03", online=True)
    stage.now = at("2026-01-06T20:00")
    stage.play(60)
    assert stage.reason == "Promoted"


@situation(
    "Windows",
    when="a step's deadline passes while no window is open",
    then="it is past its deadline: closed windows count. Give a step more time than the longest gap between windows",
)
def test_a_deadline_counts_while_the_windows_are_closed() -> None:
    stage = evenings(seconds=4000, stepDeadlineSeconds=3600)
    assert stage.reason == "DeadlineExceeded"
    stage.annotate("promote", "more-time")
    stage.play(60)
    assert stage.reason == "NodesUpdating"


@situation(
    "Windows",
    when="a revision is taken back outside of every window",
    then="nodes go back at once, since the earlier revision lies on their disks: taking back waits for no window",
)
def test_taking_back_waits_for_no_window() -> None:
    stage = evenings()
    stage.now = at("2026-01-05T20:50")
    stage.play(20)
    assert len(stage.running(V2)) == 6
    stage.now = at("2026-01-05T23:00")
    stage.accuracy = BAD
    stage.play(40)
    assert (stage.reason, len(stage.running(V1))) == ("RolledBack", 6)
    assert next_state(State.SETTLED, Event.RETURNED) is State.SWITCH


@situation(
    "Windows",
    when="the windows are removed or changed while nodes wait",
    then="the nodes go by the new ones at once",
)
def test_changed_windows_count_at_once() -> None:
    stage = evenings()
    assert stage.running(V2) == []
    stage.edit(rollout(strategy=AT_ONCE))
    stage.play(40)
    assert len(stage.running(V2)) == 6
    assert stage.active("node-00") == revision(V2)


@situation(
    "Windows",
    when="a schedule names a time zone",
    then="it opens by the wall clock there, summer and winter",
)
def test_a_window_opens_by_the_wall_clock_of_its_zone() -> None:
    assert open_at("0 2 * * *", 1, ["2026-01-10T00:59", "2026-01-10T01:00", "2026-01-10T02:00"]) == [
        False, True, False,
    ]  # fmt: skip
    assert open_at("0 2 * * *", 1, ["2026-07-10T00:00", "2026-07-10T01:00"]) == [True, False]


@situation(
    "Windows",
    when="clocks are put forward and the time at which a window opens does not exist that day",
    then="it opens as far behind the gap as the time lies in it, and for its whole duration",
)
def test_a_window_whose_time_does_not_exist_opens_behind_the_gap() -> None:
    moments = ["2026-03-29T01:29", "2026-03-29T01:30", "2026-03-29T02:29", "2026-03-29T02:30"]
    assert open_at("30 2 * * *", 1, moments) == [False, True, True, False]


@situation(
    "Windows",
    when="clocks are put back and the time at which a window opens comes twice",
    then="it opens at the first of the two, once",
)
def test_a_window_whose_time_comes_twice_opens_once() -> None:
    moments = ["2026-10-25T00:29", "2026-10-25T00:30", "2026-10-25T00:45", "2026-10-25T01:30"]
    assert open_at("30 2 * * *", 0.25, moments) == [False, True, False, False]


@situation(
    "Windows",
    when="clocks change while a window is open",
    then="it lasts its duration in elapsed time, whatever the clocks on the wall do",
)
@pytest.mark.parametrize(
    ("schedule", "opens"), [("0 1 * * *", "2026-03-29T00:00"), ("0 1 * * *", "2026-10-24T23:00")]
)
def test_a_window_lasts_its_elapsed_time(schedule: str, opens: str) -> None:
    start = at(opens)
    moments = [(start + timedelta(minutes=passed)).isoformat()[:16] for passed in (-1, 0, 179, 180)]
    assert open_at(schedule, 3, moments) == [False, True, True, False]


@situation(
    "Windows",
    when="a window lasts over midnight, or over several days",
    then="it stays open for its whole duration; it belongs to the day on which it opens",
)
def test_a_window_stays_open_over_midnight() -> None:
    saturday_night = ["2026-01-10T21:59", "2026-01-10T22:00", "2026-01-11T01:59", "2026-01-11T02:00"]
    assert open_at("0 23 * * SAT", 4, saturday_night) == [False, True, True, False]
    assert open_at("0 23 * * SAT", 4, ["2026-01-11T22:30"]) == [False], "not on Sunday night"
    assert open_at("0 18 * * FRI", 60, ["2026-01-09T17:00", "2026-01-12T04:59"]) == [True, True]


@situation(
    "Windows",
    when="two windows overlap or touch",
    then="nodes may switch while one of them is open",
)
def test_one_open_window_is_enough() -> None:
    zoned = [
        (UpdateWindow(schedule=schedule, duration_seconds=3600), ZoneInfo("UTC"))
        for schedule in ("0 2 * * *", "30 2 * * *")
    ]
    found = [opening(zoned, at(f"2026-01-05T{time}")).open for time in ("01:59", "02:15", "03:15", "03:30")]
    assert found == [False, True, True, False]


@situation(
    "Windows",
    when="no schedule ever comes up, such as a 30th of February",
    then="nodes refuse the revision before they download it and say so (PrecheckFailed), and the step waits",
)
def test_a_window_that_never_opens_is_told() -> None:
    never = UpdateWindow(schedule="0 2 30 2 *", duration_seconds=3600)
    with pytest.raises(InvalidInput, match="none of the schedules ever comes up"):
        gate([never], at("2026-01-05T08:00"), None)
