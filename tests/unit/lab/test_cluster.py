"""What can be said of the cluster of real nodes without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgelab.cluster import machine, owner
from edgelab.cluster.forward import Forward, parse
from edgelab.cluster.network import Addresses
from edgelab.errors import LabError
from edgelab.paths import ROOT


def test_a_machine_without_root_is_told_why_it_has_no_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert machine.why_not() == ["namespaces, mounts and control groups need root"]


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    assert "there is no program ip: install iproute2" in machine.why_not()


def test_the_probe_of_the_machine_ends_with_3_when_something_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "why_not", lambda: ["there is no moon"])
    assert machine.main() == 3
    assert capsys.readouterr().out == "there is no moon\n"


def test_a_forward_is_read_as_it_is_written() -> None:
    forward = Forward(20_001, 4711, "127.0.0.1", 9010)
    assert str(forward) == "20001=4711:127.0.0.1:9010"
    assert parse(str(forward)) == forward


def test_no_two_nodes_share_an_address() -> None:
    nodes = [Addresses(number) for number in range(1, 10)]
    assert len({node.node for node in nodes} | {node.pods for node in nodes}) == 18


def test_folders_that_a_session_named_are_gone_when_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "nodes").mkdir(parents=True)
    (folder / "nodes" / "file").touch()
    subprocess.run(
        [sys.executable, "-m", "edgelab.reaper", "nobody-has-this-session"],
        input=f"d{folder}\n",
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "hack")},
    )
    assert not folder.exists()
    assert tmp_path.exists()


def test_only_one_cluster_is_owned_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECANARY_CACHE", str(tmp_path))
    assert owner.Owner().end() is False
    with owner.Owner().owning(), pytest.raises(LabError, match="make cluster-down"), owner.Owner().owning():
        pass
