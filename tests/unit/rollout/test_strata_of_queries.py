"""What queries say of the strata: as much as methods that compare choices of canaries need."""

from datetime import timedelta

import pytest

from edgecanary.analysis.query import CountsQuery
from edgecanary.rollout.planner import due_queries
from edgecanary.rollout.snapshot import Snapshot
from tests.unit.rollout.fleet_play import Stage, model


def asked(method: str, *keys: str) -> CountsQuery:
    """What is asked for a comparison in the first step, on six nodes of two sites."""
    stage = Stage.with_nodes(
        6,
        strategy={"steps": [{"name": "some", "percent": 50, "bakeSeconds": 600}], "stratifyBy": [*keys]},
        analysis={
            "prometheus": {"url": "http://prometheus:9090"},
            "intervalSeconds": 20,
            "metrics": [{"name": "errors", "preset": "ErrorRate", "comparison": {"method": method}}],
        },
    )
    for number, name in enumerate(stage.nodes):
        stage.relabel(name, {"site": "north" if number % 2 else "east"})
    stage.preload(stage.model or model("1.0.0"))
    stage.play(600)
    stage.model = model("2.0.0", generation=2)
    for _ in range(3):
        stage.reconcile()
        stage.answer()
    stage.now += timedelta(seconds=30)
    nodes = tuple(stage.nodes.values())
    (query,) = due_queries(Snapshot(stage.rollout, stage.model, stage.release, nodes), stage.now)
    assert query.counts is not None
    return query.counts


def test_randomization_is_told_who_is_in_which_stratum() -> None:
    east, north = ("node-00", "node-02", "node-04"), ("node-01", "node-03", "node-05")
    assert asked("Randomization", "site").strata == (east, north)


@pytest.mark.parametrize(("method", "keys"), [("Randomization", ()), ("NegativeBinomial", ("site",))])
def test_others_are_told_nothing(method: str, keys: tuple[str, ...]) -> None:
    assert asked(method, *keys).strata == ()
