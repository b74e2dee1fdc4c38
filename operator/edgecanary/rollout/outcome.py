"""What was decided, before it is written out as a release and a status."""

from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.meta import Condition, ConditionType
from edgecanary.api.modelrelease import CanaryStatement, ModelReleaseSpec, RejectedRevision, RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.api.rollout_status import (
    AnalysisStatus,
    HistoryEntry,
    HistoryOutcome,
    NodeCounts,
    RolloutStatus,
    StepStatus,
)
from edgecanary.rollout.conditions import Situation, build_conditions, find_condition
from edgecanary.rollout.context import Context
from edgecanary.rollout.snapshot import Plan, PlannedEvent
from edgecanary.rollout.statement import reference

KEPT_HISTORY = 10
KEPT_REJECTED = 32
WAITING_REASONS = frozenset(
    {
        "AnalysisInconclusive",
        "AwaitingApproval",
        "AwaitingRollback",
        "ComparisonUnavailable",
        "DeadlineExceeded",
        "InvalidSpec",
        "ModelInvalid",
        "ModelNotFound",
        "NoMatchingNodes",
        "NodesOffline",
        "Paused",
        "StableLost",
        "TooManyStrata",
    }
)
"""Reasons that a person would ask about: coming into one of them is an Event."""


@dataclass(frozen=True)
class Outcome:
    """What was decided: who is stable and canary now, where the rollout stands, what to say."""

    situation: Situation
    counts: NodeCounts
    stable: RevisionStatement | None
    canary: CanaryStatement | None = None
    rejected: tuple[RejectedRevision, ...] = ()
    step: StepStatus | None = None
    analysis: AnalysisStatus | None = None
    start_time: datetime | None = None
    ended: HistoryEntry | None = None
    events: tuple[PlannedEvent, ...] = ()
    requeue_seconds: float | None = None


def to_plan(context: Context, outcome: Outcome) -> Plan:
    """The decision as the wanted release and status."""
    return Plan(
        release=_release(context, outcome),
        status=_status(context, outcome),
        events=outcome.events + _waiting_event(context, outcome.situation),
        requeue_seconds=outcome.requeue_seconds,
    )


def hold(context: Context, situation: Situation) -> Plan:
    """Leaves the release and where the rollout stands as they are and says why."""
    status = context.status.model_copy(
        update={
            "observed_generation": context.snapshot.rollout.metadata.generation,
            "conditions": _conditions(context, situation),
            "actions": context.actions.tokens,
        }
    )
    return Plan(release=None, status=status, events=_waiting_event(context, situation))


def end_entry(context: Context, outcome: HistoryOutcome, reason: str) -> HistoryEntry | None:
    """The history entry for the end of the canary that the release or the status names."""
    canary = context.canary or context.status.canary
    if canary is None:
        return None
    return HistoryEntry(
        revision=canary.revision,
        version=canary.version,
        outcome=outcome,
        reason=reason,
        attempt=context.canary.attempt if context.canary else max(1, context.status.attempt),
        start_time=context.status.start_time,
        end_time=context.now,
    )


def _release(context: Context, outcome: Outcome) -> ModelReleaseSpec | None:
    """The wanted release; None before there is anything to release."""
    current = context.snapshot.release
    if current is None and outcome.stable is None and outcome.canary is None:
        return None
    spec = context.spec
    if outcome.canary is not None:
        salt = context.salt(outcome.canary.revision)
    else:
        salt = current.spec.salt if current else ""
    policy: RolloutSpec | ModelReleaseSpec = spec if context.sound or current is None else current.spec
    stratify_by = spec.strategy.stratify_by if policy is spec or current is None else current.spec.stratify_by
    return ModelReleaseSpec(
        model=spec.model_ref.name,
        sequence=current.spec.sequence if current else 1,
        stable=outcome.stable,
        canary=outcome.canary,
        rejected=outcome.rejected[-KEPT_REJECTED:],
        node_selector=policy.node_selector,
        stratify_by=stratify_by,
        salt=salt,
        update_windows=policy.update_windows,
        health=policy.health,
    )


def _status(context: Context, outcome: Outcome) -> RolloutStatus:
    history = context.status.history + ((outcome.ended,) if outcome.ended else ())
    return RolloutStatus(
        observed_generation=context.snapshot.rollout.metadata.generation,
        conditions=_conditions(context, outcome.situation),
        stable=reference(outcome.stable) if outcome.stable else None,
        canary=reference(outcome.canary) if outcome.canary else None,
        attempt=outcome.canary.attempt if outcome.canary else 0,
        start_time=outcome.start_time,
        step=outcome.step,
        nodes=outcome.counts,
        analysis=outcome.analysis,
        rejected=outcome.rejected[-KEPT_REJECTED:],
        history=history[-KEPT_HISTORY:],
        actions=context.actions.tokens,
    )


def _conditions(context: Context, situation: Situation) -> tuple[Condition, ...]:
    return build_conditions(
        context.status.conditions,
        situation,
        generation=context.snapshot.rollout.metadata.generation,
        now=context.now,
    )


def _waiting_event(context: Context, situation: Situation) -> tuple[PlannedEvent, ...]:
    before = find_condition(context.status.conditions, ConditionType.READY)
    if situation.reason not in WAITING_REASONS or (before and before.reason == situation.reason):
        return ()
    return (PlannedEvent(situation.reason, situation.message, warning=situation.reason != "Paused"),)
