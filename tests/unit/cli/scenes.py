"""Rollouts at work for pictures: everything in them was decided by the real planner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.fields import JsonObject
from edgecanary.cli.rollout_picture import Fleet, Picture, picture
from edgecanary.rollout.cohorts import count_cohorts
from edgecanary.rollout.why import explain
from tests.unit.rollout.fleet_play import BAD, DOWN, Stage, model

STEPS: list[JsonObject] = [
    {"name": "first", "nodes": 1, "bakeSeconds": 600},
    {"name": "canary", "percent": 10, "bakeSeconds": 3600},
    {"name": "quarter", "percent": 25, "bakeSeconds": 3600, "approval": "Manual"},
    {"name": "all", "percent": 100, "bakeSeconds": 3600},
]
GATES: JsonObject = {
    "prometheus": {"url": "http://prometheus:9090"},
    "intervalSeconds": 60,
    "metrics": [
        {"name": "accuracy", "preset": "Accuracy", "threshold": {"min": "0.9"}, "minSamples": 100},
        {"name": "heat", "query": "max(t)", "threshold": {"max": "85"}, "mode": "DryRun"},
    ],
}


@dataclass(frozen=True)
class Scene:
    """A picture and the moment at which it is looked at."""

    picture: Picture
    now: datetime


def scene(stage: Stage) -> Scene:
    """What the stage looks like now."""
    assert stage.release is not None
    reports = {name: view.report for name, view in stage.nodes.items() if view.report is not None}
    told = explain(stage.rollout, reports)
    cohorts = count_cohorts(stage.rollout.spec, stage.release.spec, tuple(stage.nodes.values()))
    return Scene(picture(stage.rollout, Fleet(cohorts, told.nodes, told.more_nodes)), stage.now)


def plant() -> Stage:
    """Forty nodes of two kinds, one of them offline, on which 1.0.0 is stable."""
    strategy: JsonObject = {"steps": [*STEPS], "stratifyBy": ["hardware"], "quorumPercent": 60}
    stage = Stage.with_nodes(40, strategy=strategy, analysis=GATES)
    for place, name in enumerate(list(stage.nodes)):
        stage.relabel(name, {"hardware": "npu" if place < 10 else "cpu"})
    stage = stage.promoted_at_once()
    stage.set_online("node-20", False)
    stage.model = model("2.0.0", generation=2)
    return stage


def updating() -> Stage:
    stage = plant()
    stage.silent = set(stage.nodes)
    stage.play(20)
    return stage


def baking() -> Stage:
    stage = plant()
    stage.play(2000, tick=60)
    return stage


def without_data() -> Stage:
    stage = plant()
    stage.accuracy = DOWN
    stage.play(1200, tick=60)
    return stage


def awaiting_approval() -> Stage:
    stage = plant()
    stage.play(8400, tick=60)
    return stage


def paused() -> Stage:
    stage = baking()
    spec = stage.rollout.spec.model_copy(update={"paused": True})
    stage.edit(stage.rollout.model_copy(update={"spec": spec}))
    stage.play(60, tick=60)
    return stage


def rolled_back() -> Stage:
    stage = baking()
    stage.accuracy = BAD
    stage.play(120, tick=60)
    return stage


def nodes_failed() -> Stage:
    stage = plant()
    stage.failing = set(stage.nodes)
    stage.play(60, tick=60)
    return stage


def promoted() -> Stage:
    stage = awaiting_approval()
    stage.annotate("promote", "go")
    stage.play(7200, tick=60)
    return stage


def fully_promoted() -> Stage:
    stage = baking()
    stage.annotate("promote", "full-now")
    stage.reconcile()
    return stage


SCENES: Mapping[str, tuple[str, Callable[[], Stage]]] = {
    "updating": ("NodesUpdating", updating),
    "baking": ("Baking", baking),
    "without-data": ("AnalysisInconclusive", without_data),
    "awaiting-approval": ("AwaitingApproval", awaiting_approval),
    "paused": ("Paused", paused),
    "rolled-back": ("RolledBack", rolled_back),
    "nodes-failed": ("RolledBack", nodes_failed),
    "promoted": ("StragglersPending", promoted),
    "fully-promoted": ("NodesUpdating", fully_promoted),
}
"""Each scene with the reason that the planner gives."""
