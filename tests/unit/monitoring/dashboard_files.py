"""The dashboards as Grafana gets them: panels, queries and variables out of the JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from dashboards import FOLDER
from edgecanary.api.fields import JsonObject
from edgelab.paths import ROOT


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str
    legend: str

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expr}"


def dashboards() -> dict[str, JsonObject]:
    """Every dashboard by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / FOLDER).glob("*.json"))}


def panels(dashboard: JsonObject) -> Iterator[JsonObject]:
    """All panels, rows included."""
    found = dashboard["panels"]
    assert isinstance(found, list)
    for panel in found:
        assert isinstance(panel, dict)
        yield panel


def targets() -> list[Target]:
    """All queries of all dashboards."""
    found = []
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            asked = panel.get("targets") or []
            assert isinstance(asked, list)
            for target in asked:
                assert isinstance(target, dict)
                legend = str(target.get("legendFormat", ""))
                found.append(Target(name, str(panel["title"]), str(target["expr"]), legend))
    return found


def variables(dashboard: JsonObject) -> list[JsonObject]:
    """The template variables, in order."""
    templating = dashboard["templating"]
    assert isinstance(templating, dict)
    found = templating["list"]
    assert isinstance(found, list)
    return [item for item in found if isinstance(item, dict)]


def variable_query(variable: JsonObject) -> str:
    """What a variable asks for."""
    query = variable["query"]
    return str(query["query"]) if isinstance(query, dict) else str(query)
