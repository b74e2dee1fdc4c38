"""Would another random choice of canaries look as bad? The re-randomisation test, exact at every look.

The canaries were chosen at random, so if their revision is as good as the other, any other choice was as likely
and the counts would be the same. Choices enter a rejected family, those that look worst first; the family may
hold at most a share alpha of all choices ever, and grows with the exposure. The canary is rejected when the
real choice enters.

The family is all the state that looks leave behind. It follows from the counts at the looks so far: `replay` takes
them from blocks whose edges are looks (`grid.look_edges`: never dropped), so nothing needs to be stored.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecanary.analysis.baseline import Baseline, ratio
from edgecanary.analysis.counts import Blocks, Flags, Floats, Indices

CHOICES = 1000
"""Choices that are compared, the real one included; fewer of very many nodes."""

FEWEST_CHOICES = 200
MOST_CELLS = 20_000_000
"""Choices times nodes: the bound on memory."""

MOST_ENUMERATED = 2000
LEAST_CHOICES = 200
"""With fewer possible choices of canaries the test cannot reject at 5 %."""

_AT_ONCE = 100
_HALF_SPENT = 10.0
"""The exposure at which half of alpha is spent."""


@dataclass(frozen=True)
class Choices:
    """Choices of canaries: positions of nodes, shape (choices, canaries), the real one last.

    The column is the canary's turn: nodes of a column switch when the real choice's node of it switched.
    """

    nodes: Indices


@dataclass(frozen=True)
class Family:
    """What the looks so far leave behind: which choices were rejected, (..., choices), and the exposure, (...).

    Of the last look, shape (...): `place` is the share of choices that look at least as bad as the real one, and
    `spent` the share that may be rejected by now.
    """

    rejected: Flags
    exposure: Floats
    place: Floats
    spent: Floats

    @property
    def found(self) -> Flags:
        """Whether the real choice is rejected: the canary is worse."""
        return self.rejected[..., -1]


def possible_choices(real: Indices, strata: Indices) -> int:
    """In how many ways the canaries could have been chosen, as many of each stratum as they are."""
    return math.prod(
        math.comb(int((strata == group).sum()), int((strata[real] == group).sum()))
        for group in np.unique(strata[real])
    )


def strata_of(nodes: Sequence[str], strata: Sequence[Sequence[str]]) -> Indices:
    """The number of each node's stratum; nodes of none of them, such as those that left, are one more."""
    numbers = {name: number for number, names in enumerate(strata) for name in names}
    return np.array([numbers.get(name, len(strata)) for name in nodes], np.int64)


