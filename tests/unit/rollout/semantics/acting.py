"""A rollout on whose first step people act."""

from tests.unit.rollout.fleet_play import Stage, model

V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)
STEPS = [
    {"name": "first", "nodes": 1, "bakeSeconds": 600},
    {"name": "half", "percent": 50, "bakeSeconds": 600, "approval": "Manual"},
    {"name": "all", "percent": 100, "bakeSeconds": 600},
]
NOWHERE = {"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}


def fleet(**spec: object) -> Stage:
    wanted: dict[str, object] = {"strategy": {"steps": STEPS}, **spec}
    return Stage.with_nodes(12, None, **wanted).promoted_at_once()


def rolling(**spec: object) -> Stage:
    stage = fleet(**spec)
    stage.model = V2
    stage.play(60)
    assert (stage.reason, stage.step()) == ("Baking", "first"), stage.message
    return stage


def offline(stage: Stage) -> None:
    for name in stage.nodes:
        stage.set_online(name, online=False)
