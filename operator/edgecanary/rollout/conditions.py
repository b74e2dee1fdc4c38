"""Conditions as kstatus reads them: Ready always, Reconciling and Stalled only while True."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edgecanary.api.fields import clip
from edgecanary.api.meta import Condition, ConditionType

ReadyStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Situation:
    """What is to be said of an object.

    `stalled` is the reason of the Stalled condition, or None; likewise `reconciling` is whether
    work goes on by itself or waits for something that is expected to come. `until` is when time alone ends it.
    """

    ready: ReadyStatus
    reason: str
    message: str
    reconciling: bool = False
    stalled: str | None = None
    until: datetime | None = None


def working(reason: str, message: str, *, until: datetime | None = None) -> Situation:
    """Work goes on, or waits for something that is expected to come."""
    return Situation("Unknown", reason, message, reconciling=True, until=until)


def stuck(reason: str, message: str, *, stalled: str | None = None) -> Situation:
    """Nothing goes on until a person changes something."""
    return Situation("False", reason, message, stalled=stalled or reason)


def done(reason: str, message: str) -> Situation:
    """What was asked for is reached."""
    return Situation("True", reason, message)


def build_conditions(
    current: Sequence[Condition], situation: Situation, *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions that say the situation; transition times stay while a status stays."""
    message = clip(situation.message)
    wanted: list[tuple[ConditionType, ReadyStatus, str]] = [
        (ConditionType.READY, situation.ready, situation.reason)
    ]
    if situation.reconciling:
        wanted.append((ConditionType.RECONCILING, "True", situation.reason))
    if situation.stalled is not None:
        wanted.append((ConditionType.STALLED, "True", situation.stalled))
    return tuple(
        Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=_since(current, kind, status) or now,
        )
        for kind, status, reason in wanted
    )


def _since(current: Sequence[Condition], kind: ConditionType, status: ReadyStatus) -> datetime | None:
    """Since when the condition has had the status; None when it has another one or is not there."""
    condition = find_condition(current, kind)
    return condition.last_transition_time if condition and condition.status == status else None


def find_condition(conditions: Sequence[Condition], kind: ConditionType) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Sequence[Condition], kind: ConditionType) -> bool:
    """Whether the condition is there and True."""
    condition = find_condition(conditions, kind)
    return condition is not None and condition.status == "True"
