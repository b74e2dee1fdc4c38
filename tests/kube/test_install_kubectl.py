"""The second way to install: `kubectl apply -k config/`, or `-f` of the one rendered file."""

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


def test_a_bare_cluster_is_set_up_by_one_command_and_a_second_one_changes_nothing(bare: ControlPlane) -> None:
    first = bare.kubectl("apply", f"--kustomize={FOLDER}").splitlines()
    objects = documents(MANIFEST.read_text())
    assert len(first) == len(objects)
    assert all(line.endswith(" created") for line in first)
    for arguments in (("apply", f"--kustomize={FOLDER}"), ("apply", f"--filename={MANIFEST}")):
        again = bare.kubectl(*arguments).splitlines()
        assert len(again) == len(objects)
        assert [line for line in again if not line.endswith(" unchanged")] == []


def test_the_rendered_file_is_taken_whole_by_a_strict_server_side_apply(bare: ControlPlane) -> None:
    flags = ("apply", "--server-side", "--validate=strict", f"--filename={MANIFEST}")
    said = bare.kubectl(*flags)
    assert said.count("serverside-applied") == len(documents(MANIFEST.read_text()))


def test_nothing_in_it_speaks_of_helm() -> None:
    assert "helm" not in MANIFEST.read_text().lower().partition("\n---")[2]
