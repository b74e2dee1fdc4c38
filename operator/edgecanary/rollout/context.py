"""A snapshot made ready for deciding: what runs, what is wanted, what a person asked for."""

from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import CanaryStatement, ModelReleaseSpec, RejectedRevision, RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.api.rollout_status import HistoryEntry, RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.base.errors import InvalidInput, NotAllowed
from edgecanary.rollout.actions import Actions, read_actions
from edgecanary.rollout.cohort import MAX_STRATA
from edgecanary.rollout.conditions import Situation, find_condition, is_true, stuck, working
from edgecanary.rollout.conflict import winner
from edgecanary.rollout.fleet import count_strata
from edgecanary.rollout.grants import GRANTS_UNREADABLE
from edgecanary.rollout.rank import salt_for
from edgecanary.rollout.snapshot import Rival, Snapshot
from edgecanary.rollout.statement import as_canary, state, without_urls
from edgecanary.rollout.times import none_ahead
from edgecanary.rollout.validation import check_rollout

MAX_ATTEMPT = 1_000_000
"""A node that reports a higher attempt is not believed: a number that cannot be counted on would be written."""


@dataclass(frozen=True)
class Context:
    """What the decisions are made from.

    `release` is the ModelRelease as long as it is about the Rollout's model. `target` is the revision that the
    EdgeModel asks for; None when there is none to go by, and then `obstacle` says why: nothing begins and nothing
    is widened then, but what must be taken back is. `winner` is the older Rollout that has the model.
    `sound` tells whether the spec keeps all rules; when it does not, the release keeps its old policy.
    `rejected` holds what the status or the release has rejected: either may lag
    when the operator was stopped between two writes.
    """

    snapshot: Snapshot
    now: datetime
    release: ModelReleaseSpec | None
    stable: RevisionStatement | None
    canary: CanaryStatement | None
    rejected: tuple[RejectedRevision, ...]
    target: RevisionStatement | None
    obstacle: Situation | None
    winner: Rival | None
    sound: bool
    actions: Actions

    @property
    def spec(self) -> RolloutSpec:
        """The Rollout's spec."""
        return self.snapshot.rollout.spec

    @property
    def status(self) -> RolloutStatus:
        """The Rollout's status as of the last plan."""
        return self.snapshot.rollout.status

    @property
    def holds(self) -> bool:
        """Whether nothing may reach further now: the rollout is paused, or nobody can say what is wanted."""
        return self.spec.paused or self.obstacle is not None

    def salt(self, revision: str) -> str:
        """The salt of the revision's order in this Rollout."""
        return salt_for(self.snapshot.rollout.metadata.uid, revision)

    def rejection(self, revision: str, *, attempt: int | None = None) -> RejectedRevision | None:
        """The revision's rejection, or None; with an attempt, only one of that attempt or a later one."""
        found = next((entry for entry in self.rejected if entry.revision == revision), None)
        return found if found and (attempt is None or found.attempt >= attempt) else None

    def knows(self, canary: CanaryStatement) -> bool:
        """Whether the status is about this attempt at this canary."""
        known = self.status.canary
        return (
            known is not None and known.revision == canary.revision and self.status.attempt == canary.attempt
        )

    def attempts(self, revision: str) -> int:
        """The highest attempt at the revision so far, by this Rollout or by one of that name before it.

        What a node reports counts, too: it remembers a failed attempt, and must not take the next one for that.
        """
        ended: list[HistoryEntry | RejectedRevision] = [*self.status.history, *self.rejected]
        told = [
            node.report.attempt
            for node in self.snapshot.fleet
            if node.report is not None and node.report.desired == revision
        ]
        known = [entry.attempt for entry in ended if entry.revision == revision]
        if self.status.canary is not None and self.status.canary.revision == revision:
            known.append(self.status.attempt)
        return max([0, *known, *(attempt for attempt in told if attempt <= MAX_ATTEMPT)])


