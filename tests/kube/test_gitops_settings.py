"""Argo CD's settings: from the chart by the real helm, from config/argocd by kubectl, each beside what is there."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edgelab import tools
from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.generate import argocd
from edgelab.helm import Helm, documents
from edgelab.paths import ROOT
from tests.unit.gitops.argo_lua import ArgoCD
from tests.unit.gitops.objects import rollout_in

SETTINGS = "/api/v1/namespaces/argocd/configmaps/argocd-cm"


def entries(path: Path) -> dict[str, object]:
    """The entries of a generated ConfigMap."""
    return meant(yaml.safe_load((ROOT / path).read_text())["data"])


def meant(data: dict[str, str]) -> dict[str, object]:
    """The entries as Argo CD reads them: health is Lua, the others are YAML."""
    return {key: text if ".health." in key else yaml.safe_load(text) for key, text in data.items()}


@pytest.fixture
def argo_cd(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster with the settings of an Argo CD in use."""
    with contextlib.suppress(ApiError):
        control_plane.create_namespace("argocd")
    body = {"metadata": {"name": "argocd-cm"}, "data": {"url": "https://argo.example.com"}}
    control_plane.admin.create(SETTINGS.removesuffix("/argocd-cm"), body)
    yield control_plane
    control_plane.admin.delete(SETTINGS)


def rendered(folder: Path, **values: object) -> list[JsonObject]:
    """The objects of the chart whose name ends with -argocd."""
    found = documents(Helm(folder).template(values={"argocd": values}))
    return [body for body in found if body["metadata"]["name"].endswith("-argocd")]


def test_the_chart_renders_just_the_settings_of_config(tmp_path: Path) -> None:
    assert rendered(tmp_path) == []
    (plain,) = rendered(tmp_path, enabled=True)
    assert meant(plain["data"]) == entries(argocd.SETTINGS)
    (more,) = rendered(tmp_path, enabled=True, ignoreDefaults=True)
    assert meant(more["data"]) == {**entries(argocd.SETTINGS), **entries(argocd.DEFAULTS)}


def test_kubectl_adds_the_entries_and_leaves_the_others(argo_cd: ControlPlane) -> None:
    for path, manager in ((argocd.SETTINGS, "edgecanary"), (argocd.DEFAULTS, "edgecanary-defaults")):
        text = (ROOT / path).read_text()
        (command,) = (line[1:].split() for line in text.splitlines() if line.startswith("#   kubectl "))
        assert command[-2:] == ["-f", str(path)]
        assert f"--field-manager={manager}" in command
        argo_cd.kubectl(*command[1:-1], str(ROOT / path))
    wanted = {**entries(argocd.SETTINGS), **entries(argocd.DEFAULTS), "url": "https://argo.example.com"}
    found = argo_cd.admin.get(SETTINGS)["data"]
    assert meant(found) == wanted
    assert ArgoCD(found).health(rollout_in("Baking")).status == "Progressing"


def test_the_command_of_the_charts_notes_merges_the_entries(argo_cd: ControlPlane, tmp_path: Path) -> None:
    helm = Helm(tmp_path / "helm", argo_cd.kubeconfig())
    notes = helm.run(
        "install",
        "edgecanary",
        str(ROOT / "charts/edgecanary"),
        "--dry-run=client",
        "--namespace=argocd",
        "--output=json",
        values={"argocd": {"enabled": True}},
    )
    (_, command) = json.loads(notes)["info"]["notes"].split("after each upgrade:\n")
    command = command.split("\n\n")[0].replace("-n edgecanary-system", "-n argocd")
    (settings,) = rendered(tmp_path, enabled=True)
    argo_cd.kubectl(
        "apply",
        "-n",
        "argocd",
        "-f",
        "-",
        stdin=json.dumps({**settings, "metadata": {"name": "edgecanary-argocd"}}),
    )
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").symlink_to(tools.kubectl())
    environment = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "KUBECONFIG": str(argo_cd.kubeconfig()),
        "HOME": str(tmp_path),
    }
    subprocess.run(["bash", "-euc", command], env=environment, check=True, capture_output=True)
    found = argo_cd.admin.get(SETTINGS)["data"]
    assert meant(found) == {**entries(argocd.SETTINGS), "url": "https://argo.example.com"}
