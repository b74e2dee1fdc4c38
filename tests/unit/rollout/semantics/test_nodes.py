"""Nodes join, leave, are replaced, change labels, go offline and come back."""

from dataclasses import replace

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_NODES, NODES
from edgecanary.controller.cache import Cache, Scope
from edgecanary.controller.views import ObjectKey, read_node
from tests.unit.controller import objects
from tests.unit.rollout.fleet_play import BAD, GOOD
from tests.unit.rollout.semantics.field import (
    LONG,
    V1,
    V2,
    V3,
    Field,
    field_of,
    nodes_step,
    percent_step,
    revision,
    strategy,
)
from tests.unit.rollout.semantics.situation import situation

QUARTER = strategy(percent_step("quarter", 25, bake=LONG), percent_step("all", 100))
ONE = strategy(nodes_step("first", 1, bake=LONG), percent_step("all", 100))
AT_ONCE = strategy(percent_step("all", 100))


def newcomers(stage: Field, *, below: bool) -> list[str]:
    """Names that nobody has, whose rank lies below (or not below) the canary's bound."""
    assert stage.release is not None
    canary = stage.release.spec.canary
    assert canary is not None
    bound = int(canary.cutoffs[0].below, 16)
    return [name for i in range(200) if (stage.rank(name := f"late-{i:03}") < bound) is below]


@situation(
    "Nodes",
    when="a node joins during a step and its place in the order is within the step's reach",
    then="it takes the canary at once and counts; nobody gives a place up for it, and the bounds stay as they are",
)
def test_a_late_node_takes_the_place_of_its_rank() -> None:
    stage = field_of(40, strategy=QUARTER).rolling(V2)
    before, release = set(stage.covered()), stage.release
    late = newcomers(stage, below=True)[0]
    stage.join(late)
    stage.play(60)
    assert set(stage.covered()) == before | {late}
    assert stage.active(late) == revision(V2)
    assert stage.release == release


@situation(
    "Nodes",
    when="a node joins during a step and its place is beyond the step's reach",
    then="it takes the stable revision, and the canary with the step that reaches it",
)
def test_a_late_node_beyond_the_step_waits_for_its_step() -> None:
    stage = field_of(40, strategy=QUARTER).rolling(V2)
    late = newcomers(stage, below=False)[0]
    stage.join(late)
    stage.play(60)
    assert stage.ran[late] == [revision(V1)]
    stage.annotate("promote", "go")
    stage.play(60)
    assert stage.ran[late] == [revision(V1), revision(V2)]


@situation(
    "Nodes",
    when="a node joins that has no agent yet",
    then="it is pending: online and unheard, it holds the quorum until it reports or the deadline passes",
)
def test_a_node_that_was_never_heard_is_pending() -> None:
    stage = field_of(4, strategy=strategy(percent_step("all", 100, bake=60), quorumPercent=90)).rolling(V2)
    stage.join("late")
    stage.silent.add("late")
    stage.play(200)
    assert (stage.reason, stage.status.nodes.pending) == ("NodesUpdating", 1)
    assert "waiting for late" in stage.message
    stage.silent.clear()
    stage.play(200)
    assert stage.reason == "Promoted"


@situation(
    "Nodes",
    when="a node joins after the promotion, or after a rollback",
    then="it takes the stable revision at once, without a step, and never the rejected one",
)
@pytest.mark.parametrize(("gates", "stable"), [(GOOD, V2), (BAD, V1)])
def test_a_node_that_joins_later_takes_what_is_stable(gates: object, stable: object) -> None:
    stage = field_of(6, strategy=AT_ONCE)
    stage.accuracy = BAD if gates is BAD else GOOD
    stage.rolling(V2, seconds=200)
    assert stage.reason == ("RolledBack" if gates is BAD else "Promoted")
    stage.join("late")
    stage.play(60)
    assert stage.ran["late"] == [revision(V1 if stable is V1 else V2)]


@situation(
    "Nodes",
    when="a node of the step leaves the cluster",
    then="it is not counted any more, neither its success nor its failure; the next node in the order takes its place "
    "where the step would cover fewer than its share",
)
def test_the_next_node_takes_the_place_of_one_that_leaves() -> None:
    stage = field_of(12, strategy=ONE).rolling(V2)
    first, second, *_ = stage.in_order()
    assert stage.covered() == [first]
    stage.leave(first)
    stage.play(60)
    assert stage.covered() == [second]
    assert stage.active(second) == revision(V2)


@situation(
    "Nodes",
    when="a node that had left comes back after another took its place",
    then="both keep the canary, and nobody else is drawn in, however often it goes and comes",
)
def test_a_node_that_comes_and_goes_does_not_widen_the_step_further() -> None:
    stage = field_of(12, strategy=ONE).rolling(V2)
    first, second, *_ = stage.in_order()
    for _ in range(5):
        gone = stage.leave(first)
        stage.play(40)
        stage.nodes[first] = gone
        stage.play(40)
    assert sorted(stage.covered()) == sorted([first, second])


