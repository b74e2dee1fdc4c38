"""Why a rollout stands where it does, as data: what it waits for, what each gate says, what was taken back.

All of it comes from what the operator and the agents have written: nothing is judged anew here.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from edgecanary.api.analysis import Metric, MetricMode
from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.fields import ApiModel
from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import RejectedRevision
from edgecanary.api.rollout import Decided, Rollout, Step
from edgecanary.api.rollout_status import MetricStatus, NodeCounts, RevisionReference, StepStatus, Waiting
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.waiting import ENDS_WITH

NODES_LISTED = 50
"""The most nodes that an explanation lists; the others are counted."""

_ROLLED_BACK = "RolledBack"
_TROUBLE_FREE = (ModelResult.NONE, ModelResult.SUCCEEDED)


class Standing(StrEnum):
    """Where a rollout stands, for scripts: what its conditions mean together."""

    DONE = "Done"
    """Ready: what was asked for is reached."""
    WAITING = "Waiting"
    """Work goes on, or something is waited for that is expected to come."""
    STALLED = "Stalled"
    """Only a person's change helps."""


class StepAccount(ApiModel):
    """The step that the rollout is in, with the times that bound it."""

    display: str
    since: datetime
    bake_since: datetime | None = None
    bake_until: datetime | None = None
    deadline: datetime
    approval: Decided
    approved_time: datetime | None = None
    skips_gates: bool = False


class GateAccount(ApiModel):
    """What one gate says; `decides` is whether it can hold the rollout or take it back."""

    decides: bool
    metric: MetricStatus


class NodeStanding(StrEnum):
    """What keeps a node from running the revision, the worst first."""

    FAILED = "Failed"
    """The revision failed on it; the node went back."""
    HINDERED = "Hindered"
    """It cannot take the revision yet and keeps trying."""
    UNDER_WAY = "UnderWay"
    """It is at it, or waits for its update window."""


class NodeAccount(ApiModel):
    """A node that has orders to run the revision and does not, in its agent's words."""

    name: str
    standing: NodeStanding
    result: ModelResult
    reason: str = ""
    message: str = ""
    since: datetime | None = None


class Explanation(ApiModel):
    """Why a rollout stands where it does."""

    namespace: str
    name: str
    standing: Standing
    reason: str
    """Of the Ready condition, or NotObserved."""
    message: str
    since: datetime | None = None
    waiting: Waiting | None = None
    stable: RevisionReference | None = None
    canary: RevisionReference | None = None
    attempt: int = 0
    step: StepAccount | None = None
    counts: NodeCounts
    rejection: RejectedRevision | None = None
    """Why the wanted revision was taken back; only while that holds."""
    gates: tuple[GateAccount, ...] = ()
    gates_time: datetime | None = None
    nodes: tuple[NodeAccount, ...] = ()
    """Nodes that do not run the revision though they should: at most NODES_LISTED, failed ones first."""
    more_nodes: int = 0
    """How many such nodes are not listed."""
    notes: tuple[str, ...] = ()
    """What keeps the account from being whole or current."""


def explain(
    rollout: Rollout, reports: Mapping[str, NodeModelStatus] | None = None, *, notes: Iterable[str] = ()
) -> Explanation:
    """Why the rollout stands where it does.

    `reports` is what each node's agent says of the rollout's model; None when nobody could be asked.
    """
    status = rollout.status
    ready = find_condition(status.conditions, ConditionType.READY)
    rejection = _rejection(rollout)
    nodes = _lagging(rollout, reports or {}, rejection)
    return Explanation(
        namespace=rollout.metadata.namespace,
        name=rollout.metadata.name,
        standing=_standing(rollout),
        reason=ready.reason if ready else "NotObserved",
        message=ready.message if ready else _unseen(rollout),
        since=ready.last_transition_time if ready else rollout.metadata.creation_timestamp,
        waiting=status.waiting or _derived_waiting(rollout),
        stable=status.stable,
        canary=status.canary,
        attempt=status.attempt,
        step=_step(rollout, status.step) if status.step else None,
        counts=status.nodes,
        rejection=rejection,
        gates=_gates(rollout),
        gates_time=status.analysis.time if status.analysis else None,
        nodes=tuple(nodes[:NODES_LISTED]),
        more_nodes=max(0, len(nodes) - NODES_LISTED),
        notes=(*_staleness(rollout), *notes),
    )


def _standing(rollout: Rollout) -> Standing:
    conditions = rollout.status.conditions
    if (ready := find_condition(conditions, ConditionType.READY)) is None:
        return Standing.WAITING
    return {"True": Standing.DONE, "False": Standing.STALLED}.get(ready.status, Standing.WAITING)


