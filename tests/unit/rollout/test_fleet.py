"""The fleet in numbers and words, up to fleets that are very large."""

import json
from dataclasses import replace

import pytest

from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.api.rollout_status import FailureCounts, NodeCounts, RolloutStatus
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.fleet import Failure, Progress, count, failure, names, progress, targets, view_nodes
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import Stage, model, rollout

WANTED, OTHER = "a" * 64, "b" * 64
DELIVERY = {
    ModelResult.PRECHECK_FAILED: Failure.PRECHECK,
    ModelResult.DOWNLOAD_FAILED: Failure.DOWNLOAD,
    ModelResult.VERIFY_FAILED: Failure.VERIFY,
}


def report(
    state: ModelState,
    result: ModelResult = ModelResult.NONE,
    *,
    active: str | None = OTHER,
    desired: str = WANTED,
    attempt: int = 1,
) -> NodeModelStatus:
    return NodeModelStatus(
        namespace="plant",
        name="pump",
        state=state,
        result=result,
        active=active,
        desired=desired,
        attempt=attempt,
        message="why",
    )


def node(name: str, told: NodeModelStatus | None, *, online: bool = True) -> NodeView:
    return NodeView(NodeFacts(name), online=online, report=told)


ACTIVE = report(ModelState.ACTIVE, ModelResult.SUCCEEDED, active=WANTED)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(None, Progress.PENDING, id="never heard"),
        pytest.param(ACTIVE, Progress.UPDATED, id="active"),
        pytest.param(ACTIVE.model_copy(update={"attempt": 7}), Progress.UPDATED, id="of another attempt"),
        pytest.param(
            ACTIVE.model_copy(update={"active": OTHER}), Progress.PENDING, id="another one is active"
        ),
        pytest.param(ACTIVE.model_copy(update={"desired": OTHER}), Progress.PENDING, id="asked for another"),
        pytest.param(report(ModelState.PENDING, active=WANTED), Progress.PENDING, id="on trial"),
        pytest.param(report(ModelState.REVERTED, ModelResult.PROBE_FAILED), Progress.FAILED, id="probe"),
        pytest.param(report(ModelState.REVERTED, ModelResult.HEALTH_FAILED), Progress.FAILED, id="health"),
        pytest.param(report(ModelState.REVERTED), Progress.FAILED, id="went back without a reason"),
        pytest.param(
            report(ModelState.FAILING, ModelResult.HEALTH_FAILED), Progress.FAILED, id="nothing better"
        ),
        pytest.param(report(ModelState.PENDING, ModelResult.NONE), Progress.PENDING, id="held by the device"),
        pytest.param(report(ModelState.REVERTED, attempt=2), Progress.PENDING, id="failed another attempt"),
        pytest.param(report(ModelState.REVERTED, desired=OTHER), Progress.PENDING, id="failed another one"),
        pytest.param(
            report(ModelState.PENDING, ModelResult.PROBE_FAILED), Progress.PENDING, id="not back yet"
        ),
        pytest.param(report(ModelState.WITHDRAWN), Progress.PENDING, id="withdrawn"),
        *(
            pytest.param(report(state, result), Progress.PENDING, id=f"{result} while {state}")
            for result in DELIVERY
            for state in (ModelState.PENDING, ModelState.REVERTED)
        ),
    ],
)
def test_how_far_a_node_is(told: NodeModelStatus | None, expected: Progress) -> None:
    assert progress(told, WANTED, 1) is expected


@pytest.mark.parametrize("result", ModelResult)
@pytest.mark.parametrize("state", [ModelState.PENDING, ModelState.REVERTED, ModelState.ACTIVE])
def test_what_a_node_failed_in(state: ModelState, result: ModelResult) -> None:
    found = failure(report(state, result), WANTED, 1)
    if state is ModelState.ACTIVE:
        assert found is None
    elif result in DELIVERY:
        assert found is DELIVERY[result]
    elif state is ModelState.PENDING:
        assert found is None
    else:
        assert found is (Failure.PROBE if result is ModelResult.PROBE_FAILED else Failure.HEALTH)


def test_any_attempt_counts_where_nothing_is_rolling() -> None:
    told = report(ModelState.REVERTED, ModelResult.PROBE_FAILED, attempt=5)
    assert failure(told, WANTED, None) is Failure.PROBE
    assert failure(told, WANTED, 4) is None


