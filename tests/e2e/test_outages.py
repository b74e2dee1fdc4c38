"""Parts fail in the middle of a rollout, and it comes to the same end."""

import random
import time
import urllib.error
import urllib.request

from edgecanary.api.meta import ConditionType
from edgecanary.rollout.conditions import find_condition
from edgelab.fleet import wait_for
from tests.e2e.scene import Scene

KILLS = 5


def test_a_corrupted_download_never_becomes_active(scene: Scene) -> None:
    stable = scene.begin("fp32")
    scene.fleet.upload("lookup", scene.subject.namespace)
    good = scene.fleet.s3.get(scene.fleet.bucket, scene.key("lookup"))
    for agent in scene.fleet.agents.values():
        agent.process.pause()
    revision = scene.declare("lookup")
    scene.subject.wait("the operator accepts it", lambda: scene.subject.accepted(revision))
    scene.fleet.s3.put(scene.fleet.bucket, scene.key("lookup"), good[:-9] + b"corrupted")
    for agent in scene.fleet.agents.values():
        agent.process.resume()
    scene.subject.wait("the Rollout says why", lambda: "DigestMismatch" in scene.subject.message())
    (first,) = scene.subject.cohort(revision, step=0)
    report = scene.subject.reports()[first]
    assert (report.state, report.result, report.active) == ("Pending", "VerifyFailed", stable)
    assert first in scene.subject.message()
    assert scene.everyone_answers_with(stable)
    assert revision not in scene.traffic.report().revisions()
    scene.fleet.s3.put(scene.fleet.bucket, scene.key("lookup"), good)
    scene.subject.promoted(revision)
    assert scene.everyone_answers_with(revision)


def test_without_prometheus_nothing_is_promoted_and_nothing_is_rolled_back(scene: Scene) -> None:
    stable = scene.begin("fp32")
    revision = scene.publish("lookup")
    scene.subject.wait("the first step begins", lambda: scene.subject.step(revision) == "first")
    scene.fleet.prometheus.process.pause()
    scene.subject.wait(
        "it is held", lambda: scene.subject.reason() == "AnalysisInconclusive", unless_rejected=revision
    )
    before = scene.subject.release()
    assert scene.fleet.prometheus.url in scene.subject.message()
    time.sleep(5)
    status = scene.subject.rollout().status
    assert scene.subject.release() == before
    assert (status.step and status.step.name, status.rejected) == ("first", ())
    assert (status.stable and status.stable.revision) == stable
    scene.fleet.prometheus.start()
    scene.subject.promoted(revision)


def test_an_operator_killed_at_any_moment_comes_to_the_same_end(scene: Scene) -> None:
    scene.begin("fp32")
    seed = random.SystemRandom().randrange(2**32)
    moments = random.Random(seed)
    revision = scene.publish("lookup")
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.1, 2.5))
        scene.fleet.operator.kill()
        scene.fleet.operator.launch()
    scene.subject.promoted(revision)
    history = [
        (entry.version, entry.outcome, entry.attempt) for entry in scene.subject.rollout().status.history
    ]
    assert history == [("1.0.0", "Promoted", 1), ("4.0.0", "Promoted", 1)], f"seed {seed}"
    assert scene.everyone_answers_with(revision), f"seed {seed}"


def test_a_restarted_api_server_is_found_again(scene: Scene) -> None:
    scene.begin("fp32")
    revision = scene.publish("lookup")
    scene.subject.wait("the first step begins", lambda: scene.subject.step(revision) == "first")
    scene.fleet.control_plane.stop_api_server(kill=True)
    time.sleep(3)
    scene.fleet.control_plane.start()
    scene.subject.promoted(revision)
    assert scene.everyone_answers_with(revision)
    assert scene.refused() == {}


def test_a_killed_agent_serves_at_once_without_a_network(scene: Scene) -> None:
    revision = scene.begin("fp32")
    scene.fleet.control_plane.stop_api_server(kill=True)
    scene.fleet.s3.stop()
    node = next(iter(sorted(scene.nodes)))
    scene.fleet.agents[node].kill()
    scene.fleet.agents[node].launch()
    wait_for(
        "the node answers from its own disk",
        lambda: scene.subject.answering([node]) == {node: revision},
        got=lambda: str(scene.subject.answering([node])),
    )


def test_a_store_that_is_down_delays_a_model_and_the_status_says_why(scene: Scene) -> None:
    scene.begin("fp32")
    scene.fleet.upload("lookup", scene.subject.namespace)
    scene.fleet.s3.stop()
    revision = scene.declare("lookup")

    def why() -> str | None:
        found = scene.fleet.mirror.model(scene.subject.namespace, scene.subject.name)
        ready = find_condition(found.status.conditions, ConditionType.READY) if found else None
        waits = ready is not None and ready.status == "Unknown" and "s3://" in ready.message
        return ready.message if ready and waits else None

    message = scene.subject.wait("the EdgeModel waits for the store", why)
    assert "refused" in message
    scene.fleet.s3.start()
    scene.subject.promoted(revision)


def test_addresses_are_renewed_before_they_expire(scene: Scene) -> None:
    scene.begin("fp32")
    scene.fleet.restart_operator(("--url-ttl-seconds=20",))
    revision = scene.publish("lookup")
    late = next(iter(sorted(scene.nodes - scene.subject.cohort(revision, step=0))))
    scene.traffic.remove(late)
    scene.fleet.take_offline(late)
    first = scene.subject.wait("the release has addresses", lambda: _canary_url(scene, revision))
    scene.subject.promoted(revision)
    wait_for("the first address expires", lambda: _status(first) == 403, got=lambda: str(_status(first)))
    scene.fleet.bring_online(late)
    scene.subject.wait("the node fetches it", lambda: scene.subject.running(revision) == scene.nodes)


def _canary_url(scene: Scene, revision: str) -> str | None:
    """The address of the canary's model file."""
    found = scene.fleet.mirror.release(scene.subject.namespace, scene.subject.name)
    canary = found.spec.canary if found else None
    return canary.variants[0].files[0].url if canary and canary.revision == revision else None


def _status(url: str) -> int:
    """The HTTP status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
