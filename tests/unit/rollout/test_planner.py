"""What a rollout does by itself: steps, gates, deadlines, nodes."""

import pytest

from edgecanary.analysis.query import Vector
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout_status import HistoryOutcome, Verdict
from edgecanary.rollout.conditions import find_condition, is_true
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.rank import rank
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model

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
    assert all(fact in stage.message for fact in ("accuracy: 0.31", "0.9", "500 samples"))
    assert is_true(stage.status.conditions, ConditionType.STALLED)
    stalled = find_condition(stage.status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.reason == "AnalysisFailed"
    assert stage.status.analysis is not None
    assert stage.status.analysis.metrics[0].verdict is Verdict.FAIL


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
