"""How a revision's time as canary ends: the entries of `status.history`."""

from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome, StepStatus
from edgecanary.rollout.context import Context

ABORTED = "Aborted"


def end_entry(context: Context, outcome: HistoryOutcome, reason: str) -> tuple[HistoryEntry, ...]:
    """The entry for the end of the release's canary, and what the history lacks before it."""
    canary = context.canary
    if canary is None:
        return lagging_end(context)
    ended = HistoryEntry(
        revision=canary.revision,
        version=canary.version,
        outcome=outcome,
        reason=reason,
        attempt=canary.attempt,
        start_time=context.status.start_time if context.knows(canary) else None,
        end_time=context.now,
    )
    return (*lagging_end(context), ended)


def lagging_end(context: Context) -> tuple[HistoryEntry, ...]:
    """The end of a canary that the status still names and the release no longer does.

    The operator was stopped between the two writes; how it ended is seen from the release.
    """
    known, canary = context.status.canary, context.canary
    if known is None or (canary is not None and context.knows(canary)):
        return ()
    attempt = max(1, context.status.attempt)
    outcome, reason = _how(context, known.revision, attempt)
    ended = HistoryEntry(
        revision=known.revision,
        version=known.version,
        outcome=outcome,
        reason=reason,
        attempt=attempt,
        start_time=context.status.start_time,
        end_time=context.now,
    )
    return (ended,)


def promotion_reason(step: StepStatus | None) -> str:
    """Why a promotion in this step came about: by all steps, as a return, or because a person said so."""
    if step is None or not step.skips_gates:
        return "Promoted"
    return "Returned" if step.approved_time is None else "FullPromotion"


def _how(context: Context, revision: str, attempt: int) -> tuple[HistoryOutcome, str]:
    rejected = context.rejection(revision, attempt=attempt)
    if rejected is not None:
        aborted = rejected.reason == ABORTED
        return HistoryOutcome.ABORTED if aborted else HistoryOutcome.ROLLED_BACK, rejected.reason
    if context.release is None and context.snapshot.release is not None:
        return HistoryOutcome.WITHDRAWN, "ModelRefChanged"
    if context.release is not None and context.stable is not None and context.stable.revision == revision:
        return HistoryOutcome.PROMOTED, promotion_reason(context.status.step)
    if context.canary is not None:
        return HistoryOutcome.SUPERSEDED, "Superseded"
    return HistoryOutcome.WITHDRAWN, "ReturnedToStable"
