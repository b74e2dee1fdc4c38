"""The second way to install: `kubectl apply -k config/`, or `-f` of the one rendered file."""

import json

import pytest

from edgelab.controlplane import ControlPlane
from edgelab.fixtures import NewControlPlane
from edgelab.helm import documents
from edgelab.install import MANIFEST
from edgelab.paths import ROOT

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


def test_the_rendered_file_is_taken_whole_by_a_strict_server_side_apply(bare: ControlPlane) -> None:
    flags = ("apply", "--server-side", "--validate=strict", f"--filename={MANIFEST}")
    said = bare.kubectl(*flags)
    assert said.count("serverside-applied") == len(documents(MANIFEST.read_text()))


def test_nothing_in_it_speaks_of_helm() -> None:
    assert "helm" not in MANIFEST.read_text().lower().partition("\n---")[2]
