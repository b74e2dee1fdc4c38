"""The rollback window: revisions that the fleet may return to at once, since they were promoted before."""

from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome
from edgecanary.rollout.context import Context

_BECAME_STABLE = (HistoryOutcome.PROMOTED, HistoryOutcome.ADOPTED)


def returns(context: Context, revision: str) -> bool:
    """Whether the revision is one of the last promoted ones before the stable one, and not rejected."""
    if context.stable is None or context.rejection(revision) is not None:
        return False
    before = earlier(context.status.history, context.stable.revision)
    return revision in before[: context.spec.strategy.rollback_window_revisions]


def earlier(history: tuple[HistoryEntry, ...], stable: str) -> tuple[str, ...]:
    """The revisions that were stable before `stable`, the newest first, each once."""
    found = [entry.revision for entry in reversed(history) if entry.outcome in _BECAME_STABLE]
    return tuple(revision for revision in dict.fromkeys(found) if revision != stable)
