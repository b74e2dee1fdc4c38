"""Every shell block of the documentation that can run is run, line by line, on a real API server.

Commands that change the cluster are asked for a dry run, `make` only says what it would do, and `helm` renders
against the server. What cannot run here is listed with the reason.
"""

import argparse
import os
import random
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgecanary.cli import agent, operator
from edgelab import tools
from edgelab.controlplane import ControlPlane
from edgelab.nodes import create_node
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, manifests, page, pages

_NOT_HERE: Mapping[str, str] = {
    r"pip install|python3 -m venv": "installs packages; tests/unit/packaging builds and installs them",
    r"/opt/edgecanary/": "writes units of the host; tests/unit/cli/test_agent_install.py does it in a root of its own",
    r"sudo |nmcli": "programs of a node's host",
    r"curl ": "asks a running agent; tests/unit/agent/serving does",
    r"pytest|tests\.fuzz": "a run of the tests within the tests",
    r"helm (test|install|upgrade|uninstall)": "tests/kube/test_chart_life.py does it to a real release",
    r"kubectl edgecanary": "tests/kube/test_cli_look.py, test_cli_act.py and test_cli_live.py do",
    r"kubectl get (lease|mrel)": "what a running operator makes; tests/kube/test_operator_leaders.py has one",
    r"config/argocd/": "goes into Argo CD's own namespace; tests/kube/test_gitops_settings.py does it",
    r"echo .* > changes/": "writes into the checkout",
}
"""What is not run, and why."""

_FOREVER = re.compile(r"^edgecanary (operator|agent)\b(?! prepare)")
"""Programs that do not end: their command lines are parsed."""

_CHANGES = (
    "apply",
    "delete",
    "label",
    "annotate",
    "patch",
    "scale",
    "create secret",
    "create configmap",
    "taint",
)
_NAMES = {"NODE": "edge-01"}


def commands() -> Iterator[tuple[str, str]]:
    """The page and each command line of it, joined where it goes on, without its comment."""
    for path in pages():
        for block in blocks(page(path), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                bare = re.sub(r"(^|\s)#\s.*", "", line).strip()
                if bare:
                    yield path, " ".join(bare.split())


ALL = list(dict.fromkeys(commands()))


def excluded(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in _NOT_HERE)


HOMES = {line: path for path, line in reversed(ALL)}
"""The first page of each command: one that several pages have is run once."""

RUN = [(HOMES[line], line) for line in dict.fromkeys(line for _, line in ALL) if not excluded(line)]
RUN = [(path, line) for path, line in RUN if not _FOREVER.match(line)]


@pytest.fixture(scope="module")
def desk(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, and programs that change nothing."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("crds", "config", "charts", "examples", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    old = random.Random(1).randbytes(50_000)
    for name, data in {
        "old.onnx": old,
        "new.onnx": old[:20_000] + b"new" + old[20_000:],
        "golden.npz": b"g",
    }.items():
        (folder / name).write_bytes(data)
    (folder / "model.onnx").write_bytes(old)
    rows = np.random.default_rng(1).normal(size=(200, 640)).astype(np.float32)
    np.savez(folder / "requests.npz", **{"input:window": rows, "output:score": rows[:, :1]})  # type: ignore[arg-type]
    first = manifests("docs/guides/first-rollout.md")
    model = next(item for item in first if item["kind"] == "EdgeModel")
    for name in ("model.yaml", "edgemodel.yaml"):
        (folder / name).write_text(yaml.safe_dump(model))
    (folder / "rollout.yaml").write_text(yaml.safe_dump_all(first))
    _populate(control_plane, folder)
    _programs(folder / "bin")
    return folder


def _populate(control_plane: ControlPlane, folder: Path) -> None:
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder / "rollout.yaml"))
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "config"))
    create_node(control_plane.admin, "edge-01", labels={"edge": "true"})


def _programs(folder: Path) -> None:
    changes = "|".join(f"{verb}*" for verb in _CHANGES)
    scripts = {
        "edgecanary": f'exec {sys.executable} -m edgecanary "$@"',
        "make": f'exec /usr/bin/env -u MAKEFLAGS PATH="$REAL_PATH" make -n -C {ROOT} "$@"',
        "kubectl": f'case "$*" in {changes.replace(" ", "?")}) exec {tools.kubectl()} "$@" --dry-run=server;; esac\n'
        f'exec {tools.kubectl()} "$@"',
        "helm": f'exec {tools.helm()} "$@"',
    }
    folder.mkdir()
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(("path", "line"), RUN, ids=lambda value: str(value)[:60])
def test_the_command_runs(control_plane: ControlPlane, desk: Path, path: str, line: str) -> None:
    for name, real in _NAMES.items():
        line = re.sub(rf"\b{name}\b", real, line)
    environment = {
        **os.environ,
        "PATH": f"{desk / 'bin'}:{os.environ['PATH']}",
        "REAL_PATH": os.environ["PATH"],
        "KUBECONFIG": str(control_plane.kubeconfig()),
        "HELM_CACHE_HOME": str(desk / ".helm"),
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=desk, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, f"{path}: {result.stdout[-2000:]}{result.stderr[-2000:]}"


@pytest.mark.parametrize(
    ("path", "line"), [pair for pair in ALL if _FOREVER.match(pair[1]) and not excluded(pair[1])], ids=str
)
def test_a_program_that_runs_for_ever_takes_its_command_line(path: str, line: str) -> None:
    words = re.sub(r"\"?\$\([^)]*\)\"?|…", "x", line).split()[1:]
    given = [word for word in words if word != "x" or words[words.index(word) - 1].startswith("--")]
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="command")
    for module in (operator, agent):
        module.add_parser(subparsers)
    assert parser.parse_args(given).command in ("operator", "agent"), path


@pytest.mark.parametrize("pattern", _NOT_HERE)
def test_nothing_is_excused_that_no_page_has(pattern: str) -> None:
    assert any(re.search(pattern, line) for _, line in ALL)
