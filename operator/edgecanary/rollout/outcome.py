"""What was decided, before it is written out as a release and a status."""

from dataclasses import dataclass, replace
from datetime import datetime

from edgecanary.api.meta import Condition, ConditionType
from edgecanary.api.modelrelease import (
    CanaryStatement,
    ModelReleaseSpec,
    Otherwise,
    RejectedRevision,
    RevisionStatement,
)
from edgecanary.api.rollout import RolloutSpec
from edgecanary.api.rollout_status import (
    AnalysisStatus,
    HistoryEntry,
    NodeCounts,
    RolloutStatus,
    StepStatus,
)
from edgecanary.rollout.conditions import Situation, build_conditions, find_condition
from edgecanary.rollout.context import Context
from edgecanary.rollout.snapshot import Plan, PlannedEvent
from edgecanary.rollout.statement import reference
from edgecanary.rollout.waiting import waiting

KEPT_HISTORY = 10
KEPT_REJECTED = 32
WAITING_REASONS = frozenset(
    {
        "AddressRefused",
        "AnalysisInconclusive",
        "AwaitingApproval",
        "AwaitingRollback",
        "DeadlineExceeded",
        "GrantsUnreadable",
        "HostInvalid",
        "InvalidSpec",
        "ModelConflict",
        "ModelInvalid",
        "ModelNotFound",
        "NoMatchingNodes",
        "NodesOffline",
        "NotGranted",
        "Paused",
        "StableLost",
        "TooManyStrata",
    }
)
"""Reasons that a person would ask about: coming into one of them is an Event."""


@dataclass(frozen=True)
class Release:
    """Who is stable and canary now. `keys` and `salt` are the canary's: its strata and the order of its nodes."""

    stable: RevisionStatement | None
    canary: CanaryStatement | None = None
    keys: tuple[str, ...] = ()
    salt: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was decided: who runs what, where the rollout stands, what to say."""

    situation: Situation
    counts: NodeCounts
    release: Release
    rejected: tuple[RejectedRevision, ...] = ()
    step: StepStatus | None = None
    analysis: AnalysisStatus | None = None
    start_time: datetime | None = None
    ended: tuple[HistoryEntry, ...] = ()
    events: tuple[PlannedEvent, ...] = ()
    requeue_seconds: float | None = None

    def saying(self, *events: PlannedEvent) -> "Outcome":
        """The outcome with more Events."""
        return replace(self, events=self.events + events)


def to_plan(context: Context, outcome: Outcome) -> Plan:
    """The decision as the wanted release and status."""
    situation = _with_waiting_actions(context, outcome.situation)
    return Plan(
        release=_release(context, outcome),
        status=_status(context, replace(outcome, situation=situation)),
        events=outcome.events + _waiting_event(context, situation),
        requeue_seconds=outcome.requeue_seconds,
    )


def hold(
    context: Context,
    situation: Situation,
    *,
    rejected: RejectedRevision | None = None,
    ended: tuple[HistoryEntry, ...] = (),
    events: tuple[PlannedEvent, ...] = (),
) -> Plan:
    """Leaves the release and where the rollout stands as they are and says why.

    A canary that was `rejected` all the same is no longer one.
    """
    situation = _with_waiting_actions(context, situation)
    before = context.status
    changes: dict[str, object] = {
        "observed_generation": context.snapshot.rollout.metadata.generation,
        "conditions": _conditions(context, situation),
        "waiting": waiting(before.waiting, situation, steps=(before.step, before.step), now=context.now),
        "actions": context.actions.tokens,
    }
    if rejected is not None:
        others = (entry for entry in context.rejected if entry.revision != rejected.revision)
        changes |= {"canary": None, "attempt": 0, "step": None, "start_time": None}
        changes |= {"rejected": (*others, rejected)[-KEPT_REJECTED:], "history": _history(context, ended)}
    status = before.model_copy(update=changes)
    return Plan(release=None, status=status, events=events + _waiting_event(context, situation))


def _release(context: Context, outcome: Outcome) -> ModelReleaseSpec | None:
    """The wanted release; None before there is anything to release of the model."""
    current, wanted = context.snapshot.release, outcome.release
    if context.release is None and wanted.stable is None and wanted.canary is None:
        return None
    spec = context.spec
    policy: RolloutSpec | ModelReleaseSpec = spec if context.sound or current is None else current.spec
    keys = spec.strategy.stratify_by if policy is spec or current is None else current.spec.stratify_by
    return ModelReleaseSpec(
        model=spec.model_ref.name,
        sequence=current.spec.sequence if current else 1,
        stable=wanted.stable,
        canary=wanted.canary,
        otherwise=Otherwise.KEEP if wanted.stable is None else Otherwise.WITHDRAW,
        yields=context.winner is not None,
        rejected=outcome.rejected[-KEPT_REJECTED:],
        node_selector=policy.node_selector,
        stratify_by=wanted.keys if wanted.canary else keys,
        salt=wanted.salt if wanted.canary else current.spec.salt if current else "",
        update_windows=policy.update_windows,
        health=policy.health,
        priority=policy.priority,
    )


def _status(context: Context, outcome: Outcome) -> RolloutStatus:
    before, wanted = context.status, outcome.release
    return RolloutStatus(
        observed_generation=context.snapshot.rollout.metadata.generation,
        conditions=_conditions(context, outcome.situation),
        stable=reference(wanted.stable) if wanted.stable else None,
        canary=reference(wanted.canary) if wanted.canary else None,
        attempt=wanted.canary.attempt if wanted.canary else 0,
        start_time=outcome.start_time,
        step=outcome.step,
        waiting=waiting(
            before.waiting, outcome.situation, steps=(before.step, outcome.step), now=context.now
        ),
        nodes=outcome.counts,
        analysis=outcome.analysis,
        rejected=outcome.rejected[-KEPT_REJECTED:],
        history=_history(context, outcome.ended),
        actions=context.actions.tokens,
    )


def _history(context: Context, ended: tuple[HistoryEntry, ...]) -> tuple[HistoryEntry, ...]:
    return (*context.status.history, *ended)[-KEPT_HISTORY:]


def _conditions(context: Context, situation: Situation) -> tuple[Condition, ...]:
    return build_conditions(
        context.status.conditions,
        situation,
        generation=context.snapshot.rollout.metadata.generation,
        now=context.now,
    )


def _with_waiting_actions(context: Context, situation: Situation) -> Situation:
    """The situation, naming the actions whose tokens wait for its end."""
    if not context.actions.waiting:
        return situation
    names = " and ".join(context.actions.waiting)
    cause = "this is over" if context.obstacle or context.winner else "spec.paused is false"
    return replace(situation, message=f"{situation.message}; {names} acts once {cause}")


def _waiting_event(context: Context, situation: Situation) -> tuple[PlannedEvent, ...]:
    before = find_condition(context.status.conditions, ConditionType.READY)
    if situation.reason not in WAITING_REASONS or (before and before.reason == situation.reason):
        return ()
    return (PlannedEvent(situation.reason, situation.message, warning=situation.reason != "Paused"),)