def seen_by_the_operator(*bodies: tuple[str, object]) -> Cache:
    cache = Cache(Scope("edgecanary-system"))
    parts = {"node": NODES, "agent": EDGE_NODES}
    for kind, body in bodies:
        part = next(part for part in cache.parts if part.resource == parts[kind])
        assert isinstance(body, dict)
        part.observe("MODIFIED", body)
    return cache


@situation(
    "Nodes",
    when="a node is replaced by another machine of the same name",
    then="the report of the old one does not count: the new one has its place in the order, is pending, and proves the "
    "canary anew. A report counts when its nodeUID is the Node's; agents of earlier versions name none and count",
)
def test_a_report_of_the_machine_before_does_not_count() -> None:
    told = objects.edge_node("node-00", 2, models=[objects.report()], node_uid="old")
    before = seen_by_the_operator(("node", objects.node("node-00", 1, uid="old")), ("agent", told))
    after = seen_by_the_operator(("node", objects.node("node-00", 3, uid="new")), ("agent", told))
    key = ObjectKey("plant", "pump")
    assert before.fleet(key)[0].report is not None
    assert after.fleet(key)[0].report is None

    stage = field_of(12, strategy=ONE).rolling(V2)
    first = stage.in_order()[0]
    stage.forget_report(first)
    stage.silent.add(first)
    stage.reconcile()
    assert stage.covered() == [first]
    assert (stage.status.nodes.updated, stage.status.nodes.pending) == (0, 1)
    assert stage.reason == "NodesUpdating"


BY_HARDWARE = strategy(percent_step("half", 50, bake=LONG), percent_step("all", 100), stratifyBy=["hardware"])


def two_classes() -> Field:
    """Two strata of 13 nodes; by chance the canary reaches further into one of them."""
    labels = {f"{kind}-{i}": {"hardware": kind} for kind in ("neon", "vnni") for i in range(13)}
    return field_of(labels, strategy=BY_HARDWARE).rolling(V2)


def bound_of(stage: Field, kind: str) -> int:
    assert stage.release is not None
    canary = stage.release.spec.canary
    assert canary is not None
    return next(int(entry.below, 16) for entry in canary.cutoffs if entry.stratum == (kind,))


@situation(
    "Nodes",
    when="a node's labels change and put it into another stratum",
    then="it takes the place of its rank there: the canary where that lies within reach, else the stable revision. "
    "No bound is raised while the step's share of the whole fleet is met, so nobody else moves",
)
def test_a_node_that_changes_its_stratum_takes_the_place_of_its_rank_there() -> None:
    stage = two_classes()
    wide, narrow = sorted(("neon", "vnni"), key=lambda kind: -bound_of(stage, kind))
    gap = range(bound_of(stage, narrow), bound_of(stage, wide))
    mover = max((name for i in range(2000) if stage.rank(name := f"mover-{i}") in gap), key=stage.rank)
    stage.join(mover, {"hardware": narrow})
    stage.play(40)
    before = set(stage.covered())
    assert mover not in before
    bounds = bound_of(stage, wide), bound_of(stage, narrow)
    stage.relabel(mover, {"hardware": wide})
    stage.play(40)
    assert stage.active(mover) == revision(V2)
    assert set(stage.covered()) == before | {mover}
    stage.relabel(mover, {"hardware": narrow})
    stage.play(40)
    assert stage.active(mover) == revision(V1)
    assert set(stage.covered()) == before
    assert (bound_of(stage, wide), bound_of(stage, narrow)) == bounds


@situation(
    "Nodes",
    when="a node's labels change so that the selector does not match it any more",
    then="it keeps what it runs and is not counted",
)
def test_a_node_that_leaves_the_selector_keeps_what_it_runs() -> None:
    labels = {f"node-{i:02}": {"edge": "true"} for i in range(8)}
    stage = field_of(labels, strategy=QUARTER, nodeSelector={"matchLabels": {"edge": "true"}}).rolling(V2)
    canary = stage.covered()[0]
    stage.relabel(canary, {"edge": "false"})
    stage.play(60)
    assert stage.active(canary) == revision(V2)
    assert stage.status.nodes.targeted == 7


@situation(
    "Nodes",
    when="a node is cordoned",
    then="nothing: cordoning keeps new pods away, and the agent runs already. A node that is drained and shut down "
    "goes offline, and that counts",
)
def test_a_cordoned_node_counts_like_any_other() -> None:
    body = objects.node("node-00", 1, labels={"edge": "true"})
    taint: JsonObject = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    cordoned: JsonObject = {**body, "spec": {"unschedulable": True, "taints": [taint]}}
    assert read_node(cordoned) == read_node(body)


