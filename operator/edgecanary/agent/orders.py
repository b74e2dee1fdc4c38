"""What the releases ask of this node, model by model. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from edgecanary.agent.machine import Event
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Outcome, Record, Rejection, Target
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import CanaryStatement, ModelRelease, ReleasedVariant, RevisionStatement
from edgecanary.rollout.assignment import Assignment, Role, assign
from edgecanary.rollout.eligibility import NodeFacts

ACTIVE = "Active"
"""The reason of an outcome in which all is well."""

_NO_PART = (Role.NOT_TARGETED, Role.NONE)


@dataclass(frozen=True)
class Order:
    """What is wanted of this node for one model, as of one state of one release."""

    release_uid: str
    sequence: int
    target: Target | None
    """None: the node is to serve nothing."""
    stable: bool = False
    """The target is the release's stable revision."""
    message: str = ""
    """Why nothing is to be served."""

    @property
    def desired(self) -> str | None:
        """The revision that is wanted."""
        return self.target.revision if self.target else None

    @property
    def attempt(self) -> int:
        """The attempt at it."""
        return self.target.attempt if self.target else 0


def key_of(release: ModelRelease) -> ModelKey:
    """The model that a release is about."""
    return ModelKey(release.metadata.namespace, release.spec.model)


def orders(
    releases: Iterable[ModelRelease], node: NodeFacts, followed: Mapping[ModelKey, str]
) -> dict[ModelKey, Order]:
    """The order for each model that this node has a part in.

    Several releases may name one model for different nodes: the one that is for this node counts. Should
    several be, the one that is `followed` (by its UID) goes on counting, else the first by name does.
    """
    found: dict[ModelKey, Order] = {}
    taken: set[ModelKey] = set()
    for release in sorted(releases, key=lambda item: (item.metadata.namespace, item.metadata.name)):
        key, assignment = key_of(release), assign(release.spec, node)
        is_followed = followed.get(key) == release.metadata.uid
        has_part = assignment.role is not Role.NOT_TARGETED
        if has_part and (is_followed or key not in taken):
            found[key] = _order(release, assignment)
            taken.add(key)
        elif is_followed and key not in taken:
            found[key] = _order(release, assignment)
    return found


def _order(release: ModelRelease, assignment: Assignment) -> Order:
    uid, sequence = release.metadata.uid, release.spec.sequence
    if assignment.statement is None or assignment.role in _NO_PART:
        return Order(uid, sequence, None, message=assignment.message)
    statement = assignment.statement
    variants = (assignment.variant,) if assignment.variant else statement.variants
    target = Target(
        statement=_narrowed(statement, variants),
        misfit="" if assignment.variant else assignment.message,
        attempt=statement.attempt if isinstance(statement, CanaryStatement) else 0,
        windows=release.spec.update_windows,
        health=release.spec.health,
    )
    return Order(uid, sequence, target, stable=assignment.role is not Role.CANARY)


def _narrowed(statement: RevisionStatement, variants: tuple[ReleasedVariant, ...]) -> RevisionStatement:
    """The statement with these variants alone, and without what only a canary has."""
    fields = {name: getattr(statement, name) for name in RevisionStatement.model_fields}
    return RevisionStatement.model_construct(**{**fields, "variants": variants})


def is_stale(record: Record, order: Order) -> bool:
    """Whether a newer state of the same release was heard before, in this process or an earlier one."""
    return record.release_uid == order.release_uid and order.sequence < record.sequence


def decide(record: Record, order: Order) -> Event | None:
    """What a settled record has to do about an order; None when it is met or refused already."""
    if order.target is None:
        return Event.WITHDRAWN if record.active else None
    if order.desired == record.active or record.rejection_of(order.target.revision, order.attempt):
        return None
    if order.stable and order.desired == record.previous and not order.target.misfit:
        return Event.RETURNED
    return Event.ASSIGNED


def settled_outcome(record: Record, order: Order, now: datetime) -> Outcome:
    """What there is to say when `decide` finds nothing to do."""
    current = record.outcome
    if order.target is None:
        return Outcome(
            state=ModelState.WITHDRAWN,
            reason="NotAssigned",
            message=order.message,
            sequence=order.sequence,
            transition_time=now,
        )
    rejection = record.rejection_of(order.target.revision, order.attempt)
    if order.desired != record.active and rejection is not None:
        return reverted(order.target.revision, rejection, sequence=order.sequence)
    if (current.desired, current.state, current.reason) == (order.desired, ModelState.ACTIVE, ACTIVE):
        return current
    return active(order.target, sequence=order.sequence, now=now)


def active(target: Target, *, sequence: int, now: datetime) -> Outcome:
    """The outcome of a revision that is active."""
    return Outcome(
        desired=target.revision,
        state=ModelState.ACTIVE,
        result=ModelResult.SUCCEEDED,
        reason=ACTIVE,
        message=f"{target.statement.version} is active",
        attempt=target.attempt,
        sequence=sequence,
        transition_time=now,
        probe=target.probe,
    )


def reverted(revision: str, rejection: Rejection, *, sequence: int) -> Outcome:
    """The outcome of a revision that failed on this node."""
    return Outcome(
        desired=revision,
        state=ModelState.REVERTED,
        result=rejection.verdict.result,
        reason=rejection.verdict.reason,
        message=rejection.verdict.message,
        attempt=rejection.attempt,
        sequence=sequence,
        transition_time=rejection.time,
    )


def supersedes(record: Record, order: Order) -> bool:
    """Whether the order makes the work on the record's target pointless."""
    return record.target is not None and record.target.revision != order.desired


def refresh(target: Target, order: Order) -> Target:
    """The target with the order's current addresses, attempt, windows and limits."""
    wanted = order.target
    if wanted is None or wanted.revision != target.revision:
        return target
    if wanted.misfit or target.misfit or wanted.variant.name == target.variant.name:
        kept = {"proven", "crashes", "verdict", "probe"}
        return wanted.model_copy(update={name: getattr(target, name) for name in kept})
    return target.model_copy(update={"attempt": wanted.attempt})