def build_context(snapshot: Snapshot, now: datetime) -> Context:
    """The snapshot made ready for deciding."""
    snapshot = none_ahead(snapshot, now)
    rollout, status = snapshot.rollout, snapshot.rollout.status
    current = _own_release(snapshot)
    unsound = _unsound(snapshot)
    target, obstacle = (None, unsound) if unsound else _wanted(snapshot)
    stable = without_urls(current.stable) if current and current.stable else None
    known = stable or (status.stable if snapshot.release is None else None)
    rival = winner(snapshot)
    return Context(
        snapshot=snapshot,
        now=now,
        release=current,
        stable=target if known and target and known.revision == target.revision else stable,
        canary=current.canary if current else _lost_canary(snapshot, target),
        rejected=_merge_rejected(status, snapshot.release.spec if snapshot.release else None),
        target=target,
        obstacle=obstacle,
        winner=rival,
        sound=unsound is None,
        actions=read_actions(rollout, blocked=obstacle is not None or rival is not None),
    )


def _own_release(snapshot: Snapshot) -> ModelReleaseSpec | None:
    """The release, unless it is about another model: then spec.modelRef has changed since it was written."""
    release = snapshot.release
    if release is None or release.spec.model != snapshot.rollout.spec.model_ref.name:
        return None
    return release.spec


def _lost_canary(snapshot: Snapshot, target: RevisionStatement | None) -> CanaryStatement | None:
    """The canary of a release that was deleted, where nothing but the canary was described there."""
    status = snapshot.rollout.status
    known, step = status.canary, status.step
    if snapshot.release is not None or status.stable is not None or known is None or step is None:
        return None
    if target is None or target.revision != known.revision:
        return None
    return as_canary(target, {}, max(1, status.attempt), step=step.index)


def _unsound(snapshot: Snapshot) -> Situation | None:
    """Which rule the spec breaks, or None."""
    spec = snapshot.rollout.spec
    if snapshot.refused is not None:
        return _not_allowed(snapshot.refused)
    try:
        check_rollout(spec)
    except InvalidInput as error:
        return stuck(error.reason, error.message)
    strata = count_strata(spec, snapshot.fleet)
    if strata > MAX_STRATA:
        text = f"spec.strategy.stratifyBy: gives {strata} strata and at most {MAX_STRATA} are possible"
        return stuck("TooManyStrata", f"{text}; choose labels with fewer values")
    return None


def _not_allowed(refused: NotAllowed) -> Situation:
    """What to say of a spec that an administrator's rules forbid."""
    if refused.reason == GRANTS_UNREADABLE:
        return working(GRANTS_UNREADABLE, refused.message)
    return stuck(refused.reason, refused.message)


def _wanted(snapshot: Snapshot) -> tuple[RevisionStatement | None, Situation | None]:
    """The revision that the EdgeModel asks for, or why there is none to go by."""
    model, name = snapshot.model, snapshot.rollout.spec.model_ref.name
    if model is None:
        namespace = snapshot.rollout.metadata.namespace
        text = f"spec.modelRef.name: no EdgeModel {name!r} in namespace {namespace!r}; create it or correct the name"
        return None, stuck("ModelNotFound", text)
    ready = find_condition(model.status.conditions, ConditionType.READY)
    if model.status.observed_generation != model.metadata.generation or ready is None:
        return None, working("ModelPending", f"EdgeModel {name} is being checked")
    if is_true(model.status.conditions, ConditionType.STALLED):
        return None, stuck("ModelInvalid", f"EdgeModel {name}: {ready.message}")
    revision = revision_digest(model.spec)
    if ready.status != "True" or model.status.revision != revision:
        return None, working("ModelPending", f"EdgeModel {name} is being checked: {ready.message}")
    return state(model.spec, revision), None


def _merge_rejected(status: RolloutStatus, release: ModelReleaseSpec | None) -> tuple[RejectedRevision, ...]:
    """Both lists; of two entries for one revision that of the later attempt."""
    merged: dict[str, RejectedRevision] = {}
    for entry in (*(release.rejected if release else ()), *status.rejected):
        if entry.revision not in merged or merged[entry.revision].attempt <= entry.attempt:
            merged[entry.revision] = entry
    return tuple(sorted(merged.values(), key=lambda entry: (entry.time, entry.revision)))
