"""The steps of a Rollout as a person climbs them with it: which are done, where it stands, what is ahead."""

from datetime import datetime, timedelta
from enum import StrEnum

from edgecanary.api.fields import ApiModel
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import Decided, Rollout, Step
from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.explain import step_title


class Rung(StrEnum):
    """What became of a step."""

    DONE = "Done"
    SKIPPED = "Skipped"
    """A full promotion or a return went past it."""
    CURRENT = "Current"
    HELD = "Held"
    """The rollout is in it, and a person decides: approval, a pause, a failed gate, a deadline."""
    FAILED = "Failed"
    """The revision was taken back in it."""
    AHEAD = "Ahead"
    IDLE = "Idle"
    """Nothing is being rolled out."""


HELD_REASONS = frozenset({"AwaitingApproval", "AwaitingRollback", "DeadlineExceeded", "Paused"})


class StepPicture(ApiModel):
    """One step. `began` is known of the steps of an attempt that gates judge."""

    name: str
    share: str
    bake_seconds: int
    approval: Decided
    rung: Rung
    began: datetime | None = None
    bake_until: datetime | None = None
    approved: datetime | None = None


def picture_steps(rollout: Rollout) -> tuple[StepPicture, ...]:
    """Each step with what became of it."""
    steps = rollout.spec.strategy.steps
    return tuple(_picture(rollout, position, step) for position, step in enumerate(steps))


def _picture(rollout: Rollout, position: int, step: Step) -> StepPicture:
    current = rollout.status.step
    here = current is not None and current.index == position
    return StepPicture(
        name=step.name,
        share=f"{step.percent} %"
        if step.percent
        else f"{step.nodes} node" + ("" if step.nodes == 1 else "s"),
        bake_seconds=step.bake_seconds,
        approval=step.approval,
        rung=_rung(rollout, position),
        began=current.start_time if current and here else _began(rollout, position),
        bake_until=_bake_until(rollout, step) if here else None,
        approved=current.approved_time if current and here else None,
    )


def _rung(rollout: Rollout, position: int) -> Rung:
    current = rollout.status.step
    if current is None:
        return _after_the_end(rollout, position)
    if position > current.index:
        return Rung.AHEAD
    if position < current.index:
        return Rung.SKIPPED if current.skips_gates and _began(rollout, position) is None else Rung.DONE
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    return Rung.HELD if ready is not None and ready.reason in HELD_REASONS else Rung.CURRENT


def _after_the_end(rollout: Rollout, position: int) -> Rung:
    """While nothing rolls: all steps are done after a promotion, and one failed after a rollback."""
    status = rollout.status
    ready = find_condition(status.conditions, ConditionType.READY)
    if ready is None or status.canary is not None:
        return Rung.IDLE
    if ready.reason == "RolledBack":
        return _after_a_rollback(rollout, position, ready.message)
    last = status.history[-1] if status.history else None
    promoted = last is not None and last.outcome is HistoryOutcome.PROMOTED
    return Rung.DONE if ready.status == "True" and promoted else Rung.IDLE


def _after_a_rollback(rollout: Rollout, position: int, message: str) -> Rung:
    """The rejection's message begins with the step in which it was decided."""
    steps = rollout.spec.strategy.steps
    failed = next((i for i in range(len(steps)) if step_title(steps, i) in message), None)
    if failed is None:
        return Rung.IDLE
    return Rung.FAILED if position == failed else Rung.DONE if position < failed else Rung.IDLE


def _began(rollout: Rollout, position: int) -> datetime | None:
    """When an earlier step of the attempt began, where that is known."""
    analysis, current = rollout.status.analysis, rollout.status.step
    times = analysis.step_times if analysis else ()
    if current is None or not times:
        return None
    # A promotion past all gates entered the last step from wherever it was: the last time is that step's.
    jumped = current.skips_gates and current.index + 1 != len(times)
    known = times[:-1] if jumped else times if current.index + 1 == len(times) else ()
    return known[position] if position < len(known) else None


def _bake_until(rollout: Rollout, step: Step) -> datetime | None:
    """When the bake of the current step ends; a promotion ends it at once."""
    current = rollout.status.step
    if current is None or current.bake_start_time is None or current.skips_gates:
        return None
    if current.approved_time is not None:
        return max(current.approved_time, current.bake_start_time)
    return current.bake_start_time + timedelta(seconds=step.bake_seconds)
