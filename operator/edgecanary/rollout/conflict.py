"""Two Rollouts that name the same EdgeModel: the older one has it."""

from datetime import UTC, datetime

from edgecanary.rollout.snapshot import Rival, Snapshot

_ALWAYS_THERE = datetime(1, 1, 1, tzinfo=UTC)


def winner(snapshot: Snapshot) -> Rival | None:
    """The Rollout that has the model instead of this one, or None when this one has it."""
    meta = snapshot.rollout.metadata
    own = _age(Rival(meta.name, meta.uid, meta.creation_timestamp))
    older = [rival for rival in snapshot.rivals if rival.uid != meta.uid and _age(rival) < own]
    return min(older, key=_age, default=None)


def _age(rival: Rival) -> tuple[datetime, str]:
    return rival.created or _ALWAYS_THERE, rival.uid
