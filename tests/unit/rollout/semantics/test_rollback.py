"""What comes back when a revision is taken back, and when."""

from edgecanary.agent.machine import Event
from edgecanary.agent.orders import decide, orders, supersedes
from edgecanary.agent.record import new_record
from edgecanary.api.edgenode import ModelState
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.eligibility import NodeFacts
from tests.unit.agent.releasing import KEY, Releases, everywhere, rejected, statement, target
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model, rollout
from tests.unit.rollout.semantics.situation import situation

V1, V2 = model("1.0.0"), model("2.0.0", generation=2)
STEPS = [
    {"name": "first", "nodes": 1, "bakeSeconds": 60},
    {"name": "all", "percent": 100, "bakeSeconds": 7200},
]


def fleet(**more: object) -> Stage:
    return Stage.with_nodes(12, strategy={"steps": STEPS, **more}).promoted_at_once()


@situation(
    "Rollback",
    when="a gate fails an hour into the bake of the last step, with every node on the canary",
    then="everybody goes back: the earlier revision stays stable until the last bake is over; give the last step the "
    "bakeSeconds for which a promotion may still be taken back",
)
def test_a_regression_seen_at_100_percent_takes_everybody_back() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(3800, tick=100)
    assert (stage.reason, len(stage.running(V2))) == ("Baking", 12)
    assert stage.status.stable is not None
    assert stage.status.stable.version == "1.0.0"
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert len(stage.running(V1)) == 12


@situation(
    "Rollback",
    when="a revision was promoted an hour ago and turns out to be bad",
    then="setting the EdgeModel back returns everybody in one step (the rollback window)",
)
def test_after_the_promotion_the_rollback_window_is_the_way_back() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(7600, tick=200)
    assert stage.reason == "Promoted"
    stage.play(3600, tick=600)
    stage.model, stage.accuracy = V1, DOWN
    stage.play(40)
    assert stage.reason == "Promoted"
    assert len(stage.running(V1)) == 12


@situation(
    "Rollback",
    when="the first revision of all is taken back: there is nothing to go back to",
    then="the model is withdrawn; nodes stop serving it and report Withdrawn; the message says so",
)
def test_without_an_earlier_revision_the_model_is_withdrawn() -> None:
    stage = Stage.with_nodes(12)
    stage.accuracy = BAD
    stage.play(200)
    assert stage.reason == "RolledBack"
    assert "there is no earlier revision: the model is withdrawn" in stage.message
    assert stage.running(V1) == []
    states = [node.report.state for node in stage.nodes.values() if node.report]
    assert states == [ModelState.WITHDRAWN]


@situation(
    "Rollback",
    when="a revision is taken back while nodes still fetch, verify or probe it",
    then="they stop at once and go on serving what they serve; those that wait for a window never switch",
)
def test_nodes_that_still_download_stop() -> None:
    stable, canary = statement("1.0.0"), statement("2.0.0")
    releases = Releases()
    releases.next(stable=stable, canary=everywhere(canary))
    after = orders([releases.next(stable=stable, taken_back=(rejected(canary),))], NODE, {})[KEY]
    serving = new_record(KEY).model_copy(update={"active": stable.revision})
    fetching = serving.model_copy(update={"target": target(canary)})
    assert supersedes(fetching, after)
    assert decide(serving, after) is None


@situation(
    "Rollback",
    when="a node comes back after the rollback with the canary on it",
    then="it goes to the stable revision at once, without fetching it again when it is still on its disk",
)
def test_a_node_that_comes_back_after_the_rollback_goes_back_too() -> None:
    stable, canary = statement("1.0.0"), statement("2.0.0")
    release = Releases().next(stable=stable, taken_back=(rejected(canary),))
    record = new_record(KEY).model_copy(update={"active": canary.revision, "previous": stable.revision})
    assert decide(record, orders([release], NODE, {})[KEY]) is Event.RETURNED


@situation(
    "Rollback",
    when="a gate fails and rollback is Manual",
    then="AwaitingRollback: nothing reaches further and nothing is taken back until edgecanary.dev/abort; failed nodes "
    "and deadlines still take it back",
)
def test_a_manual_rollback_waits_for_a_person() -> None:
    stage = fleet()
    stage.edit(rollout(strategy={"steps": STEPS}, rollback="Manual"))
    stage.model, stage.accuracy = V2, BAD
    stage.play(600)
    assert (stage.reason, len(stage.running(V2))) == ("AwaitingRollback", 1)
    stage.annotate("abort", "yes")
    stage.play(40)
    assert stage.running(V2) == []
    assert stage.status.history[-1].outcome is HistoryOutcome.ABORTED


@situation(
    "Rollback",
    when="a new attempt begins after a Fail",
    then="nothing of the old verdict is left: no failed look, no measurement, no sample of before",
)
def test_a_verdict_never_leaks_into_the_next_attempt() -> None:
    stage = fleet()
    stage.model, stage.accuracy = V2, BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    stage.accuracy = GOOD
    stage.annotate("retry", "again")
    stage.reconcile()
    assert stage.status.analysis is not None
    assert not stage.status.analysis.metrics
    assert stage.status.analysis.step_times == (stage.now,)
    stage.play(60)
    assert [metric.failures for metric in stage.status.analysis.metrics] == [0]
    assert stage.reason == "Baking"


@situation(
    "Rollback",
    when="a Rollout is deleted and applied again, and nodes remember a failed attempt of the same number",
    then="the new rollout begins with an attempt above every one that a node reports: an old failure is not taken for "
    "a new one, and no node refuses",
)
def test_attempts_go_on_where_the_nodes_remember_them() -> None:
    stage = fleet()
    stage.model, stage.failing = V2, set(stage.nodes)
    stage.reconcile()
    stage.answer()
    stage.silent = set(stage.nodes)
    stage.apply_again()
    stage.failing = set()
    stage.reconcile()
    assert stage.reason == "NodesUpdating"
    assert stage.release is not None
    assert stage.release.spec.canary is not None
    assert stage.release.spec.canary.attempt == 2
    stage.silent = set()
    stage.play(7600, tick=200)
    assert stage.reason == "Promoted"


def test_a_node_cannot_make_attempts_grow_without_bound() -> None:
    stage = Stage.with_nodes(3)
    stage.preload(V1, "node-00", attempt=2**62)
    stage.reconcile()
    assert stage.status.attempt == 1


def test_the_stalled_condition_names_why() -> None:
    stage = fleet()
    stage.model, stage.accuracy = V2, BAD
    stage.play(60)
    stalled = find_condition(stage.status.conditions, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.reason == "AnalysisFailed"
    assert stage.release is not None
    assert assign(stage.release.spec, NODE).role is Role.STABLE


NODE = NodeFacts(name="n1", labels={}, architecture="amd64")
