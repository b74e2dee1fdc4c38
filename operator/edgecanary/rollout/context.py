"""A snapshot made ready for deciding: what runs, what is wanted, what a person asked for."""

from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import CanaryStatement, ModelReleaseSpec, RejectedRevision, RevisionStatement
from edgecanary.api.rollout import ABORT_ANNOTATION, PROMOTE_ANNOTATION, RETRY_ANNOTATION, RolloutSpec
from edgecanary.api.rollout_status import ActionTokens, RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.cohort import MAX_STRATA, stratum_of
from edgecanary.rollout.conditions import Situation, find_condition, is_true, stuck, working
from edgecanary.rollout.rank import salt_for
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import Snapshot
from edgecanary.rollout.statement import state, without_urls
from edgecanary.rollout.validation import check_rollout


@dataclass(frozen=True)
class Actions:
    """Which actions carry a token that was not handled yet, and the tokens to echo."""

    promote: bool
    abort: bool
    retry: bool
    tokens: ActionTokens


@dataclass(frozen=True)
class Context:
    """What the decisions are made from.

    `target` is the revision that the EdgeModel asks for; None when there is none to go by, and then
    `obstacle` says why: nothing begins and nothing is widened then, but what must be taken back is.
    `sound` tells whether the spec keeps all rules; when it does not, the release keeps its old policy.
    `rejected` holds what the status or the release has rejected: either may lag
    when the operator was stopped between two writes.
    """

    snapshot: Snapshot
    now: datetime
    stable: RevisionStatement | None
    canary: CanaryStatement | None
    rejected: tuple[RejectedRevision, ...]
    target: RevisionStatement | None
    obstacle: Situation | None
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

    def salt(self, revision: str) -> str:
        """The salt of the revision's order in this Rollout."""
        return salt_for(self.snapshot.rollout.metadata.uid, revision)

    def rejection(self, revision: str) -> RejectedRevision | None:
        """The revision's rejection, or None."""
        return next((entry for entry in self.rejected if entry.revision == revision), None)

    def attempts(self, revision: str) -> int:
        """How many attempts at the revision have ended."""
        ended = [entry.attempt for entry in self.status.history if entry.revision == revision]
        rejected = [entry.attempt for entry in self.rejected if entry.revision == revision]
        return max([0, *ended, *rejected])


def build_context(snapshot: Snapshot, now: datetime) -> Context:
    """The snapshot made ready for deciding."""
    current = snapshot.release.spec if snapshot.release else None
    unsound = _unsound(snapshot)
    target, obstacle = (None, unsound) if unsound else _wanted(snapshot)
    stable = without_urls(current.stable) if current and current.stable else None
    known = stable or snapshot.rollout.status.stable
    return Context(
        snapshot=snapshot,
        now=now,
        stable=target if known and target and known.revision == target.revision else stable,
        canary=current.canary if current else None,
        rejected=_merge_rejected(snapshot.rollout.status, current),
        target=target,
        obstacle=obstacle,
        sound=unsound is None,
        actions=_actions(snapshot),
    )


def _unsound(snapshot: Snapshot) -> Situation | None:
    """Which rule the spec breaks, or None."""
    spec = snapshot.rollout.spec
    try:
        check_rollout(spec)
    except InvalidInput as error:
        return stuck(error.reason, error.message)
    keys = spec.strategy.stratify_by
    labels = (node.facts.labels for node in snapshot.fleet if matches(spec.node_selector, node.facts.labels))
    strata = {stratum_of(found, keys) for found in labels}
    if len(strata) > MAX_STRATA:
        text = f"spec.strategy.stratifyBy: gives {len(strata)} strata and at most {MAX_STRATA} are possible"
        return stuck("TooManyStrata", f"{text}; choose labels with fewer values")
    return None


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
    merged = {entry.revision: entry for entry in (release.rejected if release else ())}
    merged.update({entry.revision: entry for entry in status.rejected})
    return tuple(sorted(merged.values(), key=lambda entry: (entry.time, entry.revision)))


def _actions(snapshot: Snapshot) -> Actions:
    """New tokens. Those that are there before the first plan are echoed and not acted on."""
    annotations = snapshot.rollout.metadata.annotations
    handled = snapshot.rollout.status.actions
    tokens = ActionTokens(
        promote=annotations.get(PROMOTE_ANNOTATION) or handled.promote,
        abort=annotations.get(ABORT_ANNOTATION) or handled.abort,
        retry=annotations.get(RETRY_ANNOTATION) or handled.retry,
    )
    first = snapshot.rollout.status.observed_generation < 0
    return Actions(
        promote=not first and tokens.promote != handled.promote,
        abort=not first and tokens.abort != handled.abort,
        retry=not first and tokens.retry != handled.retry,
        tokens=tokens,
    )
