"""What a rollout does, situation by situation."""

from datetime import timedelta

import pytest

from edgecanary.analysis.query import Vector
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout_status import HistoryOutcome, RolloutStatus, Verdict
from edgecanary.rollout.conditions import find_condition, is_true
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.rank import rank
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, START, Stage, model, rollout

INVALID_WINDOWS = [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}]
V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)


def test_a_good_revision_goes_through_every_step_and_becomes_stable() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(600)
    assert stage.log == [
        "Baking 1/3 first 1/12",
        "Baking 2/3 quarter 3/12",
        "Promoted - 12/12",
    ]
    assert stage.events == [
        "RolloutStarted", "BakeStarted", "StepStarted", "BakeStarted", "StepStarted", "Promoted"
    ]  # fmt: skip
    assert stage.status.stable is not None
    assert stage.status.stable.version == "2.0.0"
    assert [entry.outcome for entry in stage.status.history] == [HistoryOutcome.PROMOTED] * 2


def test_a_revision_that_fails_its_gate_is_stopped_at_the_first_step_and_taken_back() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, BAD
    stage.play(600)
    assert stage.log == ["RolledBack - 12/12"]
    assert stage.running(V2) == []
    assert "accuracy: 0.31 is below the limit 0.9 over 500 samples" in stage.message
    assert is_true(stage.status.conditions, ConditionType.STALLED)
    stalled = find_condition(stage.status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.reason == "AnalysisFailed"
    assert stage.status.analysis is not None
    assert stage.status.analysis.metrics[0].verdict is Verdict.FAIL


def test_the_fleet_takes_one_release_write_for_each_step_and_one_for_the_promotion() -> None:
    stage = Stage.with_nodes(50).promoted()
    before = stage.writes
    stage.model = V2
    stage.play(600)
    assert stage.writes - before == 4


def test_the_first_nodes_are_those_with_the_lowest_ranks() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    assert stage.release is not None
    salt = stage.release.spec.salt
    assert stage.running(V2) == [min(stage.nodes, key=lambda name: rank(salt, name))]


def test_nodes_never_leave_the_canary_while_it_widens() -> None:
    stage = Stage.with_nodes(40).promoted()
    stage.model = V2
    seen: set[str] = set()
    for _ in range(30):
        stage.play(20)
        now = set(stage.running(V2))
        assert seen <= now
        seen = now
    assert len(seen) == 40


def test_a_rejected_revision_stays_rejected_when_steps_and_thresholds_are_edited() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, BAD
    stage.play(200)
    stage.accuracy = GOOD
    stage.edit(rollout(strategy={"steps": [{"name": "all", "percent": 100}]}))
    stage.play(600)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []


def test_a_retry_token_tries_a_rejected_revision_once_more() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, BAD
    stage.play(200)
    stage.accuracy = GOOD
    stage.annotate("retry", "one")
    stage.play(600)
    assert stage.reason == "Promoted"
    assert stage.status.history[-1].attempt == 2
    assert stage.status.rejected == ()


def test_a_retry_that_fails_again_needs_another_token() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, BAD
    stage.play(200)
    stage.annotate("retry", "one")
    stage.play(600)
    assert stage.reason == "RolledBack"
    assert stage.status.rejected[0].attempt == 2


def test_an_old_failure_on_a_node_does_not_fail_the_retry() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.failing = V2, set(stage.nodes)
    stage.reconcile()
    stage.answer()
    stage.silent = set(stage.nodes)
    stage.play(100)
    assert stage.reason == "RolledBack"
    stage.annotate("retry", "one")
    stage.play(60)
    assert stage.reason == "NodesUpdating"
    stage.failing = stage.silent = set()
    stage.play(600)
    assert stage.reason == "Promoted"


def test_a_step_that_loses_its_quorum_while_it_bakes_is_not_passed() -> None:
    steps = [{"name": "all", "percent": 100, "bakeSeconds": 100}]
    stage = Stage.with_nodes(4, strategy={"steps": steps})
    stage.play(40)
    assert stage.reason == "Baking"
    for number in range(4):
        late = NodeView(NodeFacts(f"late-{number}", {}, "amd64", 2**30), online=True)
        stage.nodes[late.facts.name] = late
        stage.silent.add(late.facts.name)
    stage.play(400)
    assert stage.reason == "NodesUpdating"
    stage.silent.clear()
    stage.play(100)
    assert stage.reason == "Promoted"


def test_the_first_failed_node_takes_the_revision_back() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.failing = V2, set(stage.nodes)
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert "1 failed, 0 tolerated" in stage.message
    assert "ProbeFailed: output y differs" in stage.message


def test_tolerated_failures_do_not_stop_the_rollout() -> None:
    steps = [
        {"name": "half", "percent": 50, "bakeSeconds": 0},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(
        12, strategy={"steps": steps, "maxFailedNodes": 1, "quorumPercent": 80}
    ).promoted()
    stage.model, stage.failing = V2, {"node-03"}
    stage.play(600)
    assert stage.reason == "Promoted"


def test_failed_nodes_count_against_the_quorum_even_when_tolerated() -> None:
    steps = [{"name": "all", "percent": 100, "bakeSeconds": 0}]
    stage = Stage.with_nodes(
        4, strategy={"steps": steps, "maxFailedNodes": 1, "quorumPercent": 90}
    ).promoted()
    stage.model, stage.failing = V2, {"node-03"}
    stage.play(600)
    assert stage.reason == "NodesUpdating"
    assert stage.status.nodes.failed == 1


@pytest.mark.parametrize("answer", [DOWN, Vector()])
def test_without_data_nothing_is_promoted_and_nothing_rolled_back(answer: Vector) -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, answer
    stage.play(1200)
    assert stage.reason == "AnalysisInconclusive"
    assert len(stage.running(V2)) == 1
    stage.accuracy = GOOD
    stage.play(600)
    assert stage.reason == "Promoted"


def test_the_status_says_why_there_is_no_verdict() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, DOWN
    stage.play(300)
    assert "http://prometheus:9090 did not answer within 10 s" in stage.message


def test_past_the_deadline_the_rollout_waits_for_a_person() -> None:
    steps = [
        {"name": "first", "nodes": 1, "bakeSeconds": 0},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(12, strategy={"steps": steps, "stepDeadlineSeconds": 100}).promoted()
    stage.model, stage.accuracy = V2, DOWN
    stage.play(400)
    assert stage.reason == "DeadlineExceeded"
    stage.accuracy = GOOD
    stage.play(100)
    assert stage.reason == "DeadlineExceeded"
    stage.annotate("promote", "go")
    stage.play(100)
    assert stage.reason == "Promoted"


def test_past_the_deadline_the_rollout_is_taken_back_when_asked_to() -> None:
    steps = [{"name": "all", "percent": 100, "bakeSeconds": 0}]
    strategy = {"steps": steps, "stepDeadlineSeconds": 100, "onDeadline": "Rollback"}
    stage = Stage.with_nodes(12, strategy=strategy).promoted()
    stage.model, stage.accuracy = V2, DOWN
    stage.play(400)
    assert stage.reason == "RolledBack"


def test_offline_nodes_of_a_step_are_waited_for_and_never_pass_it() -> None:
    stage = Stage.with_nodes(3).promoted()
    stage.model = V2
    for name in stage.nodes:
        stage.set_online(name, online=False)
    stage.play(1200)
    assert stage.reason == "NodesOffline"
    for name in stage.nodes:
        stage.set_online(name, online=True)
    stage.play(600)
    assert stage.reason == "Promoted"


def test_a_node_that_is_offline_does_not_hold_a_step_that_has_a_quorum_and_follows_later() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.reconcile()
    stage.play(40)
    late = next(name for name in stage.nodes if name not in stage.running(V2))
    stage.set_online(late, online=False)
    stage.play(600)
    assert stage.reason == "StragglersPending"
    assert late in stage.message
    stage.set_online(late, online=True)
    stage.play(60)
    assert stage.reason == "Promoted"


def test_nodes_without_a_report_hold_the_step() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.silent = V2, set(stage.nodes)
    stage.play(1200)
    assert stage.reason == "NodesUpdating"


def test_a_manual_step_waits_for_a_promotion() -> None:
    steps = [
        {"name": "first", "nodes": 1, "bakeSeconds": 0, "approval": "Manual"},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(12, strategy={"steps": steps, "initial": "AllAtOnce"}).promoted()
    stage.model = V2
    stage.play(300)
    assert stage.reason == "AwaitingApproval"
    assert is_true(stage.status.conditions, ConditionType.RECONCILING)
    stage.annotate("promote", "go")
    stage.play(100)
    assert stage.reason == "Promoted"


def test_a_promotion_skips_the_bake_and_never_the_gate() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model, stage.accuracy = V2, DOWN
    stage.play(40)
    stage.annotate("promote", "go")
    stage.play(600)
    assert stage.reason == "AnalysisInconclusive"


def test_a_promotion_given_in_one_step_does_not_approve_the_next() -> None:
    steps = [
        {"name": "first", "nodes": 1, "bakeSeconds": 0, "approval": "Manual"},
        {"name": "more", "nodes": 2, "bakeSeconds": 0, "approval": "Manual"},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(12, strategy={"steps": steps, "initial": "AllAtOnce"}).promoted()
    stage.model = V2
    stage.play(100)
    stage.annotate("promote", "go")
    stage.play(300)
    assert stage.status.step is not None
    assert (stage.reason, stage.status.step.name) == ("AwaitingApproval", "more")


def test_a_paused_rollout_is_not_widened_and_still_taken_back() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.edit(rollout(paused=True))
    stage.play(600)
    assert stage.reason == "Paused"
    assert len(stage.running(V2)) == 1
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"


def test_abort_takes_the_canary_back_at_once_and_rejects_it() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(100)
    stage.annotate("abort", "stop")
    stage.play(40)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []
    assert stage.status.history[-1].outcome is HistoryOutcome.ABORTED


def test_a_token_that_was_there_before_the_rollout_began_does_nothing() -> None:
    stage = Stage.with_nodes(3)
    stage.annotate("abort", "old")
    stage.play(600)
    assert stage.reason == "Promoted"
    assert stage.status.actions.abort == "old"


def test_an_old_token_does_nothing_to_a_rollout_whose_status_was_lost() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.annotate("abort", "old")
    stage.rollout = stage.rollout.model_copy(update={"status": RolloutStatus()})
    stage.play(600)
    assert stage.reason == "Promoted"


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


def test_a_new_revision_supersedes_the_canary_and_the_stable_one_stays() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.model = V3
    stage.reconcile()
    assert stage.status.stable is not None
    assert stage.status.stable.version == "1.0.0"
    assert stage.status.history[-1].outcome is HistoryOutcome.SUPERSEDED
    stage.play(600)
    assert len(stage.running(V3)) == 12


def test_the_spec_that_returns_to_the_stable_revision_withdraws_the_canary_without_rejecting_it() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = V2
    stage.play(40)
    stage.model = V1
    stage.play(40)
    assert stage.reason == "Promoted"
    assert stage.running(V2) == []
    assert stage.status.rejected == ()
    assert stage.status.history[-1].outcome is HistoryOutcome.WITHDRAWN


def test_the_first_revision_that_fails_is_withdrawn_since_there_is_nothing_to_go_back_to() -> None:
    stage = Stage.with_nodes(12)
    stage.accuracy = BAD
    stage.play(200)
    assert stage.reason == "RolledBack"
    assert "the model is withdrawn" in stage.message
    assert stage.running(V1) == []


def test_the_first_revision_goes_to_everybody_at_once_when_asked_to() -> None:
    steps = [
        {"name": "first", "nodes": 1, "bakeSeconds": 60},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(12, strategy={"steps": steps, "initial": "AllAtOnce"})
    stage.play(20)
    assert len(stage.running(V1)) == 12


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
        "metrics": [{"name": "errors", "preset": "ErrorRate", "comparison": {"method": "NegativeBinomial"}}],
    }
    stage = Stage.with_nodes(3, analysis=analysis)
    stage.play(100)
    assert stage.reason == "ComparisonUnavailable"
    assert "spec.analysis.metrics[0].comparison" in stage.message
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
