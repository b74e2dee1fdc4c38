"""Nodes that run the planned revision already: what a plan foresees of them."""

from dataclasses import replace

import pytest

from edgecanary.api.edgenode import ModelState, NodeModelStatus
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RevisionReference, RolloutStatus
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.forecasting import NOW, STATEMENT, declared, look, nodes, warned, warning


def running(fleet: tuple[NodeView, ...], number: int, **changes: object) -> tuple[NodeView, ...]:
    """The fleet, whose first nodes say that they run the planned revision."""
    said = {
        "active": STATEMENT.revision,
        "desired": STATEMENT.revision,
        "state": ModelState.ACTIVE,
        **changes,
    }
    report = NodeModelStatus.model_validate({"namespace": "plant", "name": "pump", **said})
    return tuple(replace(node, report=report) if place < number else node for place, node in enumerate(fleet))


def known(stable: str | None = None, canary: str | None = None) -> Rollout:
    """A Rollout that has these revisions already."""
    status = RolloutStatus(
        stable=RevisionReference(revision=stable, version="1.0.0") if stable else None,
        canary=RevisionReference(revision=canary, version="2.0.0") if canary else None,
    )
    return declared().model_copy(update={"status": status})


def test_a_fleet_that_runs_the_revision_is_adopted_at_once() -> None:
    found = look(declared(), running(nodes(10), 9))
    assert (found.steps, found.finish, found.adopted) == ((), NOW, 9)
    text = warning(found, "AdoptedAtOnce")
    assert text.startswith("spec.modelRef: 2.0.0 (")
    assert "runs on 9 of 10 online nodes already: it is stable as soon as the Rollout exists" in text
    assert "RunsAlready" not in warned(found)


def test_nodes_below_the_quorum_are_told_and_counted_in_their_steps() -> None:
    found = look(declared(), running(nodes(10), 8))
    assert found.adopted == 8
    assert [step.nodes for step in found.steps] == [1, 3, 10]
    assert sum(step.adopted for step in found.steps) == 8
    assert all(0 <= step.adopted <= step.added for step in found.steps)
    text = warning(found, "RunsAlready")
    assert "8 nodes run 2.0.0 already, fewer than the 90 % of those online that would make it stable" in text
    assert "those of later steps keep it (hw0-000, hw0-001, hw0-002, hw0-003, hw0-004 and 3 more)" in text


def test_a_lower_quorum_adopts_sooner() -> None:
    found = look(declared(strategy={"quorumPercent": 80}), running(nodes(10), 8))
    assert found.steps == ()


def test_offline_nodes_count_neither_for_nor_against_adoption() -> None:
    fleet = running(nodes(10), 5)
    off = tuple(replace(node, online=place < 5) for place, node in enumerate(fleet))
    assert warned(look(declared(), off)) == ["AdoptedAtOnce", "NodesOffline"]
    nobody = tuple(replace(node, online=False) for node in running(nodes(10), 10))
    assert "AdoptedAtOnce" not in warned(look(declared(), nobody))


def test_with_a_stable_revision_nodes_of_later_steps_go_back_to_it() -> None:
    found = look(known(stable="1" * 64), running(nodes(10), 10))
    assert [step.nodes for step in found.steps] == [1, 3, 10]
    text = warning(found, "RunsAlready")
    assert text == (
        "spec.modelRef: 10 nodes run 2.0.0 already: they count as updated in their step; those of later steps go "
        "back to the stable revision until then (hw0-000, hw0-001, hw0-002, hw0-003, hw0-004 and 5 more)"
    )


def test_one_node_that_runs_it_is_told_as_one() -> None:
    assert "1 node runs 2.0.0 already" in warning(look(declared(), running(nodes(10), 1)), "RunsAlready")


def test_a_rollout_under_way_is_not_said_to_adopt_its_own_canary() -> None:
    found = look(known(stable="1" * 64, canary=STATEMENT.revision), running(nodes(10), 10))
    assert warned(found) == ["AlreadyUnderWay"]


def test_the_stable_revision_is_not_said_to_run_already() -> None:
    assert warned(look(known(stable=STATEMENT.revision), running(nodes(10), 10))) == ["AlreadyStable"]


def test_a_revision_that_was_taken_back_is_not_adopted() -> None:
    rejected = [
        {"revision": STATEMENT.revision, "version": "2.0.0", "time": NOW, "reason": "Aborted", "attempt": 1}
    ]
    rollout = declared().model_copy(update={"status": RolloutStatus.model_validate({"rejected": rejected})})
    assert "AdoptedAtOnce" not in warned(look(rollout, running(nodes(10), 10)))


@pytest.mark.parametrize(
    "changes", [{"active": "1" * 64}, {"desired": "1" * 64}, {"state": ModelState.PENDING}]
)
def test_a_node_that_does_not_run_it_for_good_is_not_counted(changes: dict[str, object]) -> None:
    found = look(declared(), running(nodes(10), 10, **changes))
    assert (found.adopted, warned(found)) == (0, [])
