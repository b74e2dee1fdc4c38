"""What became of each step, in states that the real planner made."""

from edgecanary.api.rollout import Decided
from edgecanary.rollout.ladder import Rung, picture_steps
from tests.unit.rollout.fleet_play import BAD, Stage, model
from tests.unit.rollout.test_asking import awaiting_approval, baking, paused, promoted, rolled_back, updating


def rungs(stage: Stage) -> list[Rung]:
    return [step.rung for step in picture_steps(stage.rollout)]


def test_steps_are_done_current_and_ahead() -> None:
    stage = baking()
    assert rungs(stage) == [Rung.CURRENT, Rung.AHEAD, Rung.AHEAD]
    stage.play(80)
    assert rungs(stage) == [Rung.DONE, Rung.CURRENT, Rung.AHEAD]


def test_a_done_step_tells_when_it_began_and_a_baking_one_when_it_ends() -> None:
    stage = baking()
    begun = picture_steps(stage.rollout)[0].began
    assert picture_steps(stage.rollout)[0].bake_until is not None
    stage.play(80)
    first, quarter, last = picture_steps(stage.rollout)
    assert first.began == begun
    assert quarter.began is not None
    assert first.bake_until is None
    assert last.began is None


def test_all_steps_are_done_once_the_revision_is_promoted() -> None:
    stage = baking()
    stage.play(1200)
    assert stage.reason == "Promoted"
    assert rungs(stage) == [Rung.DONE] * 3


def test_no_step_was_climbed_by_what_was_adopted() -> None:
    assert rungs(promoted()) == [Rung.IDLE] * 3


def test_the_step_in_which_a_revision_was_taken_back_is_shown() -> None:
    assert rungs(rolled_back()) == [Rung.FAILED, Rung.IDLE, Rung.IDLE]
    stage = baking()
    stage.play(80)
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert rungs(stage) == [Rung.DONE, Rung.FAILED, Rung.IDLE]


def test_a_step_in_which_a_person_decides_is_held() -> None:
    assert rungs(awaiting_approval()) == [Rung.HELD, Rung.AHEAD]
    assert picture_steps(awaiting_approval().rollout)[0].approval is Decided.MANUAL
    assert rungs(paused())[0] is Rung.HELD


def test_steps_that_a_full_promotion_passes_by_are_skipped() -> None:
    stage = updating()
    stage.annotate("promote", "full-1")
    stage.reconcile()
    assert rungs(stage) == [Rung.DONE, Rung.SKIPPED, Rung.CURRENT]


def test_the_share_of_each_step_is_told_in_its_own_terms() -> None:
    stage = promoted()
    stage.model = model("2.0.0", generation=2)
    assert [step.share for step in picture_steps(stage.rollout)] == ["1 node", "25 %", "100 %"]
