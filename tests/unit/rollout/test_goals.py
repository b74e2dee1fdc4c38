"""What a script waits for: met, missed or not yet, in states that the real planner made."""

from typing import cast

import pytest

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.goals import Goal, GoalKind, Reach, look, parse_goal
from tests.unit.rollout.fleet_play import BAD, Stage, model
from tests.unit.rollout.test_asking import baking, promoted, rolled_back, updating

PROMOTED, ROLLED_BACK = Goal(GoalKind.PROMOTED), Goal(GoalKind.ROLLED_BACK)


def reach(goal: Goal, stage: Stage) -> Reach:
    return look(goal, stage.rollout, stage.model).reach


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("promoted", PROMOTED),
        ("rolledback", ROLLED_BACK),
        ("healthy", Goal(GoalKind.HEALTHY)),
        ("step=canary", Goal(GoalKind.STEP, "canary")),
        ("condition=Ready", Goal(GoalKind.CONDITION, "Ready", "True")),
        ("condition=Stalled=false", Goal(GoalKind.CONDITION, "Stalled", "False")),
    ],
)
def test_a_goal_is_read(text: str, goal: Goal) -> None:
    assert parse_goal(text) == goal


@pytest.mark.parametrize(
    "text", ["", "done", "step", "step=", "condition", "condition=", "condition=Ready=maybe", "promoted=1"]
)
def test_what_is_no_goal_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--for: must be promoted, rolledback, healthy, step=NAME or"):
        parse_goal(text)


def test_a_promotion_is_met_once_the_wanted_revision_is_stable() -> None:
    stage = promoted()
    assert reach(PROMOTED, stage) is Reach.MET
    stage.model = model("2.0.0", generation=2)
    found = look(PROMOTED, stage.rollout, stage.model)
    assert found.reach is Reach.NOT_YET, "the operator has not looked yet"
    assert found.message == "the operator has not taken up 2.0.0 of EdgeModel pump yet"
    stage.play(40)
    assert reach(PROMOTED, stage) is Reach.NOT_YET
    stage.play(1200)
    assert stage.reason == "Promoted"
    assert reach(PROMOTED, stage) is Reach.MET


def test_a_model_that_is_being_checked_is_waited_for() -> None:
    stage = promoted()
    changed = cast("EdgeModel", stage.model).model_copy(update={})
    metadata = changed.metadata.model_copy(update={"generation": 2})
    found = look(PROMOTED, stage.rollout, changed.model_copy(update={"metadata": metadata}))
    assert (found.reach, found.message) == (Reach.NOT_YET, "EdgeModel pump is being checked")


def test_a_promotion_is_missed_once_the_revision_was_taken_back() -> None:
    stage = rolled_back()
    assert reach(PROMOTED, stage) is Reach.MISSED
    assert reach(ROLLED_BACK, stage) is Reach.MET
    assert reach(Goal(GoalKind.STEP, "all"), stage) is Reach.MISSED
    assert reach(Goal(GoalKind.HEALTHY), stage) is Reach.MISSED


def test_a_new_revision_after_a_rollback_is_not_taken_for_the_old_one() -> None:
    stage = rolled_back()
    stage.model = model("3.0.0", generation=3)
    assert reach(PROMOTED, stage) is Reach.NOT_YET
    assert reach(ROLLED_BACK, stage) is Reach.NOT_YET


def test_a_rollback_is_missed_once_the_revision_is_promoted() -> None:
    assert reach(ROLLED_BACK, promoted()) is Reach.MISSED
    assert reach(ROLLED_BACK, baking()) is Reach.NOT_YET


def test_a_step_is_met_when_it_begins_and_stays_met() -> None:
    stage = baking()
    assert reach(Goal(GoalKind.STEP, "first"), stage) is Reach.MET
    assert reach(Goal(GoalKind.STEP, "quarter"), stage) is Reach.NOT_YET
    stage.play(80)
    assert stage.step() == "quarter"
    assert reach(Goal(GoalKind.STEP, "first"), stage) is Reach.MET
    assert reach(Goal(GoalKind.STEP, "quarter"), stage) is Reach.MET


def test_a_step_that_the_rollout_does_not_have_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"must be a step of the Rollout \(first, quarter, all\), got 'third'"
    ):
        look(Goal(GoalKind.STEP, "third"), baking().rollout)


def test_an_edit_that_nobody_has_looked_at_is_waited_for() -> None:
    stage = promoted()
    stage.edit(stage.rollout)
    for goal in (PROMOTED, Goal(GoalKind.HEALTHY), Goal(GoalKind.CONDITION, "Ready")):
        assert reach(goal, stage) is Reach.NOT_YET


def test_a_rollout_that_nobody_has_looked_at_is_waited_for() -> None:
    stage = Stage.with_nodes(3)
    assert look(Goal(GoalKind.HEALTHY), stage.rollout).reach is Reach.NOT_YET


def test_conditions_are_looked_at_by_status_and_an_absent_one_is_false() -> None:
    assert reach(Goal(GoalKind.CONDITION, "ready"), promoted()) is Reach.MET
    assert reach(Goal(GoalKind.CONDITION, "Ready", "Unknown"), updating()) is Reach.MET
    assert reach(Goal(GoalKind.CONDITION, "Stalled", "False"), updating()) is Reach.MET
    assert reach(Goal(GoalKind.CONDITION, "Stalled"), rolled_back()) is Reach.MET
    assert reach(Goal(GoalKind.CONDITION, "Stalled"), updating()) is Reach.NOT_YET


def test_a_spec_that_breaks_a_rule_misses_every_goal_at_once() -> None:
    stage = baking()
    stage.accuracy = BAD
    stage.model = None
    stage.play(20)
    assert stage.reason == "ModelNotFound"
    assert look(PROMOTED, stage.rollout).reach is Reach.MISSED
