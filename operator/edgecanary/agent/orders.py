"""What the releases ask of this node, model by model. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from edgecanary.agent.machine import Event
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Outcome, Record, Rejection, Target, Verdict
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import CanaryStatement, ModelRelease, ReleasedVariant, RevisionStatement
from edgecanary.rollout.assignment import Assignment, Role, assign
from edgecanary.rollout.eligibility import NodeFacts

ACTIVE = "Active"
"""The reason of an outcome in which all is well."""
BOTH_FAILED = "BothFailed"
"""The reason of an outcome in which the revision that replaced a failed one fails too."""
EVICTED = "Evicted"
"""The reason of an outcome in which the active revision is not loaded, for want of memory."""
KEPT = "Kept"
"""The reason of an outcome in which nothing is assigned and what is active goes on."""

_KEEPING = (Role.NOT_TARGETED, Role.KEPT)
_NO_PART = (*_KEEPING, Role.NONE)


@dataclass(frozen=True)
class Order:
    """What is wanted of this node for one model, as of one state of one release."""

    release_uid: str
    sequence: int
    target: Target | None
    """None: the node is to serve nothing, or to keep what it has."""
    stable: bool = False
    """The target is the release's stable revision."""
    message: str = ""
    """Why nothing is assigned."""
    keeps: bool = False
    """The node keeps what is active, unless the release rejects that."""
    rejected: frozenset[str] = frozenset()
    """What the release rejects; set where the node keeps what it has."""
    retreat: Target | None = None
    """What comes instead of something rejected; None: nothing."""

    def given(self, active: str | None) -> "Order":
        """The order for a node that runs `active`: what is rejected is not kept."""
        if not self.keeps or active not in self.rejected:
            return self
        return replace(self, target=self.retreat, stable=True, keeps=False)

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

    Several releases may name one model: one that is for this node counts. Should several be, one that does not
    yield goes before one that does, then the one that is `followed` (by its UID), then the first by name. Where
    none is for this node, the one that was followed says what is rejected.
    """
    candidates: dict[ModelKey, list[tuple[ModelRelease, Assignment]]] = {}
    for release in releases:
        assignment, key = assign(release.spec, node), key_of(release)
        if assignment.role is not Role.NOT_TARGETED or followed.get(key) == release.metadata.uid:
            candidates.setdefault(key, []).append((release, assignment))

    def urgency(candidate: tuple[ModelRelease, Assignment]) -> tuple[bool, bool, bool, str]:
        release, assignment = candidate
        meta, spec = release.metadata, release.spec
        is_followed = followed.get(key_of(release)) == meta.uid
        return assignment.role is Role.NOT_TARGETED, spec.yields, not is_followed, meta.name

    chosen = {key: min(found, key=urgency) for key, found in candidates.items()}
    return {key: _order(release, assignment, node) for key, (release, assignment) in chosen.items()}


def _order(release: ModelRelease, assignment: Assignment, node: NodeFacts) -> Order:
    uid, sequence = release.metadata.uid, release.spec.sequence
    if assignment.role in _KEEPING:
        instead = assign(release.spec.model_copy(update={"node_selector": LabelSelector()}), node)
        return Order(
            uid,
            sequence,
            None,
            message=assignment.message,
            keeps=True,
            rejected=frozenset(entry.revision for entry in release.spec.rejected),
            retreat=_target(release, instead) if instead.role is Role.STABLE else None,
        )
    target = _target(release, assignment)
    return Order(uid, sequence, target, assignment.role is not Role.CANARY, assignment.message)


def _target(release: ModelRelease, assignment: Assignment) -> Target | None:
    if assignment.statement is None or assignment.role in _NO_PART:
        return None
    statement = assignment.statement
    variants = (assignment.variant,) if assignment.variant else statement.variants
    return Target(
        statement=_narrowed(statement, variants),
        misfit="" if assignment.variant else assignment.message,
        attempt=statement.attempt if isinstance(statement, CanaryStatement) else 0,
        windows=release.spec.update_windows,
        health=release.spec.health,
        priority=release.spec.priority,
    )


def _narrowed(statement: RevisionStatement, variants: tuple[ReleasedVariant, ...]) -> RevisionStatement:
    """The statement with these variants alone, and without what only a canary has."""
    fields = {name: getattr(statement, name) for name in RevisionStatement.model_fields}
    return RevisionStatement.model_construct(**{**fields, "variants": variants})


def is_stale(record: Record, order: Order) -> bool:
    """Whether a newer state of the same release was heard before, in this process or an earlier one."""
    return record.release_uid == order.release_uid and order.sequence < record.sequence


def decide(record: Record, order: Order) -> Event | None:
    """What a settled record has to do about an order; None when it is met or refused already."""
    order = order.given(record.active)
    if order.target is None:
        return Event.WITHDRAWN if record.active and not order.keeps else None
    if order.desired == record.active or record.rejection_of(order.target.revision, order.attempt):
        return None
    if order.stable and order.desired == record.previous and not order.target.misfit:
        return Event.RETURNED
    return Event.ASSIGNED


def settled_outcome(record: Record, order: Order, now: datetime) -> Outcome:
    """What there is to say when `decide` finds nothing to do."""
    current, order = record.outcome, order.given(record.active)
    if record.failing is not None and record.active is not None and order.desired in (None, record.active):
        return failing(record, record.failing, sequence=order.sequence, now=now)
    if order.target is None and order.keeps and record.active is not None:
        return _kept(record.active, current, order, now)
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
        if record.failing is not None:
            rejection = both_failed(rejection, record.failing)
        return reverted(order.target.revision, rejection, sequence=order.sequence)
    if (current.desired, current.state, current.reason) == (order.desired, ModelState.ACTIVE, ACTIVE):
        return current
    return active(order.target, sequence=order.sequence, now=now)


def _kept(revision: str, current: Outcome, order: Order, now: datetime) -> Outcome:
    """The outcome of a revision that nobody assigns and that goes on all the same."""
    if (current.desired, current.state, current.reason) == (revision, ModelState.ACTIVE, KEPT):
        return current
    known = current if current.desired == revision else Outcome()
    return Outcome(
        desired=revision,
        state=ModelState.ACTIVE,
        result=known.result,
        reason=KEPT,
        message=f"{order.message}: what is active goes on being served",
        attempt=known.attempt,
        sequence=order.sequence,
        transition_time=now,
        probe=known.probe,
        transfer=known.transfer,
    )


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
        transfer=target.transfer,
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


def evicted(record: Record, *, sequence: int, now: datetime) -> Outcome:
    """The outcome of an active revision whose memory another model has for now."""
    current = record.outcome
    if (current.desired, current.state, current.reason) == (record.active, ModelState.PENDING, EVICTED):
        return current
    return Outcome(
        desired=record.active,
        state=ModelState.PENDING,
        reason=EVICTED,
        message="unloaded for models of a higher priority; its files stay, and it is loaded when there is memory",
        attempt=current.attempt if current.desired == record.active else 0,
        sequence=sequence,
        transition_time=now,
    )


def waiting(record: Record, verdict: Verdict, now: datetime) -> Outcome:
    """The outcome of work that has to wait."""
    target = record.target
    return Outcome(
        desired=target.revision if target else record.active,
        state=ModelState.PENDING,
        result=verdict.result,
        reason=verdict.reason,
        message=verdict.message,
        attempt=target.attempt if target else 0,
        sequence=record.sequence,
        transition_time=now,
    )


def damaged(lost: str, record: Record, now: datetime) -> Outcome:
    """The outcome of an active revision that a start did not find whole."""
    instead = f"{record.active[:12]} is served instead" if record.active else "nothing is served"
    return Outcome(
        desired=lost,
        state=ModelState.PENDING,
        result=ModelResult.VERIFY_FAILED,
        reason="ActiveDamaged",
        message=f"the files of {lost[:12]} on this node are damaged or do not load; {instead}",
        sequence=record.sequence,
        transition_time=now,
    )


def failing(record: Record, verdict: Verdict, *, sequence: int, now: datetime) -> Outcome:
    """The outcome of an active revision that went beyond its limits where there is none to go back to."""
    revision, current = record.active, record.outcome
    both = bool(record.rejected)
    reason = BOTH_FAILED if both else verdict.reason
    if (current.desired, current.state, current.reason) == (revision, ModelState.FAILING, reason):
        return current
    other = (
        f"{record.rejected[-1].revision[:12]} failed here too"
        if both
        else "no other revision is on this node"
    )
    return Outcome(
        desired=revision,
        state=ModelState.FAILING,
        result=verdict.result,
        reason=reason,
        message=f"{verdict.message}; {other}, so this one, which passed its trial, goes on being served",
        attempt=current.attempt if current.desired == revision else 0,
        sequence=sequence,
        transition_time=now,
    )


def both_failed(rejection: Rejection, verdict: Verdict) -> Rejection:
    """What is told of a revision that was taken back when the one that replaced it fails as well."""
    message = f"{rejection.verdict.message}; it fails too and goes on being served: {verdict.message}"
    told = rejection.verdict.model_copy(update={"reason": BOTH_FAILED, "message": message})
    return rejection.model_copy(update={"verdict": told})


def supersedes(record: Record, order: Order) -> bool:
    """Whether the order makes the work on the record's target pointless."""
    return record.target is not None and record.target.revision != order.desired


def refresh(target: Target, order: Order) -> Target:
    """The target with the order's current addresses, attempt, windows and limits."""
    wanted = order.target
    if wanted is None or wanted.revision != target.revision:
        return target
    if wanted.misfit or target.misfit or wanted.variant.name == target.variant.name:
        kept = {"proven", "crashes", "verdict", "probe", "admitted", "transfer"}
        return wanted.model_copy(update={name: getattr(target, name) for name in kept})
    return target.model_copy(update={"attempt": wanted.attempt})
