"""Looking at Rollouts and nodes from the command line, on a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edgecanary.clients.resources import EDGE_NODES
from edgelab.controlplane import ControlPlane
from tests.kube.cli_lab import NAME, Site, Told, bind, site_on, tell
from tests.unit.rollout.fleet_play import BAD


@pytest.fixture
def site(control_plane: ControlPlane, namespace: str) -> Iterator[Site]:
    with site_on(control_plane, namespace) as found:
        yield found


def ask(site: Site, *words: str, config: Path | None = None) -> Told:
    """The program in the site's namespace, which is also the nodes'."""
    return tell(*words, "-n", site.namespace, config=config or site.plane.kubeconfig())


def look(site: Site, *words: str, config: Path | None = None) -> Told:
    return ask(site, *words, "--system-namespace", site.namespace, config=config)


def cells(text: str) -> list[list[str]]:
    """The lines of a table, each by its columns."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_rollouts_are_listed_as_table_wide_names_and_objects(site: Site) -> None:
    site.release("2.0.0")
    site.publish()
    head, row = cells(ask(site, "rollout", "list").out)
    assert head == ["NAME", "STABLE", "CANARY", "STEP", "UPDATED", "GATES", "READY", "REASON", "AGE"]
    assert row[:8] == [NAME, "1.0.0", "2.0.0", "1/3 first", "1/6", "1/1 Pass", "Unknown", "Baking"]
    head, row = cells(ask(site, "rollout", "list", "-o", "wide").out)
    assert head[-3:] == ["MODEL", "ATTEMPT", "MESSAGE"]
    assert row[-1].startswith("step 1/3 first: 1 of 1 nodes updated, baking until")
    assert ask(site, "rollout", "list", "-o", "name").out == f"rollout.edgecanary.dev/{NAME}\n"
    listed = json.loads(ask(site, "rollout", "list", "-o", "json").out)
    assert (listed["kind"], len(listed["items"])) == ("List", 1)
    assert listed["items"][0]["kind"] == "Rollout"
    assert "managedFields" not in listed["items"][0]["metadata"]


def test_rollouts_are_selected_by_label_and_over_all_namespaces(site: Site) -> None:
    assert NAME in ask(site, "rollout", "list", "-l", "line=a").out
    none = ask(site, "rollout", "list", "-l", "line=b")
    assert (none.code, none.out) == (0, "")
    assert none.err == f"No Rollouts found in namespace {site.namespace}.\n"
    everywhere = tell("rollout", "list", "-A", config=site.plane.kubeconfig())
    assert [site.namespace, NAME] in [row[:2] for row in cells(everywhere.out)]


def test_one_rollout_is_shown_with_steps_cohorts_and_gates(site: Site) -> None:
    site.release("2.0.0", seconds=20)
    site.publish()
    told = look(site, "rollout", "get", NAME)
    assert told.code == 0, told.err
    found = cells(told.out)
    assert ["Rollout", f"{site.namespace}/{NAME}"] in found
    first = next(row for row in found if row[:2] == ["◌", "first"])
    assert first[2:5] == ["1 node", "1 min", "-"]
    assert first[5].startswith("Baking, bake over since 2026-01-05T08:01:00Z (")
    assert ["·", "quarter", "25 %", "1 min", "manual"] in found
    assert ["hardware=cpu", "4", "0"] in [row[:3] for row in found]
    assert ["all", "6", "0", "1", "1", "1", "0"] in found
    assert ["✔", "accuracy", "Pass", "0.97", "-", "at least 0.9", "500"] in [row[:7] for row in found]


def test_one_rollout_is_given_as_the_server_has_it(site: Site) -> None:
    body = yaml.safe_load(look(site, "rollout", "get", NAME, "-o", "yaml").out)
    assert body["metadata"]["name"] == NAME
    assert body["status"]["stable"]["version"] == "1.0.0"


def test_the_history_tells_outcomes_times_and_reasons_the_newest_first(site: Site) -> None:
    site.release("2.0.0")
    site.stage.accuracy = BAD
    site.stage.play(60)
    site.publish()
    head, last, first = cells(ask(site, "rollout", "history", NAME).out)
    assert head == ["VERSION", "REVISION", "OUTCOME", "REASON", "ATTEMPT", "STARTED", "ENDED", "TOOK"]
    assert (last[0], last[2], last[3], last[4]) == ("2.0.0", "RolledBack", "AnalysisFailed", "1")
    assert last[5:7] == ["2026-01-05T08:00:00Z", "2026-01-05T08:00:20Z"]
    assert (first[0], first[2], first[5]) == ("1.0.0", "Adopted", "-")
    wide = ask(site, "rollout", "history", NAME, "-o", "wide").out
    assert "rejected: step 1/3 first: accuracy: 0.31 is below the limit 0.9" in wide
    assert cells(wide)[-1][-1] == "stable"
    items = json.loads(ask(site, "rollout", "history", NAME, "-o", "json").out)["items"]
    assert [item["outcome"] for item in items] == ["RolledBack", "Adopted"]


def test_nodes_are_listed_with_what_they_run(site: Site) -> None:
    site.release("2.0.0")
    # Any node may be the canary, and one that is away would not take the version.
    (canary,) = site.stage.covered()
    away = next(name for name in site.stage.nodes if name != canary)
    site.stage.set_online(away, False)
    site.publish()
    told = look(site, "node", "list", "-l", f"fleet={site.namespace}")
    assert told.code == 0, told.err
    head, *rows = cells(told.out)
    assert head == ["NAME", "ONLINE", "AGENT", "HEARTBEAT", "MODEL", "VERSION", "REVISION", "STATE"]
    assert [row[0] for row in rows] == sorted(site.stage.nodes)
    assert [row[0] for row in rows if row[1] != "yes"] == [away]
    assert [row[0] for row in rows if row[5] != "1.0.0"] == [canary]
    assert {row[4] for row in rows} == {f"{site.namespace}/{NAME}"}
    names = look(site, "node", "list", "-l", "hardware=npu", "-o", "name").out.split()
    assert f"edgenode.edgecanary.dev/edge-0.{site.namespace}" in names
    assert f"edgenode.edgecanary.dev/edge-2.{site.namespace}" not in names


