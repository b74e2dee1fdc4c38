"""What counts against the revision, and what only against a node, the network or the store."""

import pytest

from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.rollout_status import FailureCounts, HistoryOutcome
from tests.unit.rollout.semantics.field import (
    LONG,
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

DELIVERY = (ModelResult.PRECHECK_FAILED, ModelResult.DOWNLOAD_FAILED, ModelResult.VERIFY_FAILED)
AT_ONCE = strategy(percent_step("all", 100, bake=60), maxFailedNodes=0, quorumPercent=90)


def at_once(count: int = 10, **more: object) -> Field:
    return field_of(count, strategy={**AT_ONCE, **more})


@situation(
    "Failures",
    when="a node cannot take the revision, cannot fetch it, or gets other bytes than declared",
    then="it is pending and tries again: a full disk or a broken proxy is not a bad model. It is counted in "
    "status.nodes.failures and never against maxFailedNodes",
)
@pytest.mark.parametrize("result", DELIVERY)
def test_a_failure_of_delivery_never_takes_a_revision_back(result: ModelResult) -> None:
    stage = at_once()
    stage.troubles = dict.fromkeys(stage.nodes, result)
    stage.rolling(V2, seconds=2000)
    assert stage.reason == "NodesUpdating"
    assert stage.status.rejected == ()
    assert (stage.status.nodes.failed, stage.status.nodes.pending) == (0, 10)
    stage.troubles.clear()
    stage.play(200)
    assert stage.reason == "Promoted"


@situation(
    "Failures",
    when="a node fails the probe or the health soak",
    then="it counts against maxFailedNodes: that many are tolerated, one more takes the revision back from everybody",
)
@pytest.mark.parametrize("result", [ModelResult.PROBE_FAILED, ModelResult.HEALTH_FAILED])
@pytest.mark.parametrize(("failing", "reason"), [(2, "Baking"), (3, "RolledBack")])
def test_failures_of_the_model_count(result: ModelResult, failing: int, reason: str) -> None:
    steps = percent_step("all", 100, bake=LONG)
    stage = field_of(10, strategy=strategy(steps, maxFailedNodes=2, quorumPercent=80))
    names = sorted(stage.nodes)[:failing]
    if result is ModelResult.PROBE_FAILED:
        stage.failing = set(names)
    else:
        stage.troubles = dict.fromkeys(names, result)
    stage.rolling(V2)
    assert stage.reason == reason
    if reason == "RolledBack":
        assert stage.running(V2) == []
        assert f"3 failed, 2 tolerated: node-00, node-01, node-02 ({result}" in stage.message


@situation(
    "Failures",
    when="nodes fail in different ways",
    then="status.nodes.failures counts each way apart",
)
def test_each_failure_is_counted_apart() -> None:
    stage = at_once(12, maxFailedNodes=9, quorumPercent=50)
    stage.failing = {"node-00"}
    stage.troubles = {
        "node-01": ModelResult.HEALTH_FAILED,
        "node-02": ModelResult.HEALTH_FAILED,
        **dict.fromkeys(("node-03", "node-04", "node-05"), ModelResult.PRECHECK_FAILED),
        **dict.fromkeys(("node-06", "node-07"), ModelResult.DOWNLOAD_FAILED),
        "node-08": ModelResult.VERIFY_FAILED,
    }
    stage.rolling(V2)
    assert stage.status.nodes.failures == FailureCounts(precheck=3, download=2, verify=1, probe=1, health=2)
    assert (stage.status.nodes.failed, stage.status.nodes.pending) == (3, 6)


@situation(
    "Failures",
    when="so many nodes cannot get the revision that the step has no quorum",
    then="it waits and says how many of which kind, and what the first one says; the deadline asks a person (Pause) or "
    "takes the revision back (Rollback)",
)
@pytest.mark.parametrize(
    ("on_deadline", "reason"), [("Pause", "DeadlineExceeded"), ("Rollback", "RolledBack")]
)
def test_a_step_that_cannot_be_delivered_waits_and_its_deadline_ends_it(
    on_deadline: str, reason: str
) -> None:
    stage = at_once(stepDeadlineSeconds=300, onDeadline=on_deadline)
    stage.troubles = {
        **dict.fromkeys(("node-01", "node-02", "node-03"), ModelResult.DOWNLOAD_FAILED),
        "node-04": ModelResult.PRECHECK_FAILED,
    }
    stage.rolling(V2, seconds=280)
    assert stage.reason == "NodesUpdating"
    assert "waiting for node-01, node-02, node-03 and 1 more" in stage.message
    assert "1 cannot take it, 3 cannot fetch the files (node-01: NoAnswer: tried again)" in stage.message
    stage.play(60)
    assert stage.reason == reason
    if reason == "RolledBack":
        assert stage.status.rejected[0].reason == "DeadlineExceeded"


@situation(
    "Failures",
    when="a node that could not get the revision goes offline",
    then="it is still counted in status.nodes.failures, and not waited for",
)
def test_a_node_that_failed_to_fetch_and_went_offline_is_not_waited_for() -> None:
    stage = at_once(4)
    stage.troubles = {"node-01": ModelResult.DOWNLOAD_FAILED}
    stage.rolling(V2)
    assert stage.reason == "NodesUpdating"
    stage.set_online("node-01", online=False)
    stage.play(40)
    assert stage.reason == "Baking"
    assert stage.status.nodes.failures.download == 1


@situation(
    "Failures",
    when="a node of an earlier step succeeds, and fails while a later step is under way",
    then="it counts as a failed node of the canary, as in its own step",
)
def test_success_and_then_failure_in_a_later_step_counts() -> None:
    stage = field_of(
        12,
        strategy=strategy(
            nodes_step("first", 1, bake=60), percent_step("half", 50, bake=LONG), percent_step("all", 100)
        ),
    )
    stage.rolling(V2)
    first = stage.covered()[0]
    assert stage.active(first) == revision(V2)
    stage.play(100)
    assert (stage.step(), stage.reason) == ("half", "Baking")
    stage.troubles = {first: ModelResult.HEALTH_FAILED}
    stage.play(40)
    assert stage.reason == "RolledBack"
    assert f"1 failed, 0 tolerated: {first} (HealthFailed" in stage.message


@situation(
    "Failures",
    when="a failed node goes offline",
    then="its failure counts all the same: it said what it saw",
)
def test_a_failure_counts_when_its_node_goes_offline() -> None:
    stage = at_once(10, maxFailedNodes=1, quorumPercent=50)
    stage.failing = {"node-00"}
    stage.rolling(V2)
    stage.set_online("node-00", online=False)
    stage.failing = {"node-00", "node-01"}
    stage.play(40)
    assert stage.reason == "RolledBack"
    assert "2 failed, 1 tolerated: node-00, node-01" in stage.message


@situation(
    "Failures",
    when="a node went back and does not say why, or gives a reason that this operator does not know",
    then="it counts as failed: doubt is never a pass",
)
@pytest.mark.parametrize("result", [ModelResult.NONE, ModelResult.SUCCEEDED])
def test_a_node_that_went_back_without_a_reason_counts_as_failed(result: ModelResult) -> None:
    stage = at_once().rolling(V2)
    stage.silent = set(stage.nodes)
    stage.report("node-03", state=ModelState.REVERTED, result=result)
    stage.reconcile()
    assert stage.reason == "RolledBack"


@situation(
    "Failures",
    when="a revision is tried again after nodes failed it",
    then="what they said of the earlier attempt says nothing of this one",
)
def test_failures_of_an_earlier_attempt_do_not_count() -> None:
    stage = at_once()
    stage.failing = {"node-03"}
    stage.rolling(V2)
    assert stage.reason == "RolledBack"
    stage.failing.clear()
    stage.silent = {"node-03"}
    failed = {"state": ModelState.REVERTED, "result": ModelResult.PROBE_FAILED, "attempt": 1}
    stage.report("node-03", desired=revision(V2), **failed)
    stage.annotate("retry", "again")
    stage.play(40)
    assert stage.status.attempt == 2
    assert (stage.status.nodes.failed, stage.status.nodes.failures.probe) == (0, 0)
    assert stage.reason == "Baking"


@situation(
    "Failures",
    when="a node fails a revision after its promotion",
    then="it is a straggler, counted as failed and named; the revision stays, since it is the stable one",
)
def test_a_failure_after_the_promotion_takes_nothing_back() -> None:
    stage = at_once().rolling(V2, seconds=200)
    assert stage.reason == "Promoted"
    stage.silent = {"node-03"}
    stage.report("node-03", state=ModelState.REVERTED, result=ModelResult.HEALTH_FAILED, active=None)
    stage.play(40)
    assert stage.reason == "StragglersPending"
    assert "to follow: node-03" in stage.message
    assert stage.status.nodes.failures.health == 1
    assert stage.status.history[-1].outcome is HistoryOutcome.PROMOTED


@situation(
    "Failures",
    when="a straggler cannot take or fetch the stable revision",
    then="the revision stays stable; the status says how many nodes cannot, and what the first one says",
)
def test_what_keeps_stragglers_is_told() -> None:
    stage = at_once()
    stage.set_online("node-03", online=False)
    stage.rolling(V2, seconds=200)
    stage.silent = {"node-03"}
    stage.set_online("node-03", online=True)
    stage.report(
        "node-03",
        desired=revision(V2),
        state=ModelState.PENDING,
        result=ModelResult.DOWNLOAD_FAILED,
        message="no route to host",
    )
    stage.play(40)
    assert stage.reason == "StragglersPending"
    assert "to follow: node-03; 1 cannot fetch the files (node-03: " in stage.message
    assert "no route to host" in stage.message


@situation(
    "Failures",
    when="a node reports trouble with another revision than the canary",
    then="it says nothing of the canary: the node is pending",
)
def test_trouble_with_another_revision_is_not_the_canarys() -> None:
    stage = at_once()
    stage.failing = {"node-03"}
    stage.rolling(V2)
    stage.silent = {"node-03"}
    stage.failing.clear()
    stage.report("node-03", state=ModelState.REVERTED, result=ModelResult.PROBE_FAILED, desired=revision(V2))
    stage.rolling(V3)
    assert (stage.status.nodes.failed, stage.status.nodes.pending) == (0, 1)
