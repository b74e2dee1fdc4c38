"""What simulated work leaves in a node's record, as the agent's own steps do."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from edgecanary.agent.orders import active, reverted
from edgecanary.agent.record import Outcome, Record, Rejection, Target, Verdict
from edgecanary.agent.timing import gate
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.policy import UpdateWindow
from edgecanary.rollout.windows import opening


@dataclass(frozen=True)
class Delayed:
    """Why work has to wait; without `retry` only another order ends it."""

    verdict: Verdict
    retry: bool = True

    def outcome(self, record: Record, now: datetime) -> Outcome:
        """What there is to report meanwhile."""
        target = record.target
        return Outcome(
            desired=target.revision if target else record.active,
            state=ModelState.PENDING,
            result=self.verdict.result,
            reason=self.verdict.reason,
            message=self.verdict.message,
            attempt=target.attempt if target else 0,
            sequence=record.sequence,
            transition_time=now,
        )


def delayed(result: ModelResult, reason: str, message: str, *, retry: bool = True) -> Delayed:
    """Why work has to wait."""
    return Delayed(Verdict(result=result, reason=reason, message=message), retry=retry)


def committed(record: Record, target: Target, now: datetime) -> Record:
    """The record once the target has become the active revision for good."""
    outcome = active(target, sequence=record.sequence, now=now)
    previous = record.active if record.active != target.revision else record.previous
    changes = {"active": target.revision, "previous": previous, "target": None, "outcome": outcome}
    return record.model_copy(update=changes)


def rolled_back(record: Record, target: Target, now: datetime) -> Record:
    """The record once the active revision serves again; a target that failed is rejected on this node."""
    after = record.model_copy(update={"target": None})
    if target.verdict is None:
        return after
    back = f"{record.active[:12]} is active again" if record.active else "nothing is served"
    told = target.verdict.model_copy(update={"message": f"{target.verdict.message}; {back}"})
    after = after.rejecting(
        Rejection(revision=target.revision, attempt=target.attempt, verdict=told, time=now)
    )
    outcome = reverted(target.revision, after.rejected[-1], sequence=record.sequence)
    return after.model_copy(update={"outcome": outcome})


def withdrawn(record: Record) -> Record:
    """The record once the model is not served any more."""
    changes = {"active": None, "previous": record.active or record.previous, "target": None}
    return record.model_copy(update=changes)


class Calendar:
    """How long nodes wait for an update window. The answer of one moment serves all nodes that ask about then."""

    def __init__(self) -> None:
        self._windows: tuple[UpdateWindow, ...] = ()
        self._open = True
        self._known: tuple[datetime, datetime] | None = None

    def wait(self, windows: tuple[UpdateWindow, ...], now: datetime) -> float:
        """Seconds from `now`, by the node's clock, until a window is open; 0 while one is."""
        if not windows:
            return 0.0
        known = self._known
        if known is None or windows != self._windows or not known[0] <= now < known[1]:
            known = self._look(windows, now)
        return 0.0 if self._open else max(0.001, (known[1] - now).total_seconds())

    def _look(self, windows: tuple[UpdateWindow, ...], now: datetime) -> tuple[datetime, datetime]:
        before, self._open = self._known, gate(windows, now, None).open
        zoned = [(window, ZoneInfo(window.time_zone)) for window in windows]
        until = opening(zoned, now).changes_at or now
        same = before is not None and windows == self._windows and before[1] == until
        since = min(now, before[0]) if same and before is not None else now
        self._windows, self._known = windows, (since, until)
        return since, until
