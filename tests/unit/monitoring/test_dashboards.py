"""The dashboards: every query is right PromQL about series that exist, every variable has values."""

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from dashboards.variables import BUILT_IN, LABEL_VALUES, VARIABLE, fill
from edgecanary.api.fields import JsonObject
from edgelab import tools
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, page
from tests.unit.monitoring.dashboard_files import (
    dashboards,
    panels,
    targets,
    variable_query,
    variables,
)
from tests.unit.monitoring.exposed import catalog
from tests.unit.monitoring.promql import names, problems

VALUES = {"namespace": "plant", "rollout": "pump", "model": "pump", "node": "edge-01"}
NAMES = ["fleet", "node", "rollout"]


def test_there_are_three_dashboards_with_names_of_their_own() -> None:
    found = dashboards()
    assert sorted(found) == NAMES
    assert len({str(dashboard["uid"]) for dashboard in found.values()}) == 3
    assert len({str(dashboard["title"]) for dashboard in found.values()}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_number_of_its_own(name: str) -> None:
    numbers = [panel["id"] for panel in panels(dashboards()[name])]
    assert len(numbers) == len(set(map(str, numbers)))


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_and_asks_the_chosen_data_source(name: str) -> None:
    for panel in panels(dashboards()[name]):
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_lies_on_another_or_beside_the_page(name: str) -> None:
    places = [(str(panel["title"]), place(panel)) for panel in panels(dashboards()[name])]
    for title, (x, _, w, h) in places:
        assert x >= 0, title
        assert x + w <= 24, title
        assert h > 0, title
    for (one, (x, y, w, h)), (other, (x2, y2, w2, h2)) in combinations(places, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, f"{one} and {other}"


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_declared_before_it_is_used(name: str) -> None:
    dashboard, known = dashboards()[name], set(BUILT_IN)
    for variable in variables(dashboard):
        text = variable_query(variable) + json.dumps(variable.get("datasource") or "")
        assert set(VARIABLE.findall(text)) <= known, variable["name"]
        known.add(str(variable["name"]))
    used = {found for panel in panels(dashboard) for found in VARIABLE.findall(json.dumps(panel))}
    assert used <= known
    assert known - used - set(BUILT_IN) <= {"namespace"}, "each is used, if only by another"


def test_every_variable_asks_for_a_label_that_exists() -> None:
    exposed, asked = catalog(), 0
    for dashboard in dashboards().values():
        for variable in variables(dashboard)[1:]:
            match = LABEL_VALUES.fullmatch(variable_query(variable))
            assert match, variable_query(variable)
            selector, label = fill(match[1], VALUES), match[2]
            assert problems(selector, exposed) == []
            (metric,) = names(selector).matched
            assert label in exposed[metric]
            asked += 1
    assert asked == 4


def test_every_query_is_about_series_and_labels_that_exist() -> None:
    exposed = catalog()
    for target in targets():
        assert problems(fill(target.expr, VALUES), exposed) == [], target
        shown = set(re.findall(r"\{\{(\w+)\}\}", target.legend))
        found = names(fill(target.expr, VALUES))
        have = found.grouped or frozenset().union(*(exposed[name] for name in found.matched))
        assert shown <= have, target


def test_every_query_of_alerts_and_runbooks_is_about_series_that_exist() -> None:
    exposed, asked = catalog(), 0
    for path in sorted((ROOT / "charts/edgecanary/files/alerts").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert problems(rule["expr"], exposed) == []
                asked += 1
    for expression in page_queries():
        assert problems(expression, exposed) == [], expression
        asked += 1
    assert asked > 20


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    expressions = [fill(target.expr, VALUES) for target in targets()] + page_queries()
    rules: list[JsonObject] = [
        {"record": f"query:number_{number}", "expr": expression}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run(
        [tools.promtool(), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(expressions) > 60


def test_a_query_about_what_nobody_exposes_is_found() -> None:
    exposed = catalog()
    assert problems("rate(edgecanary_requests_totals[5m])", exposed) == [
        "no metric edgecanary_requests_totals"
    ]
    assert problems('edgecanary_requests_total{verdict="ok"}', exposed) == [
        "edgecanary_requests_total has no label verdict"
    ]
    assert problems("sum by (gate) (edgecanary_requests_total)", exposed) == [
        "no label gate in sum by (gate) (edgecanary_requests_total)"
    ]


def page_queries() -> list[str]:
    """The PromQL in the runbooks and in the guide."""
    paths = [*sorted((ROOT / "docs" / "runbooks").glob("*.md")), ROOT / "docs/guides/monitoring.md"]
    return [
        line
        for path in paths
        for block in blocks(re.sub(r"^ +", "", path.read_text(), flags=re.MULTILINE), "promql")
        for line in block.splitlines()
        if line.strip()
    ]


def place(panel: JsonObject) -> tuple[int, int, int, int]:
    grid = panel["gridPos"]
    assert isinstance(grid, dict)
    x, y, w, h = (int(str(grid[key])) for key in ("x", "y", "w", "h"))
    return x, y, w, h


def test_the_page_of_the_guide_names_the_dashboards() -> None:
    text = page("docs/guides/monitoring.md")
    for dashboard in dashboards().values():
        assert str(dashboard["title"]) in text
