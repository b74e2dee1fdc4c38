"""A node installs nothing of the operator, and the operator no model runtime."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OPERATOR_ONLY = {"kopf", "kubernetes", "boto3"}
AGENT_ONLY = {"onnxruntime", "httptools"}
PLOTS_ONLY = {"matplotlib", "PIL"}
ENTRIES = {"operator": "edgecanary.controller.process", "agent": "edgecanary.agent.process"}


def extra(name: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"][name]
    return {re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in lines}


def loaded_by(module: str) -> set[str]:
    """The top-level packages that importing the module loads, in a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_agents_extra_has_nothing_of_the_operator() -> None:
    assert not extra("agent") & OPERATOR_ONLY


def test_the_operators_extra_has_no_runtime() -> None:
    assert not extra("operator") & AGENT_ONLY


@pytest.mark.parametrize(
    ("name", "foreign"), [("agent", OPERATOR_ONLY | PLOTS_ONLY), ("operator", AGENT_ONLY | PLOTS_ONLY)]
)
def test_each_program_runs_without_the_others_packages(name: str, foreign: set[str]) -> None:
    loaded = loaded_by(ENTRIES[name]) | loaded_by(f"edgecanary.cli.{name}")
    assert not loaded & foreign


@pytest.mark.parametrize("words", [["rollout", "get", "pump"], ["node", "list"]])
def test_the_plugin_of_kubectl_talks_to_a_cluster_without_the_packages_of_operator_and_agent(
    words: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    config.write_text(
        json.dumps({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"})
    )
    code = f"""
import sys
from edgecanary.cli.main import main
print(main({[*words, "--kubeconfig", str(config)]}), *{{name.partition(".")[0] for name in sys.modules}})
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer, *loaded = found.stdout.split()
    assert (answer, "127.0.0.1:1" in found.stderr) == ("1", True), "it has come as far as the connection"
    assert not set(loaded) & (OPERATOR_ONLY | AGENT_ONLY | PLOTS_ONLY)


def test_a_program_whose_extra_is_missing_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "kopf.py").write_text("raise ModuleNotFoundError(\"No module named 'kopf'\", name='kopf')\n")
    command = [sys.executable, "-m", "edgecanary", "operator"]
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'operator'}", "PATH": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "kopf is not installed; install it with: pip install 'edgecanary[operator]'" in result.stderr
