"""Objects in the states that the real planner and the real conditions make."""

from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from typing import cast

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.rollout.conditions import Situation, build_conditions, working
from tests.unit.rollout.fleet_play import Stage, model
from tests.unit.rollout.semantics.test_status import STATES, rolling

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def served(obj: Rollout | EdgeModel, **metadata: object) -> JsonObject:
    """The object as the API server gives it."""
    body = obj.to_json()
    given = {"uid": "u-1", "resourceVersion": "1042", "annotations": {}, **metadata}
    body["metadata"] = {**cast("JsonObject", body["metadata"]), **cast("JsonObject", given)}
    return body


def staged(stage: Stage) -> JsonObject:
    """The stage's Rollout."""
    return served(stage.rollout)


def stage_in(reason: str) -> Stage:
    """A stage of the caller's own whose Rollout's Ready condition has the reason, as the planner came to it."""
    return deepcopy(_reached(reason))


@cache
def _reached(reason: str) -> Stage:
    if reason == "Progressing":
        return _between_steps()
    stage = STATES[reason].reach()
    assert stage.reason == reason, stage.message
    return stage


def rollout_in(reason: str) -> JsonObject:
    """A Rollout whose Ready condition has the reason, as the planner came to it."""
    return staged(_reached(reason))


def _between_steps() -> Stage:
    """The moment between two steps, which the planner passes within one look; said by its own words."""
    stage = rolling()
    found = build_conditions(
        stage.status.conditions, working("Progressing", "step 1/2 first: complete"), generation=1, now=NOW
    )
    status = stage.status.model_copy(update={"conditions": found})
    stage.rollout = stage.rollout.model_copy(update={"status": status})
    return stage


def edge_model(situation: Situation) -> JsonObject:
    """An EdgeModel of which the operator says this."""
    plain = model("1.0.0", generation=3)
    found = build_conditions((), situation, generation=3, now=NOW)
    status = plain.status.model_copy(update={"observed_generation": 3, "conditions": found})
    return served(plain.model_copy(update={"status": status}))
