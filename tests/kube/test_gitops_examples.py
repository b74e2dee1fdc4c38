"""What the examples for Argo CD and Flux bring into a cluster is accepted by a real API server."""

import json
from typing import cast

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.install import MANIFEST
from edgelab.paths import ROOT
from tests.kube.gitops_site import SITES, build
from tests.unit.gitops.manifests import Project, documents, one

EXAMPLES = ROOT / "examples"
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"}
FOLDERS = sorted(file.parent.name for file in SITES.glob("*/site.yaml"))


def moved(body: JsonObject, namespace: str) -> JsonObject:
    return {**body, "metadata": {**cast("JsonObject", body["metadata"]), "namespace": namespace}}


@pytest.mark.parametrize("site", FOLDERS)
def test_each_site_builds_and_is_accepted(control_plane: ControlPlane, namespace: str, site: str) -> None:
    bodies = build(control_plane, SITES / site)
    assert [body["kind"] for body in bodies] == ["EdgeModel", "Rollout"]
    assert {cast("JsonObject", body["metadata"])["namespace"] for body in bodies} == {f"plant-{site}"}
    rollout = cast("dict[str, dict[str, JsonObject]]", bodies[1]["spec"])
    assert rollout["nodeSelector"]["matchLabels"] == {"edge": "true", "site": site}
    text = "---\n".join(json.dumps(moved(body, namespace)) + "\n" for body in bodies)
    said = control_plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=text)
    assert said.count("serverside-applied") == 2


def test_one_site_stays_on_the_version_before(control_plane: ControlPlane) -> None:
    found = {site: build(control_plane, SITES / site)[0]["spec"] for site in FOLDERS}
    versions = {site: cast("JsonObject", spec)["version"] for site, spec in found.items()}
    assert versions == {"hamburg": "2.4.0", "lyon": "2.4.0", "osaka": "2.3.1"}


def test_the_namespaces_of_the_examples_are_accepted(control_plane: ControlPlane) -> None:
    files = [*EXAMPLES.glob("argocd/clusters/*/*.yaml"), EXAMPLES / "flux/platform/namespaces.yaml"]
    assert len(files) == 3
    for file in files:
        said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(file))
        assert "created" in said


def test_the_project_allows_every_kind_that_edgecanary_installs_for_the_whole_cluster() -> None:
    body = one(EXAMPLES / "argocd" / "apps", Project, "edge-models")
    allowed = {entry.kind for entry in Project.model_validate(body).spec.cluster_resource_whitelist}
    installed = {str(found["kind"]) for found in yaml.safe_load_all(MANIFEST.read_text())}
    wide = {kind for kind in installed if kind in CLUSTER_WIDE or kind.startswith("Validating")}
    assert wide | {"Namespace"} == allowed


def test_flux_builds_its_platform(control_plane: ControlPlane) -> None:
    kinds = [body["kind"] for body in build(control_plane, EXAMPLES / "flux" / "platform")]
    assert kinds == ["Namespace", "Namespace", "HelmRelease"]
    listed = {str(body["kind"]) for body in documents(EXAMPLES / "flux" / "platform")}
    assert listed == {"Namespace", "HelmRelease", "Kustomization"}
