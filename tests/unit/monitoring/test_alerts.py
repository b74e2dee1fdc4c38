"""The alert rules, run by promtool: each fires when it must, with the right words, and only then."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgelab import tools
from edgelab.paths import ROOT
from tests.unit.docs.pages import column, page
from tests.unit.monitoring.alert_cases import CASES, Case, Fires

FOLDER = ROOT / "charts" / "edgecanary" / "files" / "alerts"
RUNBOOKS = "https://github.com/edgecanary/edgecanary/blob/main/docs/runbooks"


@dataclass(frozen=True)
class Rule:
    """An alert as its file has it."""

    name: str
    severity: str
    annotations: dict[str, str]


def rule_files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def rules() -> Iterator[Rule]:
    for path in rule_files():
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield Rule(rule["alert"], rule["labels"]["severity"], rule["annotations"])


RULES = {rule.name: rule for rule in rules()}


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([tools.promtool(), *arguments], capture_output=True, text=True, check=False)


def expected(fires: Fires, rule: Rule) -> JsonObject:
    words = {"summary": fires.summary, "description": fires.description}
    return {
        "exp_labels": {**fires.labels, "severity": rule.severity},
        "exp_annotations": {**words, "runbook_url": f"{RUNBOOKS}/{rule.name}.md"},
    }


def as_test(case: Case) -> JsonObject:
    alerts = [expected(fires, RULES[case.alert]) for fires in case.fires]
    return {
        "name": case.when,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": [*alerts]}
        ],
    }


def test_prometheus_takes_every_rule() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *rule_files())
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("alert", sorted(RULES))
def test_an_alert_fires_when_it_must_and_only_then(alert: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.alert == alert]
    assert any(case.fires for case in cases), f"{alert} has no case in which it fires"
    assert any(case.series and not case.fires for case in cases), f"{alert} has no case in which it is calm"
    assert any(not case.series for case in cases) or alert == "EdgecanaryNoLeader", (
        "nor one without any series"
    )
    file = tmp_path / "test.yaml"
    tests = [as_test(case) for case in cases]
    file.write_text(
        json.dumps(
            {"rule_files": [str(path) for path in rule_files()], "evaluation_interval": "1m", "tests": tests}
        )
    )
    tested = promtool("test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_case_is_of_an_alert_that_exists() -> None:
    assert {case.alert for case in CASES} == set(RULES)


def test_every_alert_has_words_and_a_severity() -> None:
    for rule in RULES.values():
        assert rule.severity in {"critical", "warning", "info"}
        assert set(rule.annotations) == {"summary", "description", "runbook_url"}, rule.name
        assert rule.annotations["runbook_url"] == f"{RUNBOOKS}/{rule.name}.md"


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    assert pages == set(RULES)


@pytest.mark.parametrize("alert", sorted(RULES))
def test_a_page_says_what_it_means_how_to_see_it_and_what_to_do(alert: str) -> None:
    text = page(f"docs/runbooks/{alert}.md")
    assert text.startswith(f"# {alert}\n\nSeverity: {RULES[alert].severity}.")
    means, see, do = (
        text.index(f"## {heading}\n") for heading in ("What it means", "How to see it", "What to do")
    )
    assert means < see < do
    assert "```" in text[see:do], "how to see it is said in commands"


@pytest.mark.parametrize("path", ["docs/runbooks/README.md", "docs/guides/monitoring.md"])
def test_the_lists_of_alerts_name_every_alert_with_its_severity(path: str) -> None:
    text = page(path)
    listed = {
        name.split("]")[0].lstrip("["): severity
        for name, severity in zip(column(text, 0), column(text, 1), strict=True)
        if name.startswith("[Edgecanary")
    }
    assert listed == {rule.name: rule.severity for rule in RULES.values()}
