"""Cohorts: how a share of the fleet is spread over its strata, and which rank bounds yield it."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from edgecanary.api.modelrelease import StratumCutoff
from edgecanary.base.memory import Memory
from edgecanary.rollout.rank import RANK_SPACE, format_bound, parse_bound, ranks

Stratum = tuple[str, ...]

MAX_STRATA = 256
"""The most strata that a ModelRelease can name."""

_KEPT_SALTS = 4


@dataclass(frozen=True)
class Line:
    """The nodes of one stratum as a revision takes them: their ranks, lowest first, and who has each."""

    ranks: Sequence[int]
    order: Sequence[int]
    """Positions in the stratum's sequence of names."""

    def below(self, bound: int) -> int:
        """How many nodes have a rank below the bound."""
        return bisect_left(self.ranks, bound)


class Strata(Mapping[Stratum, Sequence[str]]):
    """Node names by stratum. The lines for the last few salts are remembered."""

    def __init__(self, members: Mapping[Stratum, Sequence[str]]) -> None:
        self._members = members
        self._lines: Memory[Mapping[Stratum, Line]] = Memory(_KEPT_SALTS)

    def __getitem__(self, stratum: Stratum) -> Sequence[str]:
        return self._members[stratum]

    def __iter__(self) -> Iterator[Stratum]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def lines(self, salt: str) -> Mapping[Stratum, Line]:
        """Each stratum's line in the order that the salt defines."""
        known = self._lines.get(salt)
        if known is not None:
            return known
        made = {stratum: _line(names, salt) for stratum, names in self._members.items()}
        return self._lines.put(salt, made, size=1)


def _line(names: Sequence[str], salt: str) -> Line:
    found = ranks(salt, names)
    order = sorted(range(len(found)), key=found.__getitem__)
    return Line([found[position] for position in order], order)


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
    return tuple([labels.get(key, "") for key in keys])


def strata_of(nodes: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[Stratum]:
    """The stratum of each node, by its labels."""
    if not keys:
        return [()] * len(nodes)
    return list(zip(*([labels.get(key, "") for labels in nodes] for key in keys), strict=True))


def quotas(
    sizes: Mapping[Stratum, int], share: Share, covered: Mapping[Stratum, int] | None = None
) -> dict[Stratum, int]:
    """How many nodes of each stratum the share covers, none fewer than are `covered` already.

    Percent: largest remainder (Hamilton's method) over the strata, and at least one node of each.
    Nodes: exactly that many in all (or the whole fleet when it is smaller), at least one of each stratum
    while they suffice, the largest strata first when they do not.
    Where a stratum has more than its part already, the others get less: the share is of the whole fleet.
    """
    present = {stratum: size for stratum, size in sizes.items() if size > 0}
    total = sum(present.values())
    if share.everybody or not present:
        return present
    floors = covered or {}
    if share.nodes is not None:
        return _spread_above(present, min(share.nodes, total), floors)
    wanted = _round_half_up(total * (share.percent or 0), 100)
    spread = _spread_above(present, max(1, wanted), floors)
    return {stratum: max(1, count) for stratum, count in spread.items()}


def _spread_above(
    sizes: Mapping[Stratum, int], seats: int, floors: Mapping[Stratum, int]
) -> dict[Stratum, int]:
    """`_spread`, and no stratum gets fewer than its floor: those that would are set, the rest is spread."""
    given: dict[Stratum, int] = {}
    free = dict(sizes)
    while free:
        spread = _spread(free, max(0, seats - sum(given.values())))
        short = {stratum: floors[stratum] for stratum in free if floors.get(stratum, 0) > spread[stratum]}
        given |= short or spread
        free = {stratum: size for stratum, size in free.items() if stratum not in given}
    return given


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _spread(sizes: Mapping[Stratum, int], seats: int) -> dict[Stratum, int]:
    """`seats` over the strata in proportion to their sizes, none empty while the seats suffice."""
    order = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    if seats <= len(order):
        return {stratum: int(position < seats) for position, stratum in enumerate(order)}
    total = sum(sizes.values())
    given = {stratum: max(1, seats * sizes[stratum] // total) for stratum in order}
    left = seats - sum(given.values())
    step = 1 if left > 0 else -1

    def can_move(stratum: Stratum) -> bool:
        return given[stratum] < sizes[stratum] if step > 0 else given[stratum] > 1

    def distance(stratum: Stratum) -> int:
        """From the exact share, in the direction of `step`: the farthest comes first."""
        return step * (given[stratum] * total - seats * sizes[stratum])

    queue = [(distance(stratum), position) for position, stratum in enumerate(order) if can_move(stratum)]
    heapify(queue)
    for _ in range(abs(left)):
        _, position = heappop(queue)
        stratum = order[position]
        given[stratum] += step
        if can_move(stratum):
            heappush(queue, (distance(stratum), position))
    return given


def cutoffs(
    members: Mapping[Stratum, Sequence[str]], share: Share, *, salt: str, current: Mapping[Stratum, int]
) -> dict[Stratum, int]:
    """The rank bound of each stratum that covers the share, never below its current bound.

    `members` are the eligible nodes' names by stratum. A stratum that has a bound and no members keeps
    it, so that a node that comes back finds its place; there are too many of them only when labels change
    all the time, and then they are forgotten.
    """
    bounds = dict(current) if len({*current, *members}) <= MAX_STRATA else {}
    if share.everybody:
        return dict.fromkeys((*bounds, *members), RANK_SPACE)
    lines = (members if isinstance(members, Strata) else Strata(members)).lines(salt)
    sizes = {stratum: len(line.ranks) for stratum, line in lines.items()}
    covered = {stratum: line.below(current.get(stratum, 0)) for stratum, line in lines.items()}
    for stratum, count in quotas(sizes, share, covered).items():
        bound = lines[stratum].ranks[count - 1] + 1 if count > covered[stratum] else 0
        bounds[stratum] = max(bound, current.get(stratum, 0))
    return bounds


def to_cutoffs(bounds: Mapping[Stratum, int]) -> tuple[StratumCutoff, ...]:
    """The bounds as a ModelRelease writes them, in a fixed order."""
    return tuple(
        StratumCutoff(stratum=stratum, below=format_bound(bound)) for stratum, bound in sorted(bounds.items())
    )


def to_bounds(written: Sequence[StratumCutoff]) -> dict[Stratum, int]:
    """The bounds of a ModelRelease."""
    return {cutoff.stratum: parse_bound(cutoff.below) for cutoff in written}
