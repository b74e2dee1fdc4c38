"""The second way to install: `kubectl apply -k config/`, or `-f` of the one rendered file."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edgecanary.cli.main import main
from edgelab.controlplane import ControlPlane
from edgelab.fixtures import NewControlPlane
from edgelab.helm import documents
from edgelab.install import MANIFEST
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, page

FOLDER = ROOT / "config"


@pytest.fixture
def bare(new_control_plane: NewControlPlane) -> ControlPlane:
    """A cluster that knows nothing of edgecanary."""
    return new_control_plane(definitions=False)


def versions(plane: ControlPlane) -> dict[str, str]:
    """The resource version of each object that is installed."""
    found = plane.kubectl("get", "--output=json", f"--filename={MANIFEST}")
    items = json.loads(found)["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in items
    }


def test_a_bare_cluster_is_set_up_by_one_command_and_a_second_one_changes_nothing(bare: ControlPlane) -> None:
    first = bare.kubectl("apply", f"--kustomize={FOLDER}").splitlines()
    assert len(first) == len(documents(MANIFEST.read_text()))
    assert [line for line in first if not line.endswith(" created")] == []
    bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    before = versions(bare)
    bare.kubectl("apply", f"--kustomize={FOLDER}")
    bare.kubectl("apply", f"--filename={MANIFEST}")
    bare.kubectl("diff", f"--filename={MANIFEST}")
    assert versions(bare) == before


def test_the_check_says_what_is_missing_and_when_all_is_there(
    bare: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", f"--kubeconfig={bare.kubeconfig()}"]
    assert main(command) == 1
    assert "FAILED  the API server serves rollouts.edgecanary.dev: the definition" in capsys.readouterr().out
    flags = ("--server-side", "--validate=strict", f"--filename={MANIFEST}")
    said = bare.kubectl("apply", *flags)
    assert said.count("serverside-applied") == len(documents(MANIFEST.read_text()))
    bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    assert main(command) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_images_of_ones_own_are_put_in_by_a_kustomization(control_plane: ControlPlane) -> None:
    with TemporaryDirectory(dir=ROOT, prefix=".kustomize-") as folder:
        (block,) = [
            text for text in blocks(page("docs/guides/install.md"), "yaml") if "Kustomization" in text
        ]
        text = block.replace("edgecanary/config", "../config")
        (Path(folder) / "kustomization.yaml").write_text(text)
        items = documents(control_plane.kubectl("kustomize", folder))
    images = {
        container["image"]
        for item in items
        if item["kind"] in ("Deployment", "DaemonSet")
        for key in ("containers", "initContainers")
        for container in item["spec"]["template"]["spec"].get(key, [])
    }
    assert images == {
        "registry.example.com/edgecanary-operator:0.1.0",
        "registry.example.com/edgecanary-agent:0.1.0",
    }


def test_nothing_in_it_speaks_of_helm() -> None:
    assert "helm" not in MANIFEST.read_text().lower().partition("\n---")[2]
