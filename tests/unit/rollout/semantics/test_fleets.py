"""Small fleets, small strata, shares that round to nothing, quorum."""

import pytest

from tests.unit.rollout.semantics.field import (
    LONG,
    V2,
    Field,
    declared,
    field_of,
    nodes_step,
    percent_step,
    revision,
    strategy,
)
from tests.unit.rollout.semantics.situation import situation

THREE = strategy(
    nodes_step("first", 1, bake=60), percent_step("quarter", 25, bake=60), percent_step("all", 100)
)


def each_its_own(count: int, *steps: dict[str, object]) -> Field:
    """A fleet in which every node is a stratum."""
    labels = {f"node-{i:02}": {"site": f"s{i:02}"} for i in range(count)}
    return field_of(labels, strategy=strategy(*steps, stratifyBy=["site"]))


@situation(
    "Fleets",
    when="the fleet has one node",
    then="every step covers it; it switches once, and each step bakes and is judged all the same",
)
def test_a_fleet_of_one_goes_through_every_step() -> None:
    stage = field_of(1, strategy=THREE).rolling(V2, seconds=600)
    assert stage.log == ["Baking 1/3 first 1/1", "Baking 2/3 quarter 1/1", "Promoted - 1/1"]
    assert len(stage.ran["node-00"]) == 2


@situation(
    "Fleets",
    when="the fleet has two nodes",
    then="one takes the canary first, and the other one with the first step that covers more than one",
)
def test_a_fleet_of_two_is_taken_one_by_one() -> None:
    stage = field_of(2, strategy=THREE).rolling(V2, seconds=600)
    assert stage.log == ["Baking 1/3 first 1/2", "Baking 2/3 quarter 1/2", "Promoted - 2/2"]


@situation(
    "Fleets",
    when="a percentage of the fleet rounds to no node",
    then="one node takes the canary: no step is empty while the fleet has a node",
)
def test_a_percentage_that_rounds_to_nothing_is_one_node() -> None:
    stage = field_of(
        12, strategy=strategy(percent_step("tiny", 1, bake=LONG), percent_step("all", 100))
    ).rolling(V2)
    assert len(stage.covered()) == 1


@situation(
    "Fleets",
    when="strata have one node each",
    then="a step in percent covers them all at once, since it covers one node of each stratum; a step in nodes covers "
    "just so many, so begin with one. The forecast warns of it",
)
def test_strata_of_one_node_are_all_covered_by_any_percentage() -> None:
    stage = each_its_own(
        6, nodes_step("two", 2, bake=LONG), percent_step("tenth", 10, bake=LONG), percent_step("all", 100)
    )
    stage.rolling(V2)
    assert len(stage.covered()) == 2
    stage.annotate("promote", "go")
    stage.play(60)
    assert (stage.step(), len(stage.covered())) == ("tenth", 6)


@situation(
    "Fleets",
    when="a stratum has more of the canary than its part, because nodes came into it",
    then="other strata get less, at least one node each in a step in percent: the share is of the whole fleet",
)
def test_the_share_is_of_the_whole_fleet() -> None:
    labels = {f"{kind}-{i:02}": {"hardware": kind} for kind in ("neon", "vnni") for i in range(20)}
    steps = (
        percent_step("tenth", 10, bake=LONG),
        percent_step("fifth", 20, bake=LONG),
        percent_step("all", 100),
    )
    stage = field_of(labels, strategy=strategy(*steps, stratifyBy=["hardware"])).rolling(V2)
    assert len(stage.covered()) == 4
    assert stage.release is not None
    canary = stage.release.spec.canary
    assert canary is not None
    below = next(int(entry.below, 16) for entry in canary.cutoffs if entry.stratum == ("neon",))
    late = [name for i in range(1000) if stage.rank(name := f"late-{i}") < below][:5]
    for name in late:
        stage.join(name, {"hardware": "neon"})
    stage.play(40)
    assert len(stage.covered()) == 9
    stage.annotate("promote", "go")
    stage.play(60)
    assert stage.step() == "fifth"
    assert len(stage.covered()) == 9, "a fifth of 45 nodes"


