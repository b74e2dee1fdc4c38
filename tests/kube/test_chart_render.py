"""What the chart renders: helm's own checks, a real API server's, and what pods may do."""

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from edgecanary.api.fields import JsonObject
from edgecanary.cli import agent, operator
from edgecanary.cli.flags import Flags
from edgelab.api import JsonObject as Manifest
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.helm import CHART, Helm, HelmError, documents
from edgelab.tools import monitors
from tests.kube.chart_monitors import check_items
from tests.kube.chart_server import Examiner, one, path, pod_of, variables
from tests.kube.chart_values import Wrong, valid, wrong
from tests.unit.docs.pages import blocks, page

PROFILES = ("generic", "k3s", "kubeedge")
NAMESPACE = "chart-rendered"
ALL_ON: JsonObject = {
    "agent": {"trust": {"configMap": "keys"}, "settings": {"memoryBudget": "512Mi", "accelerator": ["npu", "gpu"]}},
    "operator": {"settings": {"urlTtlSeconds": 604800, "resyncSeconds": 1000000}},
    "notifications": {"url": "https://hooks.example.com/x", "secretRef": {"name": "hook", "key": "token"}},
    "monitoring": {name: {"enabled": True} for name in ("prometheusRule", "dashboards")},
    "namespace": {"create": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"), namespace=NAMESPACE)


_PROMETHEUS_OPERATOR = "monitoring.coreos.com"
"""Kinds that nobody serves here; `test_chart_monitors.py` holds them against their types."""


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, helm: Helm) -> Iterator[ControlPlane]:
    """The shared cluster, with a namespace that lets in `restricted` pods only, and the chart's accounts."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": label}})
    for item in documents(helm.template()):
        if item["kind"] == "ServiceAccount":
            control_plane.admin.create(path(item).rpartition("/")[0], item)
    yield control_plane
    control_plane.delete_namespace(NAMESPACE)


@pytest.fixture(scope="module")
def examiner(plane: ControlPlane) -> Examiner:
    return Examiner(plane.admin)


@pytest.fixture(scope="module")
def usual(helm: Helm) -> dict[str, list[Manifest]]:
    """What each profile renders to by itself."""
    return {name: documents(helm.template(values={"agent": {"profile": name}})) for name in PROFILES}


@pytest.mark.parametrize("profile", PROFILES)
def test_helm_finds_nothing_to_say_about_a_profile(helm: Helm, profile: str) -> None:
    said = helm.lint(values={**ALL_ON, "agent": {"profile": profile}})
    assert "1 chart(s) linted, 0 chart(s) failed" in said


@pytest.mark.parametrize("profile", PROFILES)
def test_the_api_server_takes_all_that_a_profile_renders(
    plane: ControlPlane, helm: Helm, profile: str
) -> None:
    rendered = documents(helm.template(values={**ALL_ON, "agent": {"profile": profile}}))
    items = [item for item in rendered if not item["apiVersion"].startswith(_PROMETHEUS_OPERATOR)]
    assert {item["kind"] for item in rendered if item not in items} == {"PrometheusRule"}
    flags = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename=-")
    said = plane.kubectl("apply", *flags, stdin=yaml.safe_dump_all(items))
    assert said.count("(server dry run)") == len(items)


def test_the_operators_pods_and_the_tests_pod_are_restricted(
    plane: ControlPlane, usual: dict[str, list[Manifest]]
) -> None:
    items = usual["generic"]
    dry = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"
    assert plane.admin.create(dry, pod_of(one(items, "Deployment"), NAMESPACE))["kind"] == "Pod"
    assert plane.admin.create(dry, one(items, "Pod"))["kind"] == "Pod"


CAPABILITIES = (
    'unrestricted capabilities (container "prepare" must not include "CHOWN", "DAC_READ_SEARCH" '
    "in securityContext.capabilities.add)"
)
EXCEPTIONS = {
    # The node's folder with the models; who gives it to the agent is root for a moment.
    "generic": {
        'restricted volume types (volume "data" uses restricted volume type "hostPath")',
        CAPABILITIES,
        'runAsUser=0 (container "prepare" must not set runAsUser=0)',
        'runAsNonRoot != true (pod or container "prepare" must set securityContext.runAsNonRoot=true)',
    }
}
# The device's loopback and, on KubeEdge, MetaServer on it.
ON_THE_NODES_NETWORK = {
    "host namespaces (hostNetwork=true)",
    'hostPort (container "agent" uses hostPort 9011)',
}
EXCEPTIONS["k3s"] = EXCEPTIONS["kubeedge"] = EXCEPTIONS["generic"] | ON_THE_NODES_NETWORK


@pytest.mark.parametrize("profile", PROFILES)
def test_the_agents_pods_are_restricted_but_for_what_the_profile_needs(
    plane: ControlPlane, usual: dict[str, list[Manifest]], profile: str
) -> None:
    pod = pod_of(one(usual[profile], "DaemonSet"), NAMESPACE)
    with pytest.raises(ApiError) as refused:
        plane.admin.create(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
    told = refused.value.message.partition('violates PodSecurity "restricted:latest": ')[2]
    assert set(re.split(r", (?=[a-zA-Z ]+[=(!])(?![^(]*\))", told)) == EXCEPTIONS[profile]


def test_an_agent_with_probes_of_their_own_user_is_root_with_three_capabilities(helm: Helm) -> None:
    spec = one(documents(helm.template(values={"agent": {"probeUser": "Own"}})), "DaemonSet")["spec"]
    pod = spec["template"]["spec"]
    assert "initContainers" not in pod
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["SETUID", "SETGID", "DAC_READ_SEARCH"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_the_profiles_differ_in_what_the_nodes_need(usual: dict[str, list[Manifest]]) -> None:
    sets = {name: one(items, "DaemonSet") for name, items in usual.items()}
    pods = {name: item["spec"]["template"]["spec"] for name, item in sets.items()}
    assert {name: pod.get("hostNetwork", False) for name, pod in pods.items()} == {
        "generic": False,
        "k3s": True,
        "kubeedge": True,
    }
    assert {name: variables(item).get("EDGECANARY_SERVER") for name, item in sets.items()} == {
        "generic": None,
        "k3s": None,
        "kubeedge": "http://127.0.0.1:10550",
    }
    assert [pod["automountServiceAccountToken"] for pod in pods.values()] == [True, True, False]
    assert all(variables(item)["EDGECANARY_DATA_DIR"] == "/var/lib/edgecanary" for item in sets.values())
    assert pods["kubeedge"]["nodeSelector"] == {"node-role.kubernetes.io/edge": ""}
    assert {entry["key"] for entry in pods["kubeedge"]["tolerations"]} == {"node-role.kubernetes.io/edge"}


def test_on_kubeedge_the_rights_go_to_the_nodes_and_to_cloudcore(usual: dict[str, list[Manifest]]) -> None:
    items = usual["kubeedge"]
    names = [subject["name"] for subject in one(items, "ClusterRoleBinding", "edgecanary-agent")["subjects"]]
    assert names == ["edgecanary-agent", "system:nodes", "cloudcore"]
    names = [subject["name"] for subject in one(items, "RoleBinding", "edgecanary-agent")["subjects"]]
    assert names == ["edgecanary-agent", "system:nodes"]


def test_the_programs_take_the_settings_that_the_chart_gives_them(helm: Helm) -> None:
    items = documents(helm.template(values=ALL_ON))
    parser = argparse.ArgumentParser()
    agent.add_flags(Flags(parser, environ=variables(one(items, "DaemonSet"))))
    found = parser.parse_args([])
    assert (found.memory_budget, found.accelerator) == ("512Mi", ["npu", "gpu"])
    assert (found.listen, found.data_dir) == ([":9010"], "/var/lib/edgecanary")
    assert found.trust_root == ["/etc/edgecanary/trust"]
    given = variables(one(items, "Deployment"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        subparsers = argparse.ArgumentParser().add_subparsers()
        operator.add_parser(subparsers)
        told = subparsers.choices["operator"].parse_args([])
    assert (told.url_ttl_seconds, told.resync_seconds, told.metrics_address) == (604800, 1e6, ":8080")
    assert given["EDGECANARY_LEADER_ELECT"] == "true"
    assert given["EDGECANARY_NOTIFY_URL"] == "https://hooks.example.com/x"


def test_the_guides_values_are_valid_and_mount_what_they_name(helm: Helm) -> None:
    (block,) = [text for text in blocks(page("docs/guides/install.md"), "yaml") if text.startswith("agent:")]
    pod = one(documents(helm.template(values=yaml.safe_load(block))), "DaemonSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/etc/edgecanary/push"]]["secret"] == {"secretName": "push-token"}
    assert volumes[mounts["/etc/edgecanary/trust"]]["configMap"] == {"name": "model-keys"}


def test_no_label_of_ones_own_hides_a_pod_from_what_selects_it(helm: Helm) -> None:
    own: JsonObject = {"app.kubernetes.io/name": "mine", "team": "edge", "app.kubernetes.io/part-of": "site"}
    values: JsonObject = {"commonLabels": own, "operator": {"podLabels": {"team": "operators"}}}
    workload = one(documents(helm.template(values=values)), "Deployment")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert (labels["app.kubernetes.io/name"], labels["team"]) == ("edgecanary", "operators")
    assert labels["app.kubernetes.io/part-of"] == "site"


def test_an_operator_of_some_namespaces_has_rights_in_these_only(helm: Helm) -> None:
    items = documents(helm.template(values={"operator": {"namespaces": ["plant", "mill"]}}))
    own = [item for item in items if item["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"]
    bindings = {item["metadata"]["namespace"] for item in own if item["kind"] == "RoleBinding"}
    assert bindings == {"plant", "mill", NAMESPACE}
    assert one(own, "ClusterRoleBinding")["roleRef"]["name"] == "edgecanary-operator-nodes"
    assert one(own, "ClusterRole", "edgecanary-operator-nodes")["rules"][0]["resources"] == ["nodes"]
    assert variables(one(own, "Deployment"))["EDGECANARY_NAMESPACE"] == "plant,mill"


def test_rules_and_dashboards_become_objects_where_there_are_any(helm: Helm, tmp_path: Path) -> None:
    chart = tmp_path / "edgecanary"
    shutil.copytree(CHART, chart)
    for folder in ("alerts", "dashboards"):
        shutil.rmtree(chart / "files" / folder, ignore_errors=True)
        (chart / "files" / folder).mkdir()
    rule = "groups: [{name: g, rules: [{alert: A, expr: up == 0, annotations: {summary: '{{ $labels.node }}'}}]}]"
    (chart / "files" / "alerts" / "node.yaml").write_text(rule)
    (chart / "files" / "dashboards" / "fleet.json").write_text('{"title": "{{ fleet }}"}\n')
    on = {
        name: {"enabled": True} for name in ("prometheusRule", "dashboards", "serviceMonitor", "podMonitor")
    }
    items = documents(helm.template(chart, values={"monitoring": on}))
    rules = one(items, "PrometheusRule")
    assert rules["metadata"]["name"] == "edgecanary-node"
    assert rules["spec"]["groups"][0]["rules"][0]["annotations"]["summary"] == "{{ $labels.node }}"
    dashboard = one(items, "ConfigMap", "edgecanary-dashboard-fleet")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"] == {"fleet.json": '{"title": "{{ fleet }}"}\n'}
    monitor = one(items, "ServiceMonitor")["spec"]
    service = one(items, "Service", "edgecanary-operator")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = one(items, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"]
    assert {rule["targetLabel"] for rule in endpoint["relabelings"]} == {"job", "node", "instance"}


def test_what_needs_the_prometheus_operator_or_grafana_is_off(usual: dict[str, list[Manifest]]) -> None:
    kinds = {item["kind"] for item in usual["generic"]}
    assert kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"} == set()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"operator": {"leaderElection": {"enabled": False}}}, "operator.replicas must be 1 without"),
        ({"agent": {"listen": "127.0.0.1:9010"}}, 'agent.listen must be ":port" without agent.hostNetwork'),
        ({"agent": {"settings": {"trustThreshold": 2}}}, "must not be given without agent.trust.configMap"),
        ({"notifications": {"secretRef": {"name": "s"}}}, "/notifications/secretRef"),
    ],
)
def test_values_that_do_not_go_together_are_refused(helm: Helm, values: JsonObject, told: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(values=values)
    assert told in refused.value.stderr


_NOT_ASKED = (
    _PROMETHEUS_OPERATOR,
    "apiextensions.k8s.io",  # large, and only their labels vary
)


@settings(
    max_examples=10,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking renders the chart hundreds of times
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=valid())
def test_whatever_the_schema_allows_is_taken_by_the_api_server_and_the_prometheus_operators_types(
    helm: Helm, examiner: Examiner, values: JsonObject
) -> None:
    items = documents(helm.template(values=values, flags=("--skip-tests",)))
    theirs = [item for item in items if item["apiVersion"].startswith(_PROMETHEUS_OPERATOR)]
    if theirs and not monitors.missing():
        assert check_items(theirs).refused == []
    known = [item for item in items if item["apiVersion"].partition("/")[0] not in _NOT_ASKED]
    for item in known:
        if item["kind"] == "RoleBinding":
            item["metadata"]["namespace"] = NAMESPACE
    examiner.examine(known)
    workload = one(known, "Deployment")
    if not workload["spec"]["template"]["spec"].get("hostNetwork"):
        pod = pod_of(workload, NAMESPACE)
        pod["spec"]["serviceAccountName"] = "edgecanary-operator"
        examiner.examine([pod])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bad=wrong())
def test_one_wrong_value_is_refused_and_named(helm: Helm, bad: Wrong) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(values=bad.values)
    assert "values don't meet the specifications of the schema" in refused.value.stderr
    assert f"at '/{'/'.join(bad.keys)}" in refused.value.stderr
