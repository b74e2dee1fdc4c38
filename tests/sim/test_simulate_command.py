"""`edgecanary simulate`: what it prints, what it writes, and what it says of wrong input."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.cli.main import main

STEPS: JsonObject = {
    "stratifyBy": ["hardware"],
    "steps": [
        {"name": "few", "nodes": 2, "bakeSeconds": 1800},
        {"name": "all", "percent": 100, "bakeSeconds": 600},
    ],
}
GATE: JsonObject = {"name": "errors", "preset": "ErrorRate", "threshold": {"max": "0.05"}, "minSamples": 100}
LENIENT: JsonObject = {"maxErrorPercent": 50}
"""Nodes leave it to the gate to find errors."""

BUSY = ("--requests-per-hour", "600", "--days", "2")


def document(**spec: object) -> JsonObject:
    analysis = {"prometheus": {"url": "http://p:9090"}, "intervalSeconds": 300, "metrics": [GATE]}
    given = {"modelRef": {"name": "pump"}, "strategy": STEPS, "analysis": analysis, "health": LENIENT, **spec}
    return {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "pump", "namespace": "plant"},
        "spec": given,  # type: ignore[dict-item]
    }


def write(folder: Path, *documents: JsonObject) -> str:
    path = folder / "rollout.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def node(name: str, **labels: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels}},
        "status": {"nodeInfo": {"architecture": "arm64"}, "capacity": {"memory": "2Gi"}},
    }


def test_a_good_version_is_promoted_and_a_bad_one_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, document())
    assert main(["simulate", "-f", file, "--nodes", "20", *BUSY, "-o", "json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert main(["simulate", "-f", file, "--nodes", "20", "--worse", "20", *BUSY, "-o", "yaml"]) == 0
    bad = yaml.safe_load(capsys.readouterr().out)
    assert [outcome["outcome"] for outcome in good["outcomes"]] == ["Promoted"]
    assert [step["passed"] for step in good["steps"]] == [1, 1]
    assert [outcome["outcome"] for outcome in bad["outcomes"]] == ["RolledBack"]
    assert bad["nodesExposed"] == 2
    assert bad["badAnswersMore"] > 0


def test_the_table_gives_steps_outcomes_and_what_it_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, document())
    assert (
        main(["simulate", "-f", file, "--nodes", "20", "--worse", "20", "--share", "0.5", "--log", *BUSY])
        == 0
    )
    text = capsys.readouterr().out
    assert "20 times the bad answers on 50% of the nodes" in " ".join(text.split())
    for heading in ("STEP", "BEGINS", "OUTCOME", "REASON", "taken back", "nodes exposed", "bad answers"):
        assert heading in text
    assert "sets the EdgeModel to candidate" in text


def test_a_regression_on_one_hardware_class_reaches_a_class_of_made_up_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, document())
    flags = ["--nodes", "30", "--worse", "30", "--on", "hardware=neon", "--from", "10m"]
    assert main(["simulate", "-f", file, *flags, *BUSY, "-o", "json"]) == 0
    assert "hardware=neon, from 10 min on" in json.loads(capsys.readouterr().out)["regression"]


def test_a_fleet_comes_from_a_file_of_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = tmp_path / "nodes.yaml"
    fleet.write_text(
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "List", "items": [node(f"n{i}", edge="true") for i in range(7)]}
        )
    )
    file = write(tmp_path, document(nodeSelector={"matchLabels": {"edge": "true"}}))
    assert main(["simulate", "-f", file, "--fleet", str(fleet), *BUSY, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == 7


def test_a_gate_with_a_query_of_its_own_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"name": "heat", "query": "max(temperature)", "threshold": {"max": "85"}}
    analysis = {"prometheus": {"url": "http://p:9090"}, "intervalSeconds": 300, "metrics": [GATE, own]}
    file = write(tmp_path, document(analysis=analysis))
    assert main(["simulate", "-f", file, "--nodes", "10", *BUSY]) == 0
    assert "Left out: the gate heat" in capsys.readouterr().out


def test_the_plot_is_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.png"
    file = write(tmp_path, document())
    assert main(["simulate", "-f", file, "--nodes", "10", *BUSY, "--runs", "2", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_error_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("matplotlib", "edgecanary.simulator.plot"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "edgecanary.cli.simulate_plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    file = write(tmp_path, document())
    assert main(["simulate", "-f", file, "--nodes", "10", "--plot", str(tmp_path / "x.png")]) == 1
    assert "edgecanary[plots]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--nodes: exactly one of --nodes"),
        (("--nodes", "5", "--fleet", "x.yaml"), "exactly one of --nodes"),
        (("--fleet", "missing.yaml"), "missing.yaml: cannot be read"),
        (("--nodes", "5", "--plot", "no/such/folder/x.png"), "--plot: must be in a folder that exists"),
    ],
)
def test_wrong_flags_are_named_with_their_rule(
    flags: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-f", write(tmp_path, document()), *flags]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--nodes", "0", "must be a whole number within 1 and 100000"),
        ("--worse", "-2", "must be a number above 0"),
        ("--share", "1.5", "must be a share above 0 and at most 1"),
        ("--on", "neon", "must be a label and its value, such as hardware=neon"),
        ("--from", "tomorrow", "must be a time such as 90s, 30m, 36h or 2d"),
        ("--days", "nan", "must be a number above 0"),
        ("--runs", "many", "must be a whole number within 1 and 10000"),
    ],
)
def test_wrong_values_are_told_with_the_flag_the_value_and_the_rule(
    flag: str, value: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        main(["simulate", "-f", write(tmp_path, document()), flag, value])
    error = capsys.readouterr().err
    assert found.value.code == 2
    assert flag in error
    assert words in error
    assert value in error


def test_a_rollout_that_breaks_a_rule_is_told_by_field_value_and_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(
        tmp_path, document(updateWindows=[{"schedule": "0 2 * * *", "durationSeconds": 60, "timeZone": "No"}])
    )
    assert main(["simulate", "-f", file, "--nodes", "5"]) == 2
    assert "spec.updateWindows[0].timeZone" in capsys.readouterr().err


def test_a_selector_that_no_node_of_the_file_meets_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = tmp_path / "nodes.yaml"
    fleet.write_text(yaml.safe_dump(node("n1")))
    file = write(tmp_path, document(nodeSelector={"matchLabels": {"edge": "true"}}))
    assert main(["simulate", "-f", file, "--fleet", str(fleet)]) == 2
    error = capsys.readouterr().err
    assert "spec.nodeSelector: matches none of the 1 nodes" in error
    assert "give --fleet a file of Nodes" in error
