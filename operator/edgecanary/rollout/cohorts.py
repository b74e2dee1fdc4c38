"""How far each stratum of the fleet is, as counts: what a person watches while a revision is widened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgecanary.api.fields import ApiModel
from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.api.rollout import RolloutSpec
from edgecanary.rollout.cohort import stratum_of, to_bounds
from edgecanary.rollout.fleet import Progress, progress, targets
from edgecanary.rollout.rank import RANK_SPACE, ranks
from edgecanary.rollout.snapshot import NodeView


class CohortCounts(ApiModel):
    """One stratum in numbers.

    `in_step` are the targeted nodes that are to run the revision now; `updated`, `healthy` and `failed` are of
    them. A node is updated when it serves the revision, and healthy when it did so through its soak.
    """

    stratum: dict[str, str]
    targeted: int = 0
    offline: int = 0
    in_step: int = 0
    updated: int = 0
    healthy: int = 0
    failed: int = 0


@dataclass(frozen=True)
class _Orders:
    """Who is to run which revision."""

    revision: str
    attempt: int | None
    keys: tuple[str, ...]
    bounds: Mapping[tuple[str, ...], int] | None
    """None: everybody."""
    salt: str = ""


def count_cohorts(
    spec: RolloutSpec, release: ModelReleaseSpec, fleet: Sequence[NodeView]
) -> tuple[CohortCounts, ...]:
    """The eligible nodes by stratum, the strata in order. While nothing rolls, everybody is to run the stable one."""
    statement = release.canary or release.stable
    if statement is None:
        return ()
    canary = release.canary
    orders = _Orders(
        revision=statement.revision,
        attempt=canary.attempt if canary else None,
        keys=tuple(release.stratify_by),
        bounds=to_bounds(canary.cutoffs) if canary else None,
        salt=release.salt,
    )
    strata: dict[tuple[str, ...], list[NodeView]] = {}
    for node in targets(spec, tuple(fleet), statement).eligible:
        strata.setdefault(stratum_of(node.facts.labels, orders.keys), []).append(node)
    return tuple(_count(stratum, nodes, orders) for stratum, nodes in sorted(strata.items()))


def total(cohorts: Iterable[CohortCounts]) -> CohortCounts:
    """All strata together."""
    found = tuple(cohorts)
    return CohortCounts(
        stratum={},
        targeted=sum(one.targeted for one in found),
        offline=sum(one.offline for one in found),
        in_step=sum(one.in_step for one in found),
        updated=sum(one.updated for one in found),
        healthy=sum(one.healthy for one in found),
        failed=sum(one.failed for one in found),
    )


def _count(stratum: tuple[str, ...], nodes: Sequence[NodeView], orders: _Orders) -> CohortCounts:
    inside = nodes
    if orders.bounds is not None:
        bound = orders.bounds.get(stratum, 0)
        places = ranks(orders.salt, [node.facts.name for node in nodes])
        inside = [node for node, place in zip(nodes, places, strict=True) if place < min(bound, RANK_SPACE)]
    came_to = [progress(node.report, orders.revision, orders.attempt) for node in inside]
    return CohortCounts(
        stratum=dict(zip(orders.keys, stratum, strict=True)),
        targeted=len(nodes),
        offline=sum(not node.online for node in nodes),
        in_step=len(inside),
        updated=sum(_serves(node, orders.revision) for node in inside),
        healthy=came_to.count(Progress.UPDATED),
        failed=came_to.count(Progress.FAILED),
    )


def _serves(node: NodeView, revision: str) -> bool:
    """Whether the node serves the revision, on trial or settled."""
    return node.report is not None and node.report.active == revision
