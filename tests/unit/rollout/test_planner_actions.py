"""What people do to a rollout: edits, promote, retry, abort, pause, other revisions."""

from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout_status import HistoryOutcome, RolloutStatus
from edgecanary.rollout.conditions import is_true
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model, rollout

V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)


def test_the_fleet_takes_one_release_write_for_each_step_and_one_for_the_promotion() -> None:
    stage = Stage.with_nodes(50).promoted()
    before = stage.writes
    stage.model = V2
    stage.play(600)
    assert stage.writes - before == 4


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
