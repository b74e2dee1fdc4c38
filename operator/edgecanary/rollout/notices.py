"""What a webhook is told of a Rollout: derived from its status alone, so that any replica derives the same.

A notice's id is made from what it is about. Whoever tells it again, after a restart or as the next leader, uses the
same id, and a receiver can drop what it knows.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.meta import ConditionType
from edgecanary.api.notice import NoticeData, NoticeStep, NoticeType
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import (
    HistoryEntry,
    HistoryOutcome,
    RevisionReference,
    RolloutStatus,
    Waiting,
)
from edgecanary.rollout.conditions import find_condition

KEPT_IDS = 32

_ENDS = {
    HistoryOutcome.PROMOTED: NoticeType.PROMOTED,
    HistoryOutcome.ROLLED_BACK: NoticeType.ROLLED_BACK,
    HistoryOutcome.ABORTED: NoticeType.ROLLED_BACK,
}
_WAITS = {
    "AwaitingApproval": NoticeType.APPROVAL_NEEDED,
    "AwaitingRollback": NoticeType.PAUSED,
    "DeadlineExceeded": NoticeType.PAUSED,
    "Paused": NoticeType.PAUSED,
    "InvalidSpec": NoticeType.STALLED,
    "ModelConflict": NoticeType.STALLED,
    "ModelInvalid": NoticeType.STALLED,
    "ModelNotFound": NoticeType.STALLED,
    "StableLost": NoticeType.STALLED,
    "TooManyStrata": NoticeType.STALLED,
}
_ONCE_A_STEP = frozenset({"AwaitingApproval", "AwaitingRollback", "DeadlineExceeded"})
"""A step may come into these again and again, such as when a gate lacks data for a moment: told once."""


@dataclass(frozen=True)
class Notice:
    """One thing to tell. `time` is when it happened."""

    id: str
    type: NoticeType
    time: datetime
    data: NoticeData


def notices(rollout: Rollout) -> tuple[Notice, ...]:
    """All that could be told of the Rollout as it is, the oldest first."""
    found = [*_ends(rollout), *_waits(rollout)]
    return tuple(sorted(found, key=lambda notice: notice.time))


def untold(rollout: Rollout, told: Iterable[str] = ()) -> tuple[Notice, ...]:
    """What is still to be told; nothing before the status says from when on things are told.

    `told` are further ids that were told and that the status does not have yet.
    """
    known = rollout.status.notified
    if known is None:
        return ()
    done = {*known, *told}
    return tuple(notice for notice in notices(rollout) if notice.id not in done)


def with_notified(before: Rollout, status: RolloutStatus, told: Iterable[str]) -> RolloutStatus:
    """The next status with what was told: `told` added to what `before` has.

    Where nothing was ever told, what happened up to now counts as told. What can no longer be told is forgotten,
    but for the newest.
    """
    known = before.status.notified
    start = tuple(notice.id for notice in notices(before)) if known is None else known
    done = tuple(dict.fromkeys((*start, *sorted(set(told) - set(start)))))
    if len(done) > KEPT_IDS:
        wanted = {notice.id for notice in notices(before.model_copy(update={"status": status}))}
        others = [each for each in done if each not in wanted]
        dropped = set(others[: len(done) - KEPT_IDS])
        done = tuple(each for each in done if each not in dropped)
    return status.model_copy(update={"notified": done})


def _ends(rollout: Rollout) -> Iterator[Notice]:
    for entry in rollout.status.history:
        kind = _ENDS.get(entry.outcome)
        if kind is None:
            continue
        own = (entry.revision, entry.attempt, entry.outcome, _stamp(entry.end_time))
        data = _data(
            rollout,
            reason=entry.reason or entry.outcome.value,
            message=_why(rollout.status, entry),
            revision=RevisionReference(revision=entry.revision, version=entry.version),
            attempt=entry.attempt,
            start_time=entry.start_time,
        )
        yield Notice(_id(rollout, kind, *own), kind, entry.end_time, data)


def _waits(rollout: Rollout) -> Iterator[Notice]:
    status = rollout.status
    waiting = status.waiting
    kind = _WAITS.get(waiting.reason) if waiting else None
    if waiting is None or kind is None:
        return
    ready = find_condition(status.conditions, ConditionType.READY)
    data = _data(
        rollout,
        reason=waiting.reason,
        message=ready.message if ready else waiting.ends_with,
        revision=status.canary,
        attempt=status.attempt or None,
        step=NoticeStep(index=status.step.index, name=status.step.name) if status.step else None,
        start_time=status.start_time,
        nodes=status.nodes,
    )
    yield Notice(_id(rollout, kind, waiting.reason, *_occasion(status, waiting)), kind, waiting.since, data)


def _occasion(status: RolloutStatus, waiting: Waiting) -> tuple[object, ...]:
    """What makes one wait another one than the last."""
    step, canary = status.step, status.canary
    if waiting.reason not in _ONCE_A_STEP or step is None or canary is None:
        return (_stamp(waiting.since),)
    return (canary.revision, status.attempt, step.name, _stamp(step.approved_time))


def _data(rollout: Rollout, **more: object) -> NoticeData:
    meta = rollout.metadata
    return NoticeData.model_validate(
        {
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "model": rollout.spec.model_ref.name,
            "stable": rollout.status.stable,
            **more,
        }
    )


def _why(status: RolloutStatus, entry: HistoryEntry) -> str:
    """For a person; for a revision that was taken back and is still rejected for it, what that rests on."""
    version = entry.version or entry.revision[:12]
    if entry.outcome is HistoryOutcome.PROMOTED:
        return f"{version} is stable now"
    found = (r for r in status.rejected if (r.revision, r.attempt) == (entry.revision, entry.attempt))
    return next((rejected.message for rejected in found), f"{version} was taken back")


def _id(rollout: Rollout, kind: NoticeType, *parts: object) -> str:
    words = "\n".join(str(part) for part in (rollout.metadata.uid, kind.value, *parts))
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