@situation(
    "Fleets",
    when="no node is there that the rollout is for",
    then="it waits and names the selector; nothing is promoted on nobody",
)
def test_an_empty_fleet_waits_for_its_first_node() -> None:
    stage = field_of(3, strategy=THREE)
    gone = [stage.leave(name) for name in list(stage.nodes)]
    stage.rolling(V2, seconds=2000)
    assert (stage.reason, stage.step()) == ("NoMatchingNodes", "first")
    stage.nodes[gone[0].facts.name] = gone[0]
    stage.play(600)
    assert stage.reason == "Promoted"


@situation(
    "Fleets",
    when="all nodes leave while the canary bakes",
    then="the step does not pass: a quorum needs a node",
)
def test_a_step_that_lost_all_its_nodes_does_not_pass() -> None:
    stage = field_of(3, strategy=THREE).rolling(V2)
    assert stage.reason == "Baking"
    stage.nodes.clear()
    stage.play(2000)
    assert (stage.reason, stage.step()) == ("NoMatchingNodes", "first")


@situation(
    "Fleets",
    when="all nodes of a step are offline",
    then="it waits, and at the deadline a person is asked (Pause) or the canary is taken back (Rollback); it never "
    "passes with nobody",
)
@pytest.mark.parametrize(
    ("on_deadline", "reason"), [("Pause", "DeadlineExceeded"), ("Rollback", "RolledBack")]
)
def test_a_step_without_an_online_node_waits_until_its_deadline(on_deadline: str, reason: str) -> None:
    stage = field_of(4, strategy={**THREE, "stepDeadlineSeconds": 300, "onDeadline": on_deadline})
    for name in stage.nodes:
        stage.set_online(name, online=False)
    stage.rolling(V2, seconds=280)
    assert stage.reason == "NodesOffline"
    assert "all 1 nodes of the step are offline: node-" in stage.message
    stage.play(100)
    assert stage.reason == reason
    assert stage.running(V2) == []


@situation(
    "Fleets",
    when="nodes of a step are slow, and quorumPercent of those online have the canary",
    then="the bake begins; the slow ones are pending and go on. Offline nodes are no part of the quorum",
)
def test_the_quorum_is_of_the_nodes_that_are_online() -> None:
    stage = field_of(10, strategy=strategy(percent_step("all", 100, bake=LONG), quorumPercent=80))
    stage.silent = {"node-00", "node-01", "node-02"}
    stage.rolling(V2, seconds=60)
    assert (stage.reason, stage.status.nodes.pending) == ("NodesUpdating", 3)
    stage.set_online("node-00", online=False)
    stage.play(20)
    assert stage.reason == "NodesUpdating", "7 of 9"
    stage.set_online("node-01", online=False)
    stage.play(20)
    assert stage.reason == "Baking", "7 of 8"


@situation(
    "Fleets",
    when="quorumPercent is so low that it rounds to no node",
    then="one online node with the canary is still needed",
)
def test_a_quorum_needs_a_node_whatever_its_percentage() -> None:
    stage = field_of(10, strategy=strategy(percent_step("all", 100, bake=60), quorumPercent=1))
    stage.silent = set(stage.nodes)
    stage.rolling(V2, seconds=600)
    assert stage.reason == "NodesUpdating"
    stage.silent.remove("node-04")
    stage.play(40)
    assert stage.reason == "Baking"
    assert stage.active("node-04") == revision(V2)


@situation(
    "Fleets",
    when="nodes that no variant fits are among those that the selector matches",
    then="they are counted as incompatible, shown, and no part of any share",
)
def test_nodes_that_no_variant_fits_are_no_part_of_a_share() -> None:
    stage = field_of(8, strategy=strategy(percent_step("half", 50, bake=LONG), percent_step("all", 100)))
    assert V2.spec.variants[0].requires is None
    picky = V2.spec.variants[0].model_validate(
        {**V2.spec.variants[0].to_json(), "requires": {"architectures": ["arm64"]}}
    )
    for name in ("node-00", "node-01"):
        stage.rebuild(name, architecture="arm64")
    stage.rolling(declared("4.0.0", picky))
    assert (stage.status.nodes.targeted, stage.status.nodes.incompatible) == (2, 6)
    assert len(stage.covered()) == 1
