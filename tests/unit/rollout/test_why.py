"""Why a rollout stands where it does: what is read out of a status and the nodes' reports."""

from datetime import UTC, datetime

import pytest

from edgecanary.api.rollout_status import Verdict
from edgecanary.rollout.why import NODES_LISTED, NodeStanding, Standing, explain
from tests.unit.rollout.standing import (
    CANARY,
    STABLE,
    baking,
    condition,
    in_step,
    report,
    rolled_back,
    rollout,
)

CREATED = "2026-01-05T10:50:00Z"


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, 5, hour, minute, tzinfo=UTC)


def test_what_is_waited_for_comes_from_the_status() -> None:
    found = explain(baking())
    assert (found.standing, found.reason) == (Standing.WAITING, "Baking")
    assert found.waiting is not None
    assert found.waiting.until == at(13)
    assert found.waiting.ends_with == "the end of the bake, or edgecanary.dev/promote"


def test_an_older_status_says_by_its_ready_condition_what_is_waited_for() -> None:
    ready = condition("Ready", "Unknown", "AwaitingApproval", "set edgecanary.dev/promote", CREATED)
    found = explain(rollout(in_step(ready))).waiting
    assert found is not None
    assert (found.reason, found.since, found.ends_with) == (
        "AwaitingApproval",
        at(10, 50),
        "edgecanary.dev/promote, or the step's deadline",
    )


@pytest.mark.parametrize(
    ("ready", "standing"),
    [("True", Standing.DONE), ("Unknown", Standing.WAITING), ("False", Standing.STALLED)],
)
def test_the_ready_condition_says_how_it_stands(ready: str, standing: Standing) -> None:
    found = explain(rollout(in_step(condition("Ready", ready, "Reason", "", CREATED))))
    assert found.standing is standing
    assert (found.waiting is None) == (ready == "True")


def test_a_rollout_that_no_operator_has_seen_says_so() -> None:
    found = explain(rollout({}))
    assert (found.standing, found.reason) == (Standing.WAITING, "NotObserved")
    assert "no operator has looked at it yet" in found.message
    assert "serves the namespace plant" in found.message
    assert found.waiting is None


def test_a_spec_that_the_operator_has_not_looked_at_yet_is_told() -> None:
    current = baking()
    edited = current.model_copy(update={"metadata": current.metadata.model_copy(update={"generation": 5})})
    assert explain(current).notes == ()
    assert "generation 5, seen 4" in explain(edited).notes[0]


def test_a_rollout_that_is_being_deleted_is_told() -> None:
    current = baking()
    metadata = current.metadata.model_copy(update={"deletion_timestamp": at(12)})
    assert explain(current.model_copy(update={"metadata": metadata})).notes == (
        "the Rollout is being deleted",
    )


def test_the_step_has_the_end_of_its_bake_and_its_deadline() -> None:
    step = explain(baking()).step
    assert step is not None
    assert (step.bake_since, step.bake_until) == (at(11), at(13))
    assert step.deadline == at(22, 50)


def test_a_promotion_ends_the_bake_and_starts_the_deadline_anew() -> None:
    current = baking()
    assert current.status.step is not None
    approved = current.status.step.model_copy(update={"approved_time": at(11, 30)})
    status = current.status.model_copy(update={"step": approved})
    step = explain(current.model_copy(update={"status": status})).step
    assert step is not None
    assert step.bake_until == at(11, 30)
    assert step.deadline == at(23, 30)


def test_the_step_is_known_by_its_name_when_steps_were_inserted_before_it() -> None:
    current = baking()
    assert current.status.step is not None
    moved = current.status.step.model_copy(update={"index": 1})
    status = current.status.model_copy(update={"step": moved})
    step = explain(current.model_copy(update={"status": status})).step
    assert step is not None
    assert step.approval == "Automatic"


def test_each_gate_has_its_verdict_and_whether_it_decides() -> None:
    gates = explain(rolled_back()).gates
    assert [(gate.metric.name, gate.metric.verdict, gate.decides) for gate in gates] == [
        ("errors", Verdict.FAIL, True),
        ("temperature", Verdict.INCONCLUSIVE, False),
    ]
    assert gates[0].metric.evidence is not None
    assert [node.name for node in gates[0].metric.worst_nodes] == ["edge-07", "edge-31", "edge-88"]


def test_a_gate_that_was_not_measured_is_not_left_out() -> None:
    ready = condition("Ready", "Unknown", "NodesUpdating", "", CREATED)
    gates = explain(rollout(in_step(ready))).gates
    assert [gate.metric.reason for gate in gates] == ["NotMeasured", "NotMeasured"]


def test_a_rejection_is_the_one_that_the_ready_condition_names() -> None:
    current = rolled_back()
    newer = current.status.rejected[1].model_copy(update={"revision": "d" * 64, "time": at(11, 59)})
    status = current.status.model_copy(update={"rejected": (*current.status.rejected, newer)})
    found = explain(current.model_copy(update={"status": status}))
    assert found.standing is Standing.STALLED
    assert found.rejection is not None
    assert (found.rejection.revision, found.rejection.reason) == (CANARY, "AnalysisFailed")


def test_an_old_rejection_explains_nothing_once_another_revision_rolls() -> None:
    current = baking()
    status = current.status.model_copy(update={"rejected": rolled_back().status.rejected})
    assert explain(current.model_copy(update={"status": status})).rejection is None


def test_nodes_that_failed_come_first_in_their_agents_words() -> None:
    reports = {
        "n1": report(desired=CANARY, state="Pending", reason="Download", message="2.4.0 is downloaded"),
        "n2": report(desired=CANARY, state="Pending", result="DownloadFailed", reason="NoSpace"),
        "n3": report(desired=CANARY, state="Reverted", result="ProbeFailed", message="output y differs"),
        "n4": report(desired=CANARY, state="Active", active=CANARY, result="Succeeded"),
        "n5": report(desired=STABLE, state="Active", active=STABLE),
    }
    nodes = explain(baking(), reports).nodes
    assert [(node.name, node.standing) for node in nodes] == [
        ("n3", NodeStanding.FAILED),
        ("n2", NodeStanding.HINDERED),
        ("n1", NodeStanding.UNDER_WAY),
    ]
    assert nodes[0].message == "output y differs"


def test_after_a_rollback_the_nodes_that_rejected_the_revision_are_still_known() -> None:
    reports = {
        "n1": report(desired=STABLE, state="Active", active=STABLE, rejected=[CANARY]),
        "n2": report(desired=STABLE, state="Active", active=STABLE),
    }
    nodes = explain(rolled_back(), reports).nodes
    assert [(node.name, node.standing) for node in nodes] == [("n1", NodeStanding.FAILED)]


def test_stragglers_of_a_promoted_revision_are_named() -> None:
    ready = condition("Ready", "True", "StragglersPending", "", CREATED)
    current = rollout({"conditions": [ready], "stable": {"revision": STABLE, "version": "2.3.0"}})
    reports = {"n1": report(desired=STABLE, state="Pending", result="DownloadFailed")}
    assert [node.name for node in explain(current, reports).nodes] == ["n1"]


def test_an_explanation_of_a_large_fleet_stays_small() -> None:
    reports = {f"n{i:04}": report(desired=CANARY, state="Reverted") for i in range(1000)}
    found = explain(baking(), reports)
    assert len(found.nodes) == NODES_LISTED
    assert found.more_nodes == 1000 - NODES_LISTED


def test_notes_of_the_caller_are_kept() -> None:
    assert explain(baking(), notes=["no EdgeNodes"]).notes == ("no EdgeNodes",)
