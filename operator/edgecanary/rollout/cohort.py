"""Cohorts: how a share of the fleet is spread over its strata, and which rank bounds yield it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecanary.api.modelrelease import StratumCutoff
from edgecanary.rollout.rank import RANK_SPACE, format_bound, parse_bound, rank

Stratum = tuple[str, ...]

MAX_STRATA = 256
"""The most strata that a ModelRelease can name."""


@dataclass(frozen=True)
class Share:
    """How much of the fleet a step covers: exactly one of `percent` and `nodes` is set."""

    percent: int | None = None
    nodes: int | None = None

    @property
    def everybody(self) -> bool:
        """Whether the step covers the whole fleet, nodes that join later included."""
        return self.percent == 100


def stratum_of(labels: Mapping[str, str], keys: Sequence[str]) -> Stratum:
    """The node's stratum: its values for the keys, in order; a missing label counts as empty."""
    return tuple(labels.get(key, "") for key in keys)


def quotas(sizes: Mapping[Stratum, int], share: Share) -> dict[Stratum, int]:
    """How many nodes of each stratum the share covers.

    Percent: largest remainder (Hamilton's method) over the strata, and at least one node of each.
    Nodes: exactly that many in all (or the whole fleet when it is smaller), at least one of each stratum
    while they suffice, the largest strata first when they do not.
    """
    present = {stratum: size for stratum, size in sizes.items() if size > 0}
    total = sum(present.values())
    if share.everybody or not present:
        return present
    if share.nodes is not None:
        return _spread(present, min(share.nodes, total))
    wanted = _round_half_up(total * (share.percent or 0), 100)
    spread = _spread(present, max(1, wanted))
    return {stratum: max(1, count) for stratum, count in spread.items()}


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _spread(sizes: Mapping[Stratum, int], seats: int) -> dict[Stratum, int]:
    """`seats` over the strata in proportion to their sizes, none empty while the seats suffice."""
    order = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    if seats <= len(order):
        return {stratum: int(position < seats) for position, stratum in enumerate(order)}
    total = sum(sizes.values())
    given = {stratum: max(1, seats * sizes[stratum] // total) for stratum in order}
    while (left := seats - sum(given.values())) != 0:
        step = 1 if left > 0 else -1
        stratum = _most_deserving(order, given, sizes, seats, step)
        given[stratum] += step
    return given


def _most_deserving(
    order: Sequence[Stratum],
    given: Mapping[Stratum, int],
    sizes: Mapping[Stratum, int],
    seats: int,
    step: int,
) -> Stratum:
    """The stratum farthest from its exact share in the direction of `step` that can still move."""
    total = sum(sizes.values())
    movable = [s for s in order if (given[s] < sizes[s] if step > 0 else given[s] > 1)]
    return max(movable, key=lambda s: step * (seats * sizes[s] - given[s] * total))


def cutoffs(
    members: Mapping[Stratum, Sequence[str]], share: Share, *, salt: str, current: Mapping[Stratum, int]
) -> dict[Stratum, int]:
    """The rank bound of each stratum that covers the share, never below its current bound.

    `members` are the eligible nodes' names by stratum. A stratum that has a bound and no members keeps
    it, so that a node that comes back finds its place; there are too many of them only when labels change
    all the time, and then they are forgotten.
    """
    bounds = dict(current) if len({*current, *members}) <= MAX_STRATA else {}
    wanted = quotas({stratum: len(names) for stratum, names in members.items()}, share)
    for stratum, count in wanted.items():
        bound = _bound_for(members[stratum], count, salt=salt, everybody=share.everybody)
        bounds[stratum] = max(bound, current.get(stratum, 0))
    if share.everybody:
        bounds = dict.fromkeys(bounds, RANK_SPACE)
    return bounds


def _bound_for(names: Sequence[str], count: int, *, salt: str, everybody: bool) -> int:
    if everybody:
        return RANK_SPACE
    if count == 0:
        return 0
    ranks = sorted(rank(salt, name) for name in names)
    return ranks[count - 1] + 1


def to_cutoffs(bounds: Mapping[Stratum, int]) -> tuple[StratumCutoff, ...]:
    """The bounds as a ModelRelease writes them, in a fixed order."""
    return tuple(
        StratumCutoff(stratum=stratum, below=format_bound(bound)) for stratum, bound in sorted(bounds.items())
    )


def to_bounds(written: Sequence[StratumCutoff]) -> dict[Stratum, int]:
    """The bounds of a ModelRelease."""
    return {cutoff.stratum: parse_bound(cutoff.below) for cutoff in written}
