"""`edgecanary rollout plan` against a file of nodes, as a program and as text."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from edgecanary.analysis.prospect import learn_fleet
from edgecanary.api.edgenode import ModelState, NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.artifact.revision import revision_digest
from edgecanary.cli.main import main
from edgecanary.cli.rollout_plan_text import to_table
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.forecast import Forecast, forecast
from edgecanary.rollout.forecast_cohorts import Occasion
from edgecanary.rollout.forecast_gates import BaselineSource, Rates
from edgecanary.rollout.snapshot import NodeView
from edgecanary.rollout.statement import state
from tests.unit.analysis.fleets import Traffic, one, trace
from tests.unit.cli.golden_text import assert_golden
from tests.unit.rollout.fleet_play import model, rollout

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

SPEC: JsonObject = {
    "modelRef": {"name": "pump"},
    "nodeSelector": {"matchLabels": {"edge": "true"}},
    "strategy": {
        "stratifyBy": ["hardware"],
        "stepDeadlineSeconds": 86_400,
        "steps": [
            {"name": "first", "nodes": 1, "bakeSeconds": 600},
            {"name": "canary", "percent": 10, "bakeSeconds": 3600},
            {"name": "quarter", "percent": 25, "bakeSeconds": 3600, "approval": "Manual"},
            {"name": "all", "percent": 100, "bakeSeconds": 3600},
        ],
    },
    "analysis": {
        "prometheus": {"url": "http://127.0.0.1:1"},
        "metrics": [
            {"name": "errors", "preset": "ErrorRate", "comparison": {"detectRatio": "3"}},
            {"name": "slow", "preset": "LatencyP95", "threshold": {"max": "0.5"}},
            {"name": "heat", "query": "max(t)", "threshold": {"max": "85"}, "mode": "DryRun"},
        ],
    },
    "updateWindows": [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlin"}],
}


def node(name: str, hardware: str, *, ready: str = "True") -> JsonObject:
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": name, "labels": {"edge": "true", "hardware": hardware}},
        "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"architecture": "arm64"}},
    }


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The arguments that name a Rollout and a fleet of 40."""
    body = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "pump", "namespace": "plant"},
        "spec": SPEC,
    }
    nodes = [node(f"edge-{i:02}", "npu" if i % 4 == 0 else "cpu") for i in range(40)]
    (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(body))
    (tmp_path / "nodes.yaml").write_text(yaml.safe_dump({"kind": "List", "items": nodes}))
    return ["rollout", "plan", "-f", str(tmp_path / "rollout.yaml"), "--nodes", str(tmp_path / "nodes.yaml")]


def test_the_tables_for_a_person() -> None:
    fleet = tuple(
        NodeView(
            NodeFacts(
                f"edge-{i:02}", {"edge": "true", "hardware": "npu" if i % 4 == 0 else "cpu"}, "amd64", 2**30
            ),
            online=i % 20 > 0,
        )
        for i in range(40)
    )
    statement = state(model("2.0.0").spec, revision_digest(model("2.0.0").spec))
    rates = {"errors": Rates(1200, 0.005), "slow": Rates(1200, 0.05), "heat": Rates(1200)}
    found = forecast(Occasion(rollout(**SPEC), statement, fleet, NOW, rates))
    assert_golden("plan-table", to_table(found))


BRIEF: JsonObject = {
    "modelRef": {"name": "pump"},
    "strategy": {
        "steps": [
            {"name": "some", "percent": 10, "bakeSeconds": 3600},
            {"name": "all", "percent": 100, "bakeSeconds": 3600},
        ],
    },
    "analysis": {
        "prometheus": {"url": "http://127.0.0.1:1"},
        "metrics": [{"name": "errors", "preset": "ErrorRate", "comparison": {}}],
    },
}


def brief(*, burst: float | None = None, adopted: int = 0) -> Forecast:
    """The plan for 40 nodes with a history of so much variation, or none; some run the revision already."""
    statement = state(model("2.0.0").spec, revision_digest(model("2.0.0").spec))
    names = tuple(f"edge-{i:02}" for i in range(40))
    report = NodeModelStatus(
        namespace="plant", name="pump", active=statement.revision, desired=statement.revision,
        state=ModelState.ACTIVE,
    )  # fmt: skip
    fleet = tuple(
        NodeView(NodeFacts(name, {}, "amd64", 2**30), online=True, report=report if i < adopted else None)
        for i, name in enumerate(names)
    )
    learned = None
    if burst is not None:
        made = trace(Traffic(nodes=40, rate=0.01, requests=100.0, burst=burst, history_ticks=192, ticks=1))
        learned = learn_fleet(names, one(made.history, 0), 300.0)
    return forecast(Occasion(rollout(**BRIEF), statement, fleet, NOW, {"errors": Rates(1200, 0.01, learned)}))