@situation(
    "Nodes",
    when="a node is offline when its step begins",
    then="it is not waited for as long as others of the step make the quorum, and follows when it is back",
)
def test_a_node_that_is_offline_before_its_step_follows() -> None:
    stage = field_of(12, strategy=strategy(percent_step("half", 50, bake=60), percent_step("all", 100)))
    stage.set_online("node-03", online=False)
    stage.rolling(V2, seconds=400)
    assert stage.reason == "StragglersPending"
    assert "to follow: node-03" in stage.message
    stage.set_online("node-03", online=True)
    stage.play(60)
    assert (stage.reason, stage.active("node-03")) == ("Promoted", revision(V2))


@situation(
    "Nodes",
    when="a node goes offline while it downloads the canary",
    then="it neither holds nor passes the step; back online it is pending again and goes on",
)
def test_a_node_that_goes_offline_during_its_step_is_not_waited_for() -> None:
    stage = field_of(12, strategy=strategy(percent_step("half", 50, bake=60), percent_step("all", 100)))
    stage.silent.add("node-03")
    stage.model = V2
    stage.reconcile()
    slow = stage.in_order()[0]
    stage.silent = {slow}
    stage.play(100)
    assert (stage.status.nodes.pending, stage.reason) == (1, "NodesUpdating")
    stage.set_online(slow, online=False)
    stage.play(40)
    assert (stage.status.nodes.pending, stage.reason) == (0, "Baking")
    stage.silent.clear()
    stage.set_online(slow, online=True)
    stage.play(40)
    assert stage.active(slow) == revision(V2)


@situation(
    "Nodes",
    when="a node reports success and goes offline afterwards",
    then="it is unknown: it counts neither for nor against the quorum. A bake whose updated nodes are all silent does "
    "not pass",
)
def test_success_and_then_silence_is_no_success() -> None:
    stage = field_of(12, strategy=strategy(nodes_step("two", 2, bake=100), percent_step("all", 100))).rolling(
        V2
    )
    first, second, *_ = stage.in_order()
    assert stage.reason == "Baking"
    stage.set_online(first, online=False)
    stage.play(20)
    assert stage.reason == "Baking", "the other one is the quorum"
    stage.set_online(second, online=False)
    stage.play(400)
    assert (stage.step(), stage.reason) == ("two", "NodesOffline")
    stage.set_online(second, online=True)
    stage.play(60)
    assert stage.reason == "Promoted"


@situation(
    "Nodes",
    when="a node was offline through a promotion, a rollback, or two further revisions",
    then="it goes straight to what the release says now, never by way of the revisions in between",
)
@pytest.mark.parametrize(
    ("meanwhile", "now_stable"),
    [
        pytest.param([(V2, GOOD)], V2, id="a promotion"),
        pytest.param([(V2, BAD)], V1, id="a rollback"),
        pytest.param([(V2, GOOD), (V3, GOOD)], V3, id="two revisions"),
        pytest.param([(V2, GOOD), (V3, BAD)], V2, id="a promotion and a rollback"),
    ],
)
def test_a_node_that_was_away_goes_straight_to_what_is_wanted_now(
    meanwhile: list[tuple[object, object]], now_stable: object
) -> None:
    stage = field_of(12, strategy=strategy(nodes_step("first", 1, bake=60), percent_step("all", 100)))
    stage.set_online("node-05", online=False)
    for wanted, gates in meanwhile:
        stage.accuracy = BAD if gates is BAD else GOOD
        stage.rolling(V2 if wanted is V2 else V3, seconds=400)
    assert stage.ran["node-05"] == [revision(V1)]
    stage.set_online("node-05", online=True)
    stage.play(60)
    straight = {V1.status.revision: [V1], V2.status.revision: [V1, V2], V3.status.revision: [V1, V3]}
    wanted_now = next(model for model in (V1, V2, V3) if model is now_stable)
    assert stage.ran["node-05"] == [revision(found) for found in straight[wanted_now.status.revision]]


@situation(
    "Nodes",
    when="a node of the canary goes offline and the canary is rolled back meanwhile",
    then="it goes back by itself when it hears the release; until then it is a straggler and named",
)
def test_a_canary_node_that_misses_the_rollback_goes_back_when_it_is_back() -> None:
    stage = field_of(6, strategy=strategy(nodes_step("two", 2, bake=LONG), percent_step("all", 100))).rolling(
        V2
    )
    away = stage.covered()[0]
    stage.set_online(away, online=False)
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == [away]
    stage.nodes[away] = replace(stage.nodes[away], online=True)
    stage.play(40)
    assert stage.running(V2) == []
