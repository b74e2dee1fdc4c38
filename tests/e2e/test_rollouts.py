"""What a rollout is for: a good version reaches every node, a bad one is taken back."""

from collections import Counter
from datetime import UTC, datetime

from edgecanary.api.edgenode import NodeModelStatus
from edgelab.fleet import Fleet, wait_for
from tests.e2e.scene import Scene


def test_a_good_version_is_promoted_step_by_step(scene: Scene) -> None:
    scene.begin("fp32")
    published = datetime.now(UTC)
    revision = scene.publish("int8", fallback="lookup")
    first = scene.subject.cohort(revision, step=0)
    scene.subject.wait(
        "the first step's node runs it",
        lambda: scene.subject.running(revision) == first,
        unless_rejected=revision,
    )
    scene.subject.promoted(revision)
    assert scene.subject.reason() == "Promoted"
    assert scene.subject.running(revision) == scene.nodes
    assert scene.everyone_answers_with(revision)
    assert scene.refused() == {}
    assert _writes_by_node(scene.fleet, published) == dict.fromkeys(scene.nodes, 1)


def test_a_version_that_is_wrong_in_the_field_is_taken_back(scene: Scene) -> None:
    stable = scene.begin("fp32")
    revision = scene.publish("int8-careless")
    (first,) = scene.subject.cohort(revision, step=0)
    scene.subject.rolled_back(revision)
    (entry,) = scene.subject.status().rejected
    assert (entry.reason, entry.version) == ("AnalysisFailed", "3.0.0")
    assert "accuracy" in entry.message
    scene.subject.wait("the node is back", lambda: scene.subject.running(stable) == scene.nodes)
    assert scene.everyone_answers_with(stable)
    answered = {node for node, count in scene.traffic.report().agents.items() if revision in count.revisions}
    assert answered == {first}
    assert scene.refused() == {}


def test_a_node_reverts_by_itself_when_requests_fail(scene: Scene) -> None:
    stable = scene.begin("fp32")
    scene.roll_out(health={"soakSeconds": 120, "maxErrorPercent": 5})
    revision = scene.publish("short-table")
    (first,) = scene.subject.cohort(revision, step=0)
    report = scene.subject.wait(
        "the node reverts",
        lambda: next((r for r in _reports_of(scene, first) if r.result == "HealthFailed"), None),
    )
    assert (report.state, report.active, report.desired) == ("Reverted", stable, revision)
    scene.subject.rolled_back(revision)
    assert scene.subject.status().rejected[-1].reason == "NodesFailed"
    assert scene.everyone_answers_with(stable)


def test_an_offline_node_catches_up(scene: Scene) -> None:
    old = scene.begin("fp32")
    revision = scene.publish("lookup")
    late = next(iter(sorted(scene.nodes - scene.subject.cohort(revision, step=0))))
    scene.traffic.remove(late)
    scene.fleet.take_offline(late)
    scene.subject.promoted(revision)
    assert scene.subject.reason() == "StragglersPending"
    assert late in scene.subject.message()
    assert scene.subject.running(old) == {late}
    scene.fleet.bring_online(late)
    scene.subject.wait("the node catches up", lambda: scene.subject.running(revision) == scene.nodes)
    scene.subject.wait("the Rollout waits for nobody", lambda: scene.subject.reason() == "Promoted")
    wait_for("all agents answer with it", lambda: scene.everyone_answers_with(revision))


def _reports_of(scene: Scene, node: str) -> list[NodeModelStatus]:
    found = scene.subject.reports().get(node)
    return [found] if found else []


def _writes_by_node(fleet: Fleet, since: datetime) -> dict[str, int]:
    counted = Counter(
        request.node for request in fleet.control_plane.audit_log.writes() if request.time >= since
    )
    return {node: counted[node] for node in fleet.agents}
