"""Which step a canary stands in: after an edit, after a lost write, after a deleted release."""

from dataclasses import dataclass

from edgecanary.api.modelrelease import CanaryStatement
from edgecanary.api.rollout import Step
from edgecanary.api.rollout_status import StepStatus
from edgecanary.rollout.attempt import Attempt


@dataclass(frozen=True)
class Place:
    """A step, and its status so far; None when the canary enters it only now."""

    position: int
    known: StepStatus | None


def locate(attempt: Attempt, canary: CanaryStatement) -> Place:
    """Where the canary stands.

    The release is written before the status. A release that is a step ahead is right: the operator was stopped
    between the two. Otherwise the status is right, and steps are known by their names: an edit may have moved or
    removed the one it names.
    """
    context = attempt.context
    steps, status = context.spec.strategy.steps, context.status.step
    if status is None or not context.knows(canary):
        return Place(min(canary.step, len(steps) - 1), None)
    ahead = status.index < canary.step < len(steps)
    if ahead and steps[canary.step].name != status.name:
        return Place(canary.step, None)
    position = position_of(steps, status.name)
    if position is None:
        return Place(attempt.widest_enough(), None)
    return Place(position, status)


def position_of(steps: tuple[Step, ...], name: str) -> int | None:
    """The position of the step with that name, or None."""
    return next((position for position, step in enumerate(steps) if step.name == name), None)
