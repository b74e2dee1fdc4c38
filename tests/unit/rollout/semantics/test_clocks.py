"""Clocks that differ, that go back, and that jump."""

from datetime import UTC, datetime, timedelta

import pytest

from edgecanary.agent.timing import gate
from edgecanary.api.policy import UpdateWindow
from tests.unit.rollout.fleet_play import DOWN, START
from tests.unit.rollout.semantics.field import (
    V2,
    Field,
    field_of,
    nodes_step,
    percent_step,
    revision,
    strategy,
)
from tests.unit.rollout.semantics.situation import situation

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)
STEPS = (nodes_step("first", 1, bake=600), percent_step("all", 100, bake=600))


def baking(**more: object) -> Field:
    """A stage whose first step bakes for ten minutes, of which two have passed."""
    stage = field_of(12, strategy={**strategy(*STEPS), **more}).rolling(V2, seconds=120)
    assert (stage.step(), stage.reason) == ("first", "Baking")
    return stage


@situation(
    "Clocks",
    when="a node's clock is wrong, by a year even",
    then="nothing: the planner reads no time that a node reports",
)
@pytest.mark.parametrize("off", [-YEAR, YEAR])
def test_a_wrong_clock_on_a_node_changes_no_decision(off: timedelta) -> None:
    stage = baking()
    right = stage.plan()
    for name in stage.nodes:
        stage.report(name, transition_time=stage.now + off)
    assert stage.plan() == right


@situation(
    "Clocks",
    when="the operator's clock goes back",
    then="nothing is done or told again and no wait is negative; what was reckoned from a time that now lies ahead is "
    "reckoned from now: a bake lasts its time once more at worst, never until the clock is there again",
)
@pytest.mark.parametrize("back", [timedelta(seconds=5), HOUR, DAY, YEAR])
def test_an_operator_whose_clock_goes_back_redoes_nothing(back: timedelta) -> None:
    stage = baking()
    release, told = stage.release, list(stage.events)
    stage.now -= back
    made = stage.reconcile()
    assert made.requeue_seconds is not None
    assert 0 < made.requeue_seconds <= 3600
    assert (stage.release, stage.events) == (release, told)
    assert (stage.step(), stage.reason) == ("first", "Baking")
    stage.play(640)
    assert (stage.step(), stage.reason) == ("all", "Baking")
    stage.play(640)
    assert stage.reason == "Promoted"
    assert stage.events.count("BakeStarted") == 2
    assert stage.events.count("StepStarted") == 1


@situation(
    "Clocks",
    when="the operator's clock was a year ahead while a step began, and is set right",
    then="the step begins now: neither its bake nor its deadline nor its gates wait a year",
)
def test_times_that_lie_ahead_are_taken_as_now() -> None:
    stage = field_of(12, strategy=strategy(*STEPS))
    stage.now += YEAR
    stage.rolling(V2, seconds=120)
    stage.now = START + HOUR
    stage.reconcile()
    step, analysis, waiting = stage.status.step, stage.status.analysis, stage.status.waiting
    assert step is not None
    assert (step.start_time, step.bake_start_time) == (stage.now, stage.now)
    assert analysis is not None
    assert analysis.time is not None
    assert analysis.time <= stage.now
    assert all(time <= stage.now for time in analysis.step_times)
    assert waiting is not None
    assert waiting.since <= stage.now
    before = stage.status
    stage.reconcile()
    assert stage.status == before, "once, not with every look"
    stage.play(640)
    assert stage.step() == "all"


@situation(
    "Clocks",
    when="the operator's clock goes back while a promotion or the step's deadline counts",
    then="the approval stays; the deadline is later by at most its own length",
)
def test_an_approval_and_a_deadline_survive_a_clock_that_goes_back() -> None:
    stage = baking(stepDeadlineSeconds=3600)
    stage.accuracy = DOWN
    stage.annotate("promote", "go")
    stage.play(60)
    assert stage.reason == "AnalysisInconclusive"
    stage.now -= YEAR
    stage.play(60)
    assert stage.status.step is not None
    assert stage.status.step.approved_time is not None
    assert stage.reason == "AnalysisInconclusive"
    stage.play(3600)
    assert stage.reason == "DeadlineExceeded"


@situation(
    "Clocks",
    when="nothing is rolling and the operator's clock goes back",
    then="nothing is written",
)
def test_a_clock_that_goes_back_at_rest_writes_nothing() -> None:
    stage = field_of(12, strategy=strategy(*STEPS)).rolling(V2, seconds=2000)
    assert stage.reason == "Promoted"
    before = (stage.writes, stage.status)
    stage.now -= YEAR
    stage.play(60)
    assert (stage.writes, stage.status) == before


@situation(
    "Clocks",
    when="Prometheus's clock differs from the operator's",
    then="presets and custom queries look back from Prometheus's own now over a length of time, and name no moment",
)
@pytest.mark.parametrize("off", [-YEAR, timedelta(), YEAR])
def test_queries_name_lengths_and_no_moments(off: timedelta) -> None:
    stage, moved = field_of(12, strategy=strategy(*STEPS)), field_of(12, strategy=strategy(*STEPS))
    moved.now += off
    for one in (stage, moved):
        one.rolling(V2, seconds=120)
    asked = stage.due(seconds=60)
    assert asked
    assert moved.due(seconds=60) == asked


NIGHTLY = [UpdateWindow(schedule="0 2 * * *", duration_seconds=3600)]


@situation(
    "Clocks",
    when="a node's clock was never set, or shows a time before one that has certainly passed there",
    then="its update windows stay closed, and it says so; it looks again every minute",
)
def test_a_clock_that_cannot_be_right_keeps_the_windows_closed() -> None:
    in_the_window = datetime(2026, 1, 5, 2, 30, tzinfo=UTC)
    assert gate(NIGHTLY, in_the_window, None).open
    never_set = gate(NIGHTLY, datetime(1970, 1, 1, 2, 30, tzinfo=UTC), None)
    went_back = gate(NIGHTLY, in_the_window, in_the_window + DAY)
    for closed in (never_set, went_back):
        assert (closed.open, closed.wait_seconds) == (False, 60)
        assert "set it" in closed.message


@situation(
    "Clocks",
    when="a node that has no update windows has a wrong clock",
    then="it switches all the same: without windows no clock is asked",
)
def test_without_windows_a_wrong_clock_holds_nothing() -> None:
    assert gate([], datetime(1970, 1, 1, tzinfo=UTC), START).open


@situation(
    "Clocks",
    when="the operator was away past the step's deadline, and nodes took the canary meanwhile",
    then="what is complete now is complete: the bake begins with its first look, and no time that it was away counts",
)
def test_an_operator_that_was_away_begins_the_bake_with_its_first_look() -> None:
    stage = field_of(12, strategy=strategy(*STEPS, stepDeadlineSeconds=3600))
    stage.model = V2
    stage.reconcile()
    stage.answer()
    stage.now += DAY
    stage.reconcile()
    assert (stage.step(), stage.reason) == ("first", "Baking")
    assert stage.status.step is not None
    assert stage.status.step.bake_start_time == stage.now
    assert len(stage.running(V2)) == 1
    assert stage.active(stage.covered()[0]) == revision(V2)