def draw_choices(real: Indices, strata: Indices, seed: int) -> Choices:
    """Other choices that were as likely as the real one: as many of each stratum, or all if there are few.

    `real` are the positions of the canaries in the order of their switch, `strata` numbers each node's
    stratum. The same arguments give the same choices, and longer `real` only adds columns.
    """
    nodes, groups = strata.size, strata
    if np.unique(strata).size == 1 and possible_choices(real, strata) < MOST_ENUMERATED:
        every = np.array(list(itertools.combinations(range(nodes), real.size)), np.int64).reshape(
            -1, real.size
        )
        others = every[(every != np.sort(real)).any(-1)]
        return Choices(np.concatenate((others, real[None, :])))
    random = np.random.Generator(np.random.PCG64(seed))
    others = int(np.clip(MOST_CELLS // nodes, FEWEST_CHOICES, CHOICES)) - 1
    drawn = np.empty((others, real.size), np.int32)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group).astype(np.int32)
        turns = np.flatnonzero(groups[real] == group)
        shuffled = random.permuted(np.broadcast_to(members, (others, members.size)), axis=1)
        drawn[:, turns] = shuffled[:, : turns.size]
    return Choices(np.concatenate((drawn, real[None, :].astype(np.int32))))


def no_looks(choices: Choices, fleets: tuple[int, ...] = ()) -> Family:
    """The family before the first look."""
    nothing = np.zeros(fleets)
    return Family(np.zeros((*fleets, len(choices.nodes)), np.bool_), nothing, nothing + 1.0, nothing)


def look(baseline: Baseline, blocks: Blocks, choices: Choices, family: Family, alpha: float = 0.05) -> Family:
    """One look at all blocks so far: let the family grow by the choices that look worst now."""
    begin = first_canary_blocks(blocks, choices.nodes[-1])
    weight, expected = _weights(baseline, blocks)
    bad_sum, expected_sum = _sums(choices, begin, blocks.bad * weight, expected * weight)
    bad_all = (blocks.bad * weight).sum((-2, -1))[..., None]
    expected_all = (expected * weight).sum((-2, -1))[..., None]
    rest = expected_all - expected_sum
    common = (bad_all - bad_sum + 1.0) / (rest + 1.0) * expected_sum
    spread = common * (1.0 + ratio(expected_sum, rest, 0.0)) + 0.5
    score = (bad_sum - common) / np.sqrt(spread)
    exposure = np.maximum(family.exposure, _mean_exposure(begin, expected * weight))
    return _grow(family, score, exposure, alpha)


def replay(baseline: Baseline, blocks: Blocks, choices: Choices, alpha: float = 0.05) -> Family:
    """The family after looks at the end of each block: what was found is a function of the counts alone."""
    family = no_looks(choices, blocks.total.shape[:-2])
    for count in range(1, blocks.ticks.size + 1):
        family = look(baseline, first_blocks(blocks, count), choices, family, alpha)
    return family


def first_blocks(blocks: Blocks, count: int) -> Blocks:
    """The oldest blocks alone."""
    return replace(
        blocks,
        ticks=blocks.ticks[:count],
        canary=blocks.canary[..., :count],
        total=blocks.total[..., :count],
        bad=blocks.bad[..., :count],
        active=blocks.active[..., :count],
    )


def switch_order(blocks: Blocks) -> Indices:
    """The canary nodes of one fleet in the order of their switch, ties by position."""
    first = np.where(blocks.canary.any(-1), blocks.canary.argmax(-1), blocks.ticks.size)
    order = np.argsort(first, kind="stable")
    return order[first[order] < blocks.ticks.size]


def first_canary_blocks(blocks: Blocks, real: Indices) -> Indices:
    """For each turn the block in which the real choice's node switched; the number of blocks if not yet."""
    fleet = blocks.canary.reshape(-1, *blocks.canary.shape[-2:])[0]
    mine = fleet[real]
    return np.where(mine.any(-1), mine.argmax(-1), blocks.ticks.size)


def _weights(baseline: Baseline, blocks: Blocks) -> tuple[Floats, Floats]:
    """Each node's weight and its expected events by block, neither depending on who is canary."""
    expected = baseline.node_rate[..., None] * blocks.total
    history = baseline.over(baseline.around, np.asarray(blocks.ticks.sum()))
    margin = 0.5 * np.sqrt(ratio(np.asarray(2.0), history.information, 32.0))
    dispersion = np.clip(history.variance + margin, 0.005, 4.0)[..., None] + 1.0 / baseline.node_shape
    weight = 1.0 / (1.0 + dispersion * expected.sum(-1))
    return weight[..., None], expected


def _sums(choices: Choices, begin: Indices, bad: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Weighted bad and expected events of each choice, each node counted from its turn on."""
    shape = (*bad.shape[:-2], len(choices.nodes))
    bad_sum, expected_sum = np.zeros(shape), np.zeros(shape)
    for block in np.unique(begin[begin < bad.shape[-1]]):
        late_bad, late_expected = bad[..., block:].sum(-1), expected[..., block:].sum(-1)
        for first in range(0, len(choices.nodes), _AT_ONCE):
            turns = choices.nodes[first : first + _AT_ONCE, begin == block]
            members = np.zeros((bad.shape[-2], len(turns)))
            members[turns, np.arange(len(turns))[:, None]] = 1.0
            bad_sum[..., first : first + _AT_ONCE] += late_bad @ members
            expected_sum[..., first : first + _AT_ONCE] += late_expected @ members
    return bad_sum, expected_sum


def _mean_exposure(begin: Indices, weighted: Floats) -> Floats:
    """The exposure that a choice has on average."""
    found = np.zeros(weighted.shape[:-2])
    for block, turns in zip(*np.unique(begin, return_counts=True), strict=True):
        found += int(turns) * weighted[..., block:].sum((-2, -1)) / weighted.shape[-2]
    return found


def _grow(family: Family, score: Floats, exposure: Floats, alpha: float) -> Family:
    """Add the worst choices until the share of alpha that this exposure allows is spent."""
    choices = score.shape[-1]
    spent = alpha * exposure / (exposure + _HALF_SPENT)
    allowed = np.floor(choices * spent + 1e-9)
    order = np.argsort(-np.where(family.rejected, np.inf, score), axis=-1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(choices), order.shape), axis=-1)
    rejected = family.rejected | (place < allowed[..., None])
    return Family(rejected, exposure, (score >= score[..., -1:]).mean(-1), spent)