@pytest.mark.parametrize(("name", "burst"), [("quiet", 0.05), ("restless", 2.0), ("assumed", None)])
def test_the_table_says_what_its_exposures_rest_on(name: str, burst: float | None) -> None:
    assert_golden(f"plan-{name}", to_table(brief(burst=burst)))


def test_a_restless_history_gives_a_longer_forecast_than_a_quiet_one() -> None:
    quiet, restless = (brief(burst=burst).steps[0].gates[0] for burst in (0.05, 2.0))
    assert quiet.ready_seconds is not None
    assert restless.ready_seconds is not None
    assert restless.ready_seconds > 1.5 * quiet.ready_seconds
    assert quiet.baseline == restless.baseline == BaselineSource.HISTORY


@pytest.mark.parametrize(("name", "adopted"), [("adopted", 40), ("partly-adopted", 12)])
def test_the_table_says_what_becomes_of_nodes_that_run_it_already(name: str, adopted: int) -> None:
    assert_golden(f"plan-{name}", to_table(brief(adopted=adopted)))


def test_a_plan_against_a_file_of_nodes_needs_no_cluster(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--requests-per-hour", "1200", "--error-rate", "0.005"]
    assert main([*files, *flags, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [step["nodes"] for step in found["steps"]] == [1, 4, 10, 40]
    assert sum(len(s["added"]) for step in found["steps"] for s in step["strata"]) == 40
    assert found["steps"][0]["gates"][0]["eventsPerHour"] == 1200


def test_yaml_holds_the_same_as_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files, "-o", "yaml"]) == 0
    as_yaml = yaml.safe_load(capsys.readouterr().out)
    assert main([*files, "-o", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert as_yaml["steps"][0]["strata"] == as_json["steps"][0]["strata"]


def test_warnings_are_told_by_the_exit_code_when_it_is_asked_for(files: list[str]) -> None:
    assert main(files) == 0
    assert main([*files, "--exit-code"]) == 10


def test_a_prometheus_that_is_away_is_a_note_and_not_a_failure(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(files) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "the rate of edgecanary_requests_total is not known: Prometheus http://127.0.0.1:1 does not" in text
    )
    assert "give --requests-per-hour and --error-rate, or --prometheus" in text


def test_what_an_agent_says_of_its_node_decides_what_fits(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent: JsonObject = {
        "kind": "EdgeNode",
        "metadata": {"name": "edge-01"},
        "status": {"capabilities": {"architecture": "arm64", "memoryBytes": 2**30, "runtimes": ["TVM"]}},
    }
    listed = yaml.safe_load((tmp_path / "nodes.yaml").read_text())
    listed["items"].append(agent)
    (tmp_path / "nodes.yaml").write_text(yaml.safe_dump(listed))
    body = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": "pump"},
        "spec": model("2.0.0").spec.to_json(),
    }
    with (tmp_path / "rollout.yaml").open("a") as file:
        file.write("---\n" + yaml.safe_dump(body))
    assert main([*files, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["eligible"], found["incompatible"], found["version"]) == (39, 1, "2.0.0")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--error-rate", "0.1"], "--error-rate: must be given together with --requests-per-hour"),
        (["--prometheus", "p:9090"], "--prometheus: must be an http:// or https:// address, got 'p:9090'"),
        (["--nodes", "/nowhere"], "/nowhere: cannot be read: No such file or directory"),
        (["-f", "-", "--nodes", "-"], "--nodes: must not be - when -f is - too"),
    ],
)
def test_wrong_usage_is_told_by_the_flag_and_ends_with_two(
    files: list[str], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files, *flags]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--requests-per-hour", "0"], ["--error-rate", "2"], ["-o", "xml"]])
def test_values_out_of_bounds_are_refused(files: list[str], flags: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*files, *flags])
    assert caught.value.code == 2


def test_a_file_without_nodes_is_refused(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files, "--nodes", files[3]]) == 2
    assert "must hold Nodes, and holds Rollout" in capsys.readouterr().err
