"""What a person may ask of a Rollout in the state that it is in, before it is asked.

The operator uses up a token that finds nothing to act on, and lets one wait that cannot act yet. A person is told
at once instead.
"""

from dataclasses import dataclass
from enum import StrEnum

from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import ABORT_ANNOTATION, PROMOTE_ANNOTATION, RETRY_ANNOTATION, Rollout
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.actions import is_full
from edgecanary.rollout.conditions import find_condition

_OBSTACLES = frozenset(
    {
        "InvalidSpec",
        "ModelConflict",
        "ModelInvalid",
        "ModelNotFound",
        "ModelPending",
        "StableLost",
        "TooManyStrata",
    }
)
"""Reasons with which promote and retry wait."""


class Ask(StrEnum):
    """What a person asks for by a token."""

    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"

    @property
    def annotation(self) -> str:
        """The annotation that carries the token."""
        return _ANNOTATIONS[self]


_ANNOTATIONS = {Ask.PROMOTE: PROMOTE_ANNOTATION, Ask.ABORT: ABORT_ANNOTATION, Ask.RETRY: RETRY_ANNOTATION}


@dataclass(frozen=True)
class Refusal:
    """Why asking for it means nothing now, and what would."""

    reason: str
    message: str


def refusal(rollout: Rollout, ask: Ask, *, full: bool = False) -> Refusal | None:
    """Why the action would do nothing now; None when it does something. `full` promotes past all gates."""
    if rollout.metadata.deletion_timestamp is not None:
        return Refusal("BeingDeleted", "the Rollout is being deleted")
    if rollout.status.observed_generation < 0:
        text = "no operator has looked at it yet, and tokens that are there at its first look do nothing"
        return Refusal("NotObserved", f"{text}; check that one runs and serves the namespace")
    if ask is Ask.ABORT:
        return _no_abort(rollout)
    if (obstacle := _obstacle(rollout, ask)) is not None:
        return obstacle
    return _no_retry(rollout) if ask is Ask.RETRY else _no_promotion(rollout, full=full)


def handled(rollout: Rollout, ask: Ask, token: str) -> bool:
    """Whether the operator has acted on the token."""
    return handled_token(rollout, ask) == token


def handled_token(rollout: Rollout, ask: Ask) -> str | None:
    """The last token that the operator acted on."""
    actions = rollout.status.actions
    return {Ask.PROMOTE: actions.promote, Ask.ABORT: actions.abort, Ask.RETRY: actions.retry}[ask]


def pending_token(rollout: Rollout, ask: Ask, *, full: bool = False) -> str | None:
    """A token that asks for the same and that the operator has not acted on yet."""
    token = rollout.metadata.annotations.get(ask.annotation)
    if not token or handled(rollout, ask, token) or (full and not is_full(token)):
        return None
    return token


def _reason(rollout: Rollout) -> str:
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    return ready.reason if ready else ""


def _message(rollout: Rollout) -> str:
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    return ready.message if ready else ""


def _obstacle(rollout: Rollout, ask: Ask) -> Refusal | None:
    reason = _reason(rollout)
    if reason not in _OBSTACLES:
        return None
    return Refusal(reason, f"{ask} cannot act before this is over: {_message(rollout)}")


def _idle(rollout: Rollout, action: str) -> str:
    stable = rollout.status.stable
    runs = f"; {stable.version or stable.revision[:12]} is stable" if stable else ""
    return f"nothing is being rolled out, so there is nothing to {action}{runs}"


def _no_abort(rollout: Rollout) -> Refusal | None:
    if rollout.status.canary is not None:
        return None
    return Refusal("NothingToAbort", _idle(rollout, "abort"))


def _no_retry(rollout: Rollout) -> Refusal | None:
    canary = rollout.status.canary
    if canary is not None:
        text = f"{canary.version or canary.revision[:12]} is being rolled out now (attempt {rollout.status.attempt})"
        return Refusal("NothingToRetry", f"{text}; abort takes it back")
    if _reason(rollout) != "RolledBack":
        return Refusal("NothingToRetry", f"the wanted revision is not rejected: {_message(rollout)}")
    if rollout.spec.paused:
        return Refusal("Paused", "spec.paused is true, and a retry waits for its end: resume first")
    return None


def _no_promotion(rollout: Rollout, *, full: bool) -> Refusal | None:
    status = rollout.status
    step = status.step
    if status.canary is None or step is None:
        text = _idle(rollout, "promote")
        if _reason(rollout) == "RolledBack":
            text = f"{_message(rollout)}; retry begins it anew"
        return Refusal("NothingToPromote", text)
    where = f"step {step.display or step.name}"
    if step.skips_gates:
        return Refusal(
            "NothingToPromote", f"{where} waits for no bake and no gate already, only for its nodes"
        )
    if full:
        paused = "spec.paused is true, and a full promotion waits for its end: resume first"
        return Refusal("Paused", paused) if rollout.spec.paused else None
    if _reason(rollout) == "AwaitingRollback":
        text = (
            f"{_message(rollout)}. A promotion overrides no gate: abort takes it back, promote --full goes on"
        )
        return Refusal("AwaitingRollback", text)
    if step.approved_time is not None and _reason(rollout) != "DeadlineExceeded":
        since = to_rfc3339(step.approved_time.replace(microsecond=0))
        return Refusal("NothingToPromote", f"{where} was promoted at {since}; it waits: {_message(rollout)}")
    return None