def _unseen(rollout: Rollout) -> str:
    namespace = rollout.metadata.namespace
    return f"no operator has looked at it yet; check that one runs and serves the namespace {namespace}"


def _staleness(rollout: Rollout) -> tuple[str, ...]:
    meta, seen = rollout.metadata, rollout.status.observed_generation
    notes = []
    if meta.deletion_timestamp is not None:
        notes.append("the Rollout is being deleted")
    if 0 <= seen < meta.generation:
        notes.append(
            f"the operator has not looked at the last change of the spec yet (generation {meta.generation}, "
            f"seen {seen}); if that stays so, check that it runs"
        )
    return tuple(notes)


def _derived_waiting(rollout: Rollout) -> Waiting | None:
    """What a status without `waiting` says by its Ready condition; None when nothing is waited for."""
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    if ready is None or ready.status == "True":
        return None
    ends_with = ENDS_WITH.get(ready.reason, ready.message)
    return Waiting(reason=ready.reason, since=ready.last_transition_time, ends_with=ends_with)


def _rejection(rollout: Rollout) -> RejectedRevision | None:
    ready = find_condition(rollout.status.conditions, ConditionType.READY)
    if ready is None or ready.reason != _ROLLED_BACK or not rollout.status.rejected:
        return None
    # The message names the revision; the last one taken back need not be the one that is wanted now.
    named = [entry for entry in rollout.status.rejected if entry.revision[:12] in ready.message]
    return max(named or rollout.status.rejected, key=lambda entry: entry.time)


def _step(rollout: Rollout, status: StepStatus) -> StepAccount:
    strategy = rollout.spec.strategy
    step = _declared_step(strategy.steps, status)
    bake_until = None
    if status.bake_start_time is not None:
        baked = status.bake_start_time + timedelta(seconds=step.bake_seconds)
        bake_until = max(status.bake_start_time, status.approved_time) if status.approved_time else baked
    since = max(status.start_time, status.approved_time or status.start_time)
    return StepAccount(
        display=status.display or status.name,
        since=status.start_time,
        bake_since=status.bake_start_time,
        bake_until=bake_until,
        deadline=since + timedelta(seconds=strategy.step_deadline_seconds),
        approval=step.approval,
        approved_time=status.approved_time,
        skips_gates=status.skips_gates,
    )


def _declared_step(steps: tuple[Step, ...], status: StepStatus) -> Step:
    by_position = steps[min(status.index, len(steps) - 1)]
    return next((step for step in steps if step.name == status.name), by_position)


def _gates(rollout: Rollout) -> tuple[GateAccount, ...]:
    analysis, known = rollout.spec.analysis, rollout.status.analysis
    if analysis is None or (rollout.status.step is None and known is None):
        return ()
    found = {status.name: status for status in known.metrics} if known else {}
    return tuple(_gate(metric, found.get(metric.name)) for metric in analysis.metrics)


def _gate(metric: Metric, status: MetricStatus | None) -> GateAccount:
    unmeasured = MetricStatus(name=metric.name, reason="NotMeasured", message="not measured yet")
    return GateAccount(decides=metric.mode is MetricMode.ENFORCE, metric=status or unmeasured)


def _lagging(
    rollout: Rollout, reports: Mapping[str, NodeModelStatus], rejection: RejectedRevision | None
) -> list[NodeAccount]:
    """The nodes that should run the revision in question and do not."""
    revision = _revision_in_question(rollout, rejection)
    if revision is None:
        return []
    found = [_account(name, report, revision) for name, report in sorted(reports.items())]
    order = list(NodeStanding)
    return sorted((node for node in found if node), key=lambda node: order.index(node.standing))


def _revision_in_question(rollout: Rollout, rejection: RejectedRevision | None) -> str | None:
    status = rollout.status
    if status.canary is not None:
        return status.canary.revision
    if rejection is not None:
        return rejection.revision
    return status.stable.revision if status.stable else None


def _account(name: str, report: NodeModelStatus, revision: str) -> NodeAccount | None:
    if report.desired != revision:
        if revision not in report.rejected:
            return None
        text = "it failed on this node, which has other orders since"
        return NodeAccount(name=name, standing=NodeStanding.FAILED, result=ModelResult.NONE, message=text)
    if report.state is ModelState.ACTIVE:
        return None
    if report.state in (ModelState.REVERTED, ModelState.FAILING):
        standing = NodeStanding.FAILED
    else:
        standing = NodeStanding.UNDER_WAY if report.result in _TROUBLE_FREE else NodeStanding.HINDERED
    return NodeAccount(
        name=name,
        standing=standing,
        result=report.result,
        reason=report.reason,
        message=report.message,
        since=report.transition_time,
    )
