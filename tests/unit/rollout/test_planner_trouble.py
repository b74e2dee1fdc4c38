"""What a rollout does when something around it is wrong: models, specs, releases, writes."""

from datetime import timedelta

import pytest

from edgecanary.analysis.query import Vector
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import BAD, GOOD, START, Stage, model, rollout

INVALID_WINDOWS = [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}]
V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)


def test_a_deleted_release_is_written_again_and_no_node_loses_its_model() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.lose_release()
    stage.play(100)
    assert stage.reason == "Promoted"
    assert stage.release is not None
    assert stage.release.spec.stable is not None
    assert len(stage.running(V1)) == 12


def test_a_deleted_release_whose_stable_revision_is_described_nowhere_is_not_replaced_by_one_without_it() -> (
    None
):
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, BAD
    stage.play(200)
    stage.lose_release()
    stage.accuracy = GOOD
    stage.play(200)
    assert stage.reason == "StableLost"
    assert "Set the EdgeModel back to 1.0.0" in stage.message
    assert stage.release is None
    assert len(stage.running(V1)) == 12
    stage.model = V1
    stage.play(60)
    stage.model = V2
    stage.play(60)
    assert stage.reason == "RolledBack"


def test_an_abort_takes_the_canary_back_even_while_the_spec_is_invalid() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.edit(rollout(updateWindows=INVALID_WINDOWS))
    stage.play(200)
    assert stage.reason == "InvalidSpec"
    assert len(stage.running(V2)) == 1
    stage.annotate("abort", "stop")
    stage.play(60)
    assert stage.running(V2) == []
    assert stage.status.rejected[0].reason == "Aborted"


def test_a_failed_gate_takes_the_canary_back_even_while_the_spec_is_invalid() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.edit(rollout(updateWindows=INVALID_WINDOWS))
    stage.accuracy = BAD
    stage.play(60)
    assert stage.running(V2) == []


def test_an_invalid_spec_does_not_change_the_policy_that_nodes_follow() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.edit(rollout(updateWindows=INVALID_WINDOWS, nodeSelector={"matchLabels": {"a": "b"}}))
    before = stage.writes
    stage.play(60)
    assert stage.writes == before


def test_more_strata_than_a_release_can_name_are_refused_by_field() -> None:
    stage = Stage.with_nodes(
        0, strategy={"steps": [{"name": "all", "percent": 100}], "stratifyBy": ["serial"]}
    )
    for number in range(257):
        facts = NodeFacts(f"node-{number}", {"serial": str(number)}, "amd64", 2**30)
        stage.nodes[facts.name] = NodeView(facts, online=True)
    stage.reconcile()
    assert stage.reason == "TooManyStrata"
    assert "spec.strategy.stratifyBy: gives 257 strata and at most 256 are possible" in stage.message


def test_a_model_that_does_not_exist_is_named() -> None:
    stage = Stage.with_nodes(3)
    stage.model = None
    stage.reconcile()
    assert stage.reason == "ModelNotFound"
    assert "spec.modelRef.name: no EdgeModel 'pump' in namespace 'plant'" in stage.message
    assert stage.release is None


def test_a_model_that_was_not_checked_yet_reaches_no_node() -> None:
    stage = Stage.with_nodes(3)
    stage.model = V1.model_copy(update={"status": V1.status.model_copy(update={"observed_generation": 0})})
    stage.play(100)
    assert stage.reason == "ModelPending"
    assert stage.release is None


def test_a_selector_that_matches_nothing_waits_and_says_so() -> None:
    stage = Stage.with_nodes(3, nodeSelector={"matchLabels": {"edge": "true"}})
    stage.play(100)
    assert stage.reason == "NoMatchingNodes"
    assert "edge=true" in stage.message


def test_a_comparison_that_cannot_be_judged_holds_the_rollout_instead_of_passing() -> None:
    analysis = {
        "prometheus": {"url": "http://prometheus:9090"},
        "metrics": [{"name": "drift", "preset": "Drift", "comparison": {"method": "NegativeBinomial"}}],
    }
    stage = Stage.with_nodes(3, analysis=analysis)
    stage.play(100)
    assert stage.reason == "InvalidSpec"
    assert "spec.analysis.metrics[0].comparison.method" in stage.message
    assert stage.release is None


def test_a_schedule_whose_ranges_run_backwards_is_named() -> None:
    stage = Stage.with_nodes(3, updateWindows=[{"schedule": "0 5-2 * * *", "durationSeconds": 7200}])
    stage.reconcile()
    assert stage.reason == "InvalidSpec"
    assert "spec.updateWindows[0].schedule" in stage.message


def test_a_time_zone_that_does_not_exist_is_named() -> None:
    stage = Stage.with_nodes(3, updateWindows=INVALID_WINDOWS)
    stage.reconcile()
    assert "spec.updateWindows[0].timeZone" in stage.message


@pytest.mark.parametrize("accuracy", [GOOD, BAD])
def test_an_operator_that_dies_between_release_and_status_ends_in_the_same_place(accuracy: Vector) -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, accuracy
    for turn in range(200):
        stage.reconcile(lose_status=turn % 2 == 0)
        stage.answer()
        stage.now += timedelta(seconds=10)
    assert stage.reason == ("Promoted" if accuracy is GOOD else "RolledBack")
    assert len(stage.running(V2)) == (12 if accuracy is GOOD else 0)
    assert stage.status.history[-1].revision == V2.status.revision


def test_a_rollback_is_told_even_when_the_operator_dies_right_after_it() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.accuracy = BAD
    stage.now += timedelta(seconds=20)
    stage.reconcile(lose_status=True)
    assert stage.release is not None
    assert stage.release.spec.canary is None
    stage.play(60)
    assert stage.events.count("RolledBack") == 1


def test_a_plan_that_changes_nothing_writes_nothing() -> None:
    stage = Stage.with_nodes(12).promoted()
    before = (stage.writes, stage.status)
    stage.play(3600)
    assert (stage.writes, stage.status) == before


def test_a_rollout_being_deleted_is_left_alone() -> None:
    stage = Stage.with_nodes(12).promoted()
    metadata = stage.rollout.metadata.model_copy(update={"deletion_timestamp": START})
    stage.rollout = stage.rollout.model_copy(update={"metadata": metadata})
    made = stage.plan()
    assert (made.release, made.status) == (None, stage.status)