def test_each_node_is_updated_failed_or_missing() -> None:
    nodes = (
        node("a", ACTIVE),
        node("b", ACTIVE, online=False),
        node("c", report(ModelState.REVERTED, ModelResult.PROBE_FAILED), online=False),
        node("d", report(ModelState.PENDING, ModelResult.DOWNLOAD_FAILED)),
        node("e", report(ModelState.PENDING, ModelResult.VERIFY_FAILED), online=False),
        node("f", None),
        node("g", None, online=False),
    )
    view = view_nodes(nodes, WANTED, 1)
    found = {
        kind: "".join(n.facts.name for n in getattr(view, kind))
        for kind in ("updated", "failed", "pending", "missing", "hindered")
    }
    assert found == {"updated": "ab", "failed": "c", "pending": "df", "missing": "cdefg", "hindered": "de"}
    assert view.failures == FailureCounts(probe=1, download=1, verify=1)
    assert (view.online, view.updated_online) == (3, 1)
    assert view.updated_names == ("a", "b")
    assert (
        view.troubles == "1 cannot fetch the files, 1 got other bytes than declared (d: DownloadFailed: why)"
    )


@pytest.mark.parametrize(
    ("updated", "others", "percent", "enough"),
    [
        pytest.param(0, 0, 1, False, id="nobody"),
        pytest.param(1, 0, 100, True, id="all"),
        pytest.param(9, 1, 90, True, id="just"),
        pytest.param(8, 1, 90, False, id="just not"),
        pytest.param(1, 99, 1, True, id="one of a hundred"),
        pytest.param(1, 100, 1, False, id="one of 101"),
    ],
)
def test_the_quorum_is_exact(updated: int, others: int, percent: int, enough: bool) -> None:
    nodes = (*(node(f"u{i}", ACTIVE) for i in range(updated)), *(node(f"o{i}", None) for i in range(others)))
    silent = tuple(node(f"s{i}", ACTIVE, online=False) for i in range(50))
    assert view_nodes((*nodes, *silent), WANTED, 1).has_quorum(percent) is enough


def test_where_nothing_is_rolling_the_wanted_revision_counts() -> None:
    fleet = (
        node("a", ACTIVE),
        node("b", report(ModelState.REVERTED, ModelResult.HEALTH_FAILED)),
        node("c", None),
    )
    found = targets(rollout().spec, fleet, None)
    everybody = replace(found, eligible=fleet, incompatible=())
    assert count(everybody, None, wanted=WANTED) == NodeCounts(
        targeted=3, online=3, updated=1, failed=1, failures=FailureCounts(health=1), display="1/3"
    )
    assert count(everybody, None, wanted=None) == NodeCounts(targeted=3, online=3, display="0/3")
    assert count(found, None, wanted=WANTED).incompatible == 3


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, ""), (1, "n0"), (3, "n0, n1, n2"), (4, "n0, n1, n2 and 1 more"), (900, "n0, n1, n2 and 897 more")],
)
def test_a_few_names_stand_for_many(number: int, told: str) -> None:
    assert names([node(f"n{i}", None) for i in range(number)]) == told


LARGE = 100_000
LONGEST_NAME = 253


@pytest.fixture(scope="module")
def large_fleet() -> dict[str, NodeView]:
    """The largest fleet that a step in nodes can cover, with the longest names, in many strata."""
    views = {}
    for number in range(LARGE):
        facts = NodeFacts(f"{number:0{LONGEST_NAME}}", {"site": f"s{number % 250}"}, "amd64", 2**30)
        views[facts.name] = NodeView(facts, online=True)
    return views


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (report(ModelState.PENDING, ModelResult.DOWNLOAD_FAILED), "NodesUpdating"),
        (report(ModelState.REVERTED, ModelResult.PROBE_FAILED), "RolledBack"),
        (ACTIVE, "Baking"),
    ],
)
def test_the_status_of_the_largest_fleet_is_as_small_as_that_of_a_small_one(
    large_fleet: dict[str, NodeView], trouble: NodeModelStatus, reason: str
) -> None:
    steps = [{"name": "all", "percent": 100, "bakeSeconds": 60}]
    stage = Stage.with_nodes(1, strategy={"steps": steps, "stratifyBy": ["site"]})
    stage.reconcile()
    wanted = model("1.0.0").status.revision
    active = wanted if trouble is ACTIVE else OTHER
    told = trouble.model_copy(update={"desired": wanted, "active": active, "message": "x" * 1024})
    stage.nodes = {name: replace(view, report=told) for name, view in large_fleet.items()}
    made = stage.reconcile()
    status, ready = json.dumps(made.status.to_json()), made.status.conditions[0]
    assert (ready.reason, made.status.nodes.targeted) == (reason, LARGE)
    assert RolloutStatus.model_validate_json(status) == made.status
    assert len(status) < 64 * 1024
    assert made.release is not None
    written = json.dumps(made.release.to_json())
    assert ModelReleaseSpec.model_validate_json(written) == made.release
    assert len(written) < 64 * 1024
    assert all(len(event.message) <= len(ready.message) + 1024 for event in made.events)
