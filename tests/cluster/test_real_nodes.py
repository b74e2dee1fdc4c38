"""edgecanary on real nodes: installed by helm, rolled out, cut off, killed, evicted, upgraded and uninstalled.

The tests run in this order, on one cluster; the last one uninstalls.
"""

from edgelab.api import JsonObject
from edgelab.fleet import wait_for
from edgelab.helm import NAMESPACE
from edgelab.site import Site
from tests.cluster.scene import VALUES, WAIT_SECONDS, Scene

REQUIRED_LAYERS = {"Limits", "NoPrivileges", "Files", "SystemCalls"}
LONG_FIRST_STEP: tuple[JsonObject, ...] = (
    {"name": "first", "nodes": 1, "bakeSeconds": 15},
    {"name": "all", "percent": 100, "bakeSeconds": 3},
)


def pods(site: Site, component: str) -> list[JsonObject]:
    """The pods of the operator or of the agents that are not on their way out."""
    query = f"labelSelector=app.kubernetes.io/component%3D{component}"
    found = site.admin.get(f"/api/v1/namespaces/{NAMESPACE}/pods?{query}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def test_the_chart_brings_up_the_operator_and_an_agent_on_every_node(site: Site) -> None:
    assert {pod["spec"]["nodeName"] for pod in pods(site, "agent")} == set(site.agents)
    assert {pod["status"]["phase"] for pod in pods(site, "operator")} == {"Running"}


def test_no_container_runs_as_root(site: Site) -> None:
    for pod in [*pods(site, "agent"), *pods(site, "operator")]:
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"]


def test_agents_in_containers_have_every_layer_of_the_sandbox_that_is_required(site: Site) -> None:
    def layers() -> dict[str, set[str]]:
        nodes = site.mirror.nodes()
        return {
            name: set(node.status.capabilities.probe_sandbox)
            for name, node in nodes.items()
            if node.status.capabilities
        }

    site.mirror.wait("every node reports", lambda: layers().keys() == site.agents.keys(), got=site.pods)
    assert {name for name, found in layers().items() if REQUIRED_LAYERS - found} == set(), layers()


def test_a_good_version_is_promoted_and_a_bad_one_is_taken_back(scene: Scene) -> None:
    good = scene.publish("int8")
    scene.subject.promoted(good, seconds=WAIT_SECONDS)
    scene.everyone_runs(good)
    bad = scene.publish("int8-careless")
    scene.subject.rolled_back(bad, seconds=WAIT_SECONDS)
    scene.everyone_runs(good)
    assert scene.answers() == dict.fromkeys(scene.nodes, good)


def test_a_node_whose_cable_is_pulled_serves_on_and_catches_up(scene: Scene) -> None:
    scene.roll_out(quorum=50)
    new = scene.publish("lookup")
    operator_node = leader(scene.site)["spec"]["nodeName"]
    scene.subject.wait(
        "the first step begins", lambda: scene.subject.step(new) is not None, seconds=WAIT_SECONDS
    )
    first = scene.subject.cohort(new, step=0)
    cut = min(scene.nodes - first - {operator_node})
    node = scene.site.cluster.nodes[cut]
    node.pull_cable()
    try:
        scene.subject.promoted(new, seconds=WAIT_SECONDS)
        assert scene.subject.answering([cut]) == {cut: scene.stable}, scene.subject.describe()
        scene.subject.wait(
            "the others run it",
            lambda: scene.subject.running(new) == scene.nodes - {cut},
            seconds=WAIT_SECONDS,
        )
        assert scene.subject.answering([cut]) == {cut: scene.stable}
    finally:
        node.plug_cable()
    scene.everyone_runs(new)
    assert scene.answers() == dict.fromkeys(scene.nodes, new)


def test_models_are_served_while_kubelet_and_containerd_are_dead_and_both_come_back(scene: Scene) -> None:
    operator_node = leader(scene.site)["spec"]["nodeName"]
    name = min(scene.nodes - {operator_node})
    node = scene.site.cluster.nodes[name]
    node.kill_kubelet()
    node.kill_runtime()
    wait_for(
        "the node is not Ready",
        lambda: not is_ready(scene.site, name),
        got=scene.site.pods,
        seconds=WAIT_SECONDS,
    )
    assert scene.subject.answering([name]) == {name: scene.stable}
    before = [pod["metadata"]["uid"] for pod in pods(scene.site, "agent")]
    node.start()
    wait_for(
        "the node is Ready", lambda: is_ready(scene.site, name), got=scene.site.pods, seconds=WAIT_SECONDS
    )
    assert [pod["metadata"]["uid"] for pod in pods(scene.site, "agent")] == before
    new = scene.publish("int8")
    scene.subject.promoted(new, seconds=WAIT_SECONDS)
    scene.everyone_runs(new)


def test_an_operator_that_is_evicted_in_mid_step_is_replaced_and_the_step_goes_on(scene: Scene) -> None:
    scene.roll_out(steps=LONG_FIRST_STEP)
    new = scene.publish("lookup")
    scene.subject.wait(
        "the first step begins", lambda: scene.subject.step(new) == "first", seconds=WAIT_SECONDS
    )
    evicted = leader(scene.site)
    evict(scene.site, evicted["metadata"]["name"])
    scene.subject.promoted(new, seconds=WAIT_SECONDS)
    assert scene.steps(new) == ["first", "all"]
    scene.site.wait_ready()
    assert evicted["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in pods(scene.site, "operator")}
    assert leader(scene.site)["metadata"]["uid"] != evicted["metadata"]["uid"]


def test_a_chart_that_is_upgraded_in_mid_rollout_loses_nothing(scene: Scene) -> None:
    scene.roll_out(steps=LONG_FIRST_STEP)
    new = scene.publish("lookup")
    scene.subject.wait(
        "the first step begins", lambda: scene.subject.step(new) == "first", seconds=WAIT_SECONDS
    )
    before = {pod["metadata"]["uid"] for pod in [*pods(scene.site, "agent"), *pods(scene.site, "operator")]}
    labels = {"podLabels": {"upgraded": "true"}, "maxUnavailable": "100%"}
    values: JsonObject = {
        "operator": {**VALUES["operator"], "podLabels": {"upgraded": "true"}},
        "agent": {**VALUES["agent"], **labels},
    }
    scene.site.helm.upgrade(values=values)
    scene.site.wait_ready()
    scene.subject.promoted(new, seconds=WAIT_SECONDS)
    assert scene.steps(new) == ["first", "all"]
    scene.everyone_runs(new)
    after = {pod["metadata"]["uid"] for pod in [*pods(scene.site, "agent"), *pods(scene.site, "operator")]}
    assert not before & after


def test_after_the_chart_is_uninstalled_nodes_serve_on_and_what_stays_is_said(scene: Scene) -> None:
    said = scene.site.helm.uninstall()
    assert "DaemonSet" in said
    wait_for("the operator is gone", lambda: not pods(scene.site, "operator"), got=scene.site.pods)
    assert scene.answers() == dict.fromkeys(scene.nodes, scene.stable)
    assert scene.subject.model().metadata.name


def leader(site: Site) -> JsonObject:
    """The pod of the operator that has the Lease, as soon as one has it."""

    def look() -> JsonObject | None:
        leases = site.admin.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")["items"]
        holders = [lease["spec"].get("holderIdentity") or "" for lease in leases]
        return next(
            (
                pod
                for pod in pods(site, "operator")
                for holder in holders
                if pod["metadata"]["name"] in holder
            ),
            None,
        )

    return wait_for("an operator leads", look, got=site.pods, seconds=WAIT_SECONDS)


def evict(site: Site, pod: str) -> None:
    """Evict a pod as `kubectl drain` does."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    site.admin.create(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", body)


def is_ready(site: Site, node: str) -> bool:
    """Whether the Node's condition Ready is True."""
    conditions = site.admin.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