def test_one_node_is_shown_with_each_of_its_models(site: Site) -> None:
    name = f"edge-0.{site.namespace}"
    told = look(site, "node", "get", name)
    assert told.code == 0, told.err
    assert ["Node", name] in [row[:2] for row in cells(told.out)]
    assert f"Model        {site.namespace}/{NAME}" in told.out
    assert "  serves     1.0.0 (" in told.out
    data = json.loads(look(site, "node", "get", name, "-o", "json").out)
    assert (data["online"], data["models"][0]["status"]["state"]) == (True, "Active")


class TestWhatFails:
    def test_a_node_that_is_not_there_is_told_with_those_near_it(self, site: Site) -> None:
        told = look(site, "node", "get", f"edge0.{site.namespace}")
        assert told.code == 3
        assert f"there is no node edge0.{site.namespace}; did you mean edge-" in told.err

    @pytest.mark.parametrize("action", ["get", "watch", "history", "promote", "pause", "abort", "why"])
    def test_a_rollout_that_is_not_there_is_told_with_those_near_it(self, site: Site, action: str) -> None:
        told = ask(site, "rollout", action, "pomp")
        assert told.code == 3
        text = f"there is no Rollout pomp in namespace {site.namespace}; did you mean {NAME}?"
        assert told.err == f"edgecanary: RolloutNotFound: {text}\n"

    @pytest.mark.parametrize(
        ("words", "verb", "role"),
        [
            (("rollout", "list"), "list", "edgecanary-view"),
            (("rollout", "get", NAME), "get", "edgecanary-view"),
            (("node", "list"), "list", "edgecanary-fleet-view"),
        ],
    )
    def test_access_that_is_denied_names_verb_resource_and_role(
        self, site: Site, words: tuple[str, ...], verb: str, role: str
    ) -> None:
        told = ask(site, *words, config=site.plane.kubeconfig("nobody", ()))
        assert told.code == 1
        resource = "edgenodes" if words[0] == "node" else "rollouts"
        assert f'resources: ["{resource}"], verbs: ["{verb}"]' in told.err
        assert told.err.endswith(f"ask for the ClusterRole {role}\n")

    def test_nodes_that_may_not_be_read_are_a_note_and_the_rest_is_shown(
        self, site: Site, operator_roles: None
    ) -> None:
        bind(site.plane, f"viewer-{site.namespace}", "edgecanary-view", namespace=site.namespace)
        config = site.plane.kubeconfig(f"viewer-{site.namespace}", ())
        told = look(site, "rollout", "get", NAME, config=config)
        assert told.code == 0, told.err
        text = " ".join(told.out.split())
        assert "Note how far each stratum is cannot be shown: nodes:" in text
        assert "ask for the ClusterRole edgecanary-fleet-view" in text
        nodes = look(site, "node", "list", config=config)
        assert nodes.code == 0, nodes.err
        assert cells(nodes.out)[1][1] == "unknown"

    def test_crds_of_another_version_are_told(self, site: Site) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts.edgecanary.dev"
        annotation = "edgecanary.dev/version"
        before = site.plane.admin.get(path)["metadata"]["annotations"][annotation]
        try:
            for version, advice in (
                ("9.1.0", "install edgecanary 9.1 here, too"),
                ("0.0.9", "upgrade the cluster's (CRDs first, then operator and agents)"),
            ):
                site.plane.admin.patch(path, {"metadata": {"annotations": {annotation: version}}})
                told = ask(site, "rollout", "list")
                assert told.code == 0
                assert f"VersionsDiffer: the cluster's CRDs are of edgecanary {version}" in told.err
                assert advice in told.err
        finally:
            site.plane.admin.patch(path, {"metadata": {"annotations": {annotation: before}}})
        assert ask(site, "rollout", "list").err == ""

    def test_agents_of_another_version_are_told(self, site: Site) -> None:
        name = f"edge-1.{site.namespace}"
        patch = {"status": {"agentVersion": "0.0.7"}}
        site.plane.admin.patch(site.path(EDGE_NODES, name, "status"), patch)
        told = look(site, "node", "list")
        assert told.code == 0
        assert "agents are of edgecanary 0.0.7" in told.err
        found = look(site, "version")
        assert found.code == 4
        assert ["agent", "0.0.7", "1", "does not fit"] in cells(found.out)

    def test_an_operator_of_another_version_is_found_by_its_deployment(self, site: Site) -> None:
        labels = {"app.kubernetes.io/name": "edgecanary", "app.kubernetes.io/component": "operator"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "o", "image": "o"}]}}
        body = {
            "metadata": {"name": "operator", "labels": {**labels, "app.kubernetes.io/version": "7.0.0"}},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        }
        path = f"/apis/apps/v1/namespaces/{site.namespace}/deployments"
        site.plane.admin.create(path, body)
        found = look(site, "version")
        assert found.code == 4
        assert ["operator", "7.0.0", "1", "does not fit"] in cells(found.out)
        assert "upgrade CRDs, operator, agents, in this order" in found.err
        site.plane.admin.delete(f"{path}/operator")
