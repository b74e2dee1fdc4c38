"""Which revision a release assigns to a node: the rule that operator and agents share."""

from dataclasses import dataclass
from enum import StrEnum

from edgecanary.api.modelrelease import ModelReleaseSpec, Otherwise, ReleasedVariant, RevisionStatement
from edgecanary.rollout.cohort import stratum_of, to_bounds
from edgecanary.rollout.eligibility import NodeFacts, fitting_variant, misfits
from edgecanary.rollout.rank import rank
from edgecanary.rollout.selector import matches


class Role(StrEnum):
    """Which of the release's revisions a node is to run."""

    STABLE = "Stable"
    CANARY = "Canary"
    NONE = "None"
    """The release is for the node and names no revision for it: it serves nothing."""
    KEPT = "Kept"
    """As NONE, but the node keeps what it runs, unless the release rejects that."""
    NOT_TARGETED = "NotTargeted"
    """The release is not for the node: it keeps what it runs, unless the release rejects that."""
    INCOMPATIBLE = "Incompatible"
    """The release is for the node and no variant fits: it keeps what it has."""


@dataclass(frozen=True)
class Assignment:
    """What a release asks of a node. `statement` and `variant` are set for STABLE and CANARY."""

    role: Role
    statement: RevisionStatement | None = None
    variant: ReleasedVariant | None = None
    message: str = ""

    @property
    def revision(self) -> str | None:
        """The digest of the assigned revision."""
        return self.statement.revision if self.statement else None


def assign(release: ModelReleaseSpec, node: NodeFacts) -> Assignment:
    """What the release asks of the node."""
    if not matches(release.node_selector, node.labels):
        return Assignment(Role.NOT_TARGETED, message="the nodeSelector does not match the labels")
    if takes_canary(release, node):
        canary = release.canary
        variant = fitting_variant(canary.variants, node, serve=canary.serve) if canary else None
        if canary and variant:
            return Assignment(Role.CANARY, canary, variant)
    if release.stable is None or is_rejected(release, release.stable.revision):
        kept = release.otherwise is Otherwise.KEEP
        return Assignment(
            Role.KEPT if kept else Role.NONE, message="the release names no revision for this node"
        )
    stable = release.stable
    variant = fitting_variant(stable.variants, node, serve=stable.serve)
    if variant is None:
        why = misfits(stable.variants, node, serve=stable.serve)
        return Assignment(Role.INCOMPATIBLE, stable, message=f"no variant of {stable.version} fits: {why}")
    return Assignment(Role.STABLE, stable, variant)


def is_rejected(release: ModelReleaseSpec, revision: str) -> bool:
    """Whether the release says that the revision must not run."""
    return any(entry.revision == revision for entry in release.rejected)


def takes_canary(release: ModelReleaseSpec, node: NodeFacts) -> bool:
    """Whether the node's rank is below its stratum's bound and the canary may run."""
    canary = release.canary
    if canary is None or is_rejected(release, canary.revision):
        return False
    bound = to_bounds(canary.cutoffs).get(stratum_of(node.labels, release.stratify_by), 0)
    return rank(release.salt, node.name) < bound
