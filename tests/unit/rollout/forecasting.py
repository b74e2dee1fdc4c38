"""Fleets and Rollouts to forecast."""

from datetime import UTC, datetime, timedelta
from typing import cast

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.forecast import Forecast, forecast
from edgecanary.rollout.forecast_cohorts import Occasion
from edgecanary.rollout.forecast_gates import (
    Rates,
)
from edgecanary.rollout.snapshot import NodeView
from edgecanary.rollout.statement import state
from tests.unit.rollout.fleet_play import model

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STATEMENT = state(model("2.0.0").spec, revision_digest(model("2.0.0").spec))


def nodes(*strata: int, online: bool = True) -> tuple[NodeView, ...]:
    """A fleet with so many nodes of each hardware class."""
    return tuple(
        NodeView(NodeFacts(f"hw{kind}-{i:03}", {"hardware": f"hw{kind}"}, "amd64", 2**30), online=online)
        for kind, size in enumerate(strata)
        for i in range(size)
    )


def declared(*steps: JsonObject, **spec: object) -> Rollout:
    """A Rollout that is stratified by hardware, by default in three steps of an hour."""
    strategy = cast("JsonObject", spec.pop("strategy", {}))
    usual: list[JsonObject] = [
        {"name": "first", "nodes": 1, "bakeSeconds": 3600},
        {"name": "some", "percent": 25, "bakeSeconds": 3600},
        {"name": "all", "percent": 100, "bakeSeconds": 3600},
    ]
    body = {
        "modelRef": {"name": "pump"},
        "health": {"soakSeconds": 0},
        **spec,
        "strategy": {"stratifyBy": ["hardware"], "steps": [*steps] or usual, **strategy},
    }
    return Rollout.model_validate(
        {"metadata": {"name": "pump", "namespace": "plant", "uid": "u"}, "spec": body}
    )


def gates(*metrics: JsonObject) -> JsonObject:
    return {"prometheus": {"url": "http://p:9090"}, "metrics": [*metrics]}


def look(
    rollout: Rollout,
    fleet: tuple[NodeView, ...],
    *,
    rates: dict[str, Rates] | None = None,
    first: bool = False,
) -> Forecast:
    return forecast(Occasion(rollout, STATEMENT, fleet, NOW, rates or {}, first))


def warned(found: Forecast) -> list[str]:
    return [warning.reason for warning in found.warnings]


def warning(found: Forecast, reason: str) -> str:
    """Field and message of the only warning with the reason."""
    (only,) = [f"{w.field}: {w.message}" for w in found.warnings if w.reason == reason]
    return only


ERRORS: JsonObject = {
    "name": "errors",
    "preset": "ErrorRate",
    "threshold": {"max": "0.02"},
    "minSamples": 200,
}
COMPARED: JsonObject = {"name": "errors", "preset": "ErrorRate", "comparison": {"warmupSeconds": 0}}
