"""What a script waits for, and whether a Rollout is there, can still come there, or has ended otherwise."""

import re
from dataclasses import dataclass
from enum import StrEnum

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.conditions import find_condition

_CONDITION = re.compile(r"^(?P<type>[A-Za-z][A-Za-z0-9./-]*)(?:=(?P<status>[A-Za-z]+))?$")
_STATUSES = {"true": "True", "false": "False", "unknown": "Unknown"}


class GoalKind(StrEnum):
    """What can be waited for."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolledback"
    STEP = "step"
    HEALTHY = "healthy"
    CONDITION = "condition"


@dataclass(frozen=True)
class Goal:
    """What is waited for: of a step its name, of a condition its type and status."""

    kind: GoalKind
    name: str = ""
    status: str = "True"

    def __str__(self) -> str:
        if self.kind is GoalKind.CONDITION:
            return f"condition={self.name}={self.status}"
        return f"step={self.name}" if self.kind is GoalKind.STEP else self.kind.value


class Reach(StrEnum):
    """Where a Rollout is with respect to a goal."""

    MET = "Met"
    NOT_YET = "NotYet"
    MISSED = "Missed"
    """It ended otherwise: waiting longer does not help."""


@dataclass(frozen=True)
class Look:
    """What one look found, in words."""

    reach: Reach
    message: str


def parse_goal(text: str) -> Goal:
    """The goal that the text names. Raises InvalidInput."""
    word, _, argument = text.partition("=")
    if word in (GoalKind.PROMOTED, GoalKind.ROLLED_BACK, GoalKind.HEALTHY) and not argument:
        return Goal(GoalKind(word))
    if word == GoalKind.STEP and argument:
        return Goal(GoalKind.STEP, argument)
    match = _CONDITION.match(argument) if word == GoalKind.CONDITION else None
    status = _STATUSES.get((match["status"] or "True").lower()) if match else None
    if match is None or status is None:
        rule = "must be promoted, rolledback, healthy, step=NAME or condition=TYPE[=True|False|Unknown]"
        raise InvalidInput("--for", f"{rule}, got {text!r}", reason="InvalidSetting")
    return Goal(GoalKind.CONDITION, match["type"], status)


def look(goal: Goal, rollout: Rollout, model: EdgeModel | None = None) -> Look:
    """Whether the Rollout is where the goal says.

    `model` is the EdgeModel as it is now: what it declares must have been looked at. None: it is not known, and
    what the operator saw last counts. Raises InvalidInput for a step that the Rollout does not have.
    """
    if goal.kind is GoalKind.CONDITION:
        return _look_at_condition(goal, rollout)
    position = _position(goal, rollout)
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    if ready is None or (behind := _behind(rollout, model)) is not None:
        return Look(Reach.NOT_YET, "the operator has not looked at it yet" if ready is None else str(behind))
    said = f"{ready.reason}: {ready.message}"
    if ready.status == "True":
        return Look(Reach.MISSED if goal.kind is GoalKind.ROLLED_BACK else Reach.MET, said)
    if ready.status == "False":
        back = goal.kind is GoalKind.ROLLED_BACK and ready.reason == "RolledBack"
        return Look(Reach.MET if back else Reach.MISSED, said)
    step = rollout.status.step
    if position is not None and step is not None and step.index >= position:
        return Look(Reach.MET, f"step {step.display or step.name}: {said}")
    return Look(Reach.NOT_YET, said)


def _look_at_condition(goal: Goal, rollout: Rollout) -> Look:
    """A condition that is absent is False: Reconciling and Stalled are there only while True."""
    if rollout.status.observed_generation < rollout.metadata.generation:
        return Look(Reach.NOT_YET, "the operator has not looked at the last change of the spec yet")
    found = next((c for c in rollout.status.conditions if c.type.lower() == goal.name.lower()), None)
    status = found.status if found else "False"
    said = f"{goal.name} is {status}" + (f" ({found.reason}: {found.message})" if found else "")
    return Look(Reach.MET if status == goal.status else Reach.NOT_YET, said)


def _position(goal: Goal, rollout: Rollout) -> int | None:
    """The position of the step that the goal names."""
    if goal.kind is not GoalKind.STEP:
        return None
    names = [step.name for step in rollout.spec.strategy.steps]
    if goal.name not in names:
        rule = f"must be a step of the Rollout ({', '.join(names)}), got {goal.name!r}"
        raise InvalidInput("--for", rule, reason="InvalidSetting")
    return names.index(goal.name)


def _behind(rollout: Rollout, model: EdgeModel | None) -> str | None:
    """What the status does not know of yet, or None."""
    status = rollout.status
    if status.observed_generation < rollout.metadata.generation:
        return "the operator has not looked at the last change of the spec yet"
    if model is None:
        return None
    name, seen = model.metadata.name, model.status
    if seen.observed_generation < model.metadata.generation:
        return f"EdgeModel {name} is being checked"
    if seen.revision and not _has_taken_up(rollout, seen.revision):
        return f"the operator has not taken up {model.spec.version} of EdgeModel {name} yet"
    return None


def _has_taken_up(rollout: Rollout, revision: str) -> bool:
    """Whether the Ready condition is about the revision that the EdgeModel declares."""
    status = rollout.status
    ready = find_condition(status.conditions, ConditionType.READY)
    if ready is not None and ready.status == "True":
        return status.stable is not None and status.stable.revision == revision
    if ready is not None and ready.reason == "RolledBack":
        return any(entry.revision == revision for entry in status.rejected)
    if ready is not None and ready.status == "False":
        return True
    return status.canary is None or status.canary.revision == revision
