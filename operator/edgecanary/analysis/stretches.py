"""What is expected of the canary nodes over a stretch of blocks, whatever they answer in it.

All here depends on the stable nodes' answers and on how much was asked of the canary nodes, never on the canary
nodes' answers: one stretch serves for judging many possible answers.
"""

from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.baseline import Baseline, Moments, Variation, at_nodes, exact_moments, moments, ratio
from edgecanary.analysis.counts import MAX_HISTORY_NODES, Blocks, Flags, Floats, Indices
from edgecanary.analysis.settings import Settings

LEAST_VARIANCE = 0.005
MOST_VARIANCE = 4.0


@dataclass(frozen=True)
class Canaries:
    """The nodes that were ever canary: K positions for each fleet, padded with nodes that never were.

    `own`, `total` and `active`, shape (..., K, blocks), are their blocks as canary; `compared` (..., blocks)
    says in which blocks stable nodes had events.
    """

    nodes: Indices
    rate: Floats
    inverse: Floats
    own: Flags
    total: Floats
    active: Floats
    compared: Flags

    def of(self, fleets: Indices) -> "Canaries":
        """The same of some fleets; there must be one leading axis."""
        return Canaries(
            self.nodes[fleets],
            self.rate[fleets],
            self.inverse[fleets],
            self.own[fleets],
            self.total[fleets],
            self.active[fleets],
            self.compared[fleets],
        )


@dataclass(frozen=True)
class Controls:
    """The stable nodes: sums over all of them, shape (..., blocks), and single nodes of the sample.

    `sample_total` and `sample_bad_from` (from a block on), shape (..., sample, blocks), leave out where a node
    was canary.
    """

    expected: Floats
    bad: Floats
    sample_rate: Floats
    sample_inverse: Floats
    sample_total: Floats
    sample_bad_from: Floats


@dataclass(frozen=True)
class Fleet:
    """Counts since the rollout began, sorted into both sides. `ticks` and `groups` have shape (blocks,).

    Blocks of one group follow each other and share one common factor, with the same nodes on the same sides.
    Where there are several, a group's factor leans towards that of all as if `inertia` (..., blocks) events of
    the stable nodes said so. `variation` is the one of the baseline's that nodes are judged with. Where the
    squared error that nodes share is more than `most_shared` times that of their sum's own, they are pooled.
    """

    ticks: Floats
    groups: Indices
    inertia: Floats
    variation: Variation
    moments: Moments
    most_shared: float
    canaries: Canaries
    controls: Controls


@dataclass(frozen=True)
class Chosen:
    """Some of the canary nodes' blocks: which, (..., K, blocks), and what was asked in them.

    `total` is 0 elsewhere. `active_from` is in how many ticks the node was active from a block on; `expected`,
    shape (..., blocks), is what the baseline expects of all canary nodes together.
    """

    counted: Flags
    total: Floats
    active_from: Floats
    expected: Floats

    def of(self, fleets: Indices) -> "Chosen":
        """The same of some fleets; there must be one leading axis."""
        return Chosen(
            self.counted[fleets], self.total[fleets], self.active_from[fleets], self.expected[fleets]
        )


@dataclass(frozen=True)
class Stretch:
    """What is expected of each canary node over its chosen blocks from `first` on.

    `mean` and `dispersion`, shape (..., K): the expected events and their variance relative to the square of
    the mean, beyond chance. `uncertainty`, shape (...): the squared relative error that all means share. `pooled`,
    shape (...), is where it is so large beside nodes' own error that they can only be judged by their sum. With
    `folded` the shared error is of the same kind as nodes' own, and a part of the sum's variance.
    """

    first: int
    mean: Floats
    dispersion: Floats
    uncertainty: Floats
    pooled: Flags
    folded: bool = False

    def of(self, fleets: Indices) -> "Stretch":
        """The same of some fleets; there must be one leading axis."""
        return Stretch(
            self.first,
            self.mean[fleets],
            self.dispersion[fleets],
            self.uncertainty[fleets],
            self.pooled[fleets],
            self.folded,
        )

    def sum(self, smoothing: float) -> "Stretch":
        """All nodes as one; a part of the variance that they share is taken for its own, all of it if folded."""
        total = self.mean.sum(-1, keepdims=True)
        own = ratio((self.mean**2 * self.dispersion).sum(-1, keepdims=True), total**2, 1.0)
        dispersion = own + (1.0 if self.folded else smoothing) * self.uncertainty[..., None]
        left = np.zeros_like(self.uncertainty) if self.folded else self.uncertainty
        return Stretch(self.first, total, dispersion, left, self.pooled)


def sort_out(baseline: Baseline, blocks: Blocks, settings: Settings) -> Fleet:
    """Split the counts into canary and stable nodes; the latter's rates fill in where there is no history."""
    shape = blocks.total.shape[:-1]
    rates = np.broadcast_to(_node_rates(baseline, blocks), shape)
    inverse = np.broadcast_to(np.where(baseline.learned[..., None], 1.0 / baseline.node_shape, 0.0), shape)
    nodes = _ever_canary(blocks.canary)
    place = nodes[..., None]
    own = np.take_along_axis(blocks.canary, place, axis=-2)
    total = np.where(own, np.take_along_axis(blocks.total, place, axis=-2), 0.0)
    bad = np.where(own, np.take_along_axis(blocks.bad, place, axis=-2), 0.0)
    active = np.where(own, np.take_along_axis(blocks.active, place, axis=-2), 0.0)
    rate = np.take_along_axis(rates, nodes, axis=-1)
    expected = (rates[..., None, :] @ blocks.total)[..., 0, :] - (rate[..., None] * total).sum(-2)
    compared = blocks.total.sum(-2) - total.sum(-2) > 0
    controls = _controls(baseline, blocks, rates, inverse)
    return Fleet(
        ticks=blocks.ticks,
        groups=np.arange(blocks.ticks.size) if settings.each_block else _groups(blocks.canary),
        inertia=_inertia(baseline, blocks) if settings.each_block else np.full(blocks.ticks.shape, 2.0),
        variation=baseline.ahead if settings.ahead else baseline.around,
        moments=exact_moments if settings.ahead else moments,
        most_shared=settings.most_shared,
        canaries=Canaries(
            nodes, rate, np.take_along_axis(inverse, nodes, axis=-1), own, total, active, compared
        ),
        controls=Controls(
            np.where(compared, np.maximum(expected, 0.0), 0.0), blocks.bad.sum(-2) - bad.sum(-2), *controls
        ),
    )


def early_blocks(fleet: Fleet, ticks: float) -> Flags:
    """Canary nodes' blocks that begin before the node was active for that many ticks, (..., K, blocks).

    Not those that go on for four times as long: a warm-up that passed does not weigh much in them.
    """
    active = fleet.canaries.active
    before = np.cumsum(active, axis=-1) - active
    return fleet.canaries.own & (before < ticks) & (active <= 4.0 * ticks)


def choose(fleet: Fleet, counted: Flags) -> Chosen:
    """Canary nodes' blocks, (..., K, blocks), with their sums."""
    canaries = fleet.canaries
    total = np.where(counted, canaries.total, 0.0)
    return Chosen(
        counted=counted,
        total=total,
        active_from=sums_from(np.where(counted, canaries.active, 0.0)),
        expected=(canaries.rate[..., None, :] @ total)[..., 0, :],
    )


def against_controls(
    baseline: Baseline, fleet: Fleet, controls: Controls, chosen: Chosen, first: int
) -> Stretch:
    """Expect of the canary nodes what the stable nodes of the same time say, from block `first` on.

    The chosen blocks must have stable nodes. `controls` may have fewer single nodes than the fleet's.
    """
    factor, own, leaning = _common_factor(fleet, first)
    ticks = np.asarray(fleet.ticks[first:].sum())
    history = baseline.over(fleet.variation, ticks)
    variance, spread = _variance_now(fleet, history, controls, factor, first)
    moved = (chosen.total[..., first:] @ factor[..., None])[..., 0]
    own_variance = _own_variance(baseline, fleet.variation, variance, (ticks, chosen.active_from[..., first]))
    mean, dispersion = fleet.canaries.rate * moved, own_variance + fleet.canaries.inverse
    uncertainty = _chance(chosen.expected[..., first:] * factor, own, leaning, fleet, first) + spread
    information = (mean / (1.0 + dispersion * mean)).sum(-1)
    pooled = uncertainty * information > fleet.most_shared
    return Stretch(first, mean, dispersion, uncertainty, pooled)


def against_past(baseline: Baseline, fleet: Fleet, chosen: Chosen, first: int) -> Stretch:
    """Expect of the canary nodes what they did before, in the chosen blocks from `first` on.

    Of one node alone all variation counts as the fleet's.
    """
    counted = chosen.counted[..., first:]
    ticks = np.where(counted.any(-2), fleet.ticks[first:], 0.0).sum(-1)
    history, common = baseline.over(fleet.variation, ticks), baseline.over(baseline.common, ticks)
    known = history.information > 0
    own = np.where(known, history.variance + margin(history.information, 0.5), 0.0)
    variance = np.clip(own, LEAST_VARIANCE, MOST_VARIANCE)
    shared = np.clip(common.variance + margin(common.information, 1.0), LEAST_VARIANCE, MOST_VARIANCE)
    own_variance = _own_variance(baseline, fleet.variation, variance, (ticks, chosen.active_from[..., first]))
    mean = fleet.canaries.rate * chosen.total[..., first:].sum(-1)
    dispersion = own_variance + fleet.canaries.inverse
    return Stretch(first, mean, dispersion, shared, np.ones(shared.shape, np.bool_), folded=True)


def sums_from(values: Floats) -> Floats:
    """Sums over each block and all later ones."""
    found: Floats = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    return found


def fewer_controls(controls: Controls, most: int) -> Controls:
    """The same with fewer single nodes, evenly spaced; what restarts learn the present variation from."""
    step = -(-controls.sample_rate.shape[-1] // most)
    if step <= 1:
        return controls
    return Controls(
        controls.expected,
        controls.bad,
        controls.sample_rate[..., ::step],
        controls.sample_inverse[..., ::step],
        controls.sample_total[..., ::step, :],
        controls.sample_bad_from[..., ::step, :],
    )


def exposure_of(stretch: Stretch) -> Floats:
    """The information about the logarithm of the canary's ratio."""
    own = (stretch.mean / (1.0 + stretch.dispersion * stretch.mean)).sum(-1)
    return ratio(own, 1.0 + own * stretch.uncertainty, 0.0)


def _node_rates(baseline: Baseline, blocks: Blocks) -> Floats:
    """Nodes' rates; without any history all nodes have the stable nodes' mean rate."""
    if bool(np.all(baseline.learned)):
        return baseline.node_rate
    bad = np.where(blocks.canary, 0.0, blocks.bad).sum((-2, -1))
    total = np.where(blocks.canary, 0.0, blocks.total).sum((-2, -1))
    mean = (bad + 0.5) / (total + 1.0)
    return np.where(baseline.learned[..., None], baseline.node_rate, mean[..., None])


def _ever_canary(canary: Flags) -> Indices:
    ever = canary.any(-1)
    most = int(ever.sum(-1).max(initial=0))
    return np.argsort(~ever, axis=-1, kind="stable")[..., :most]


def _groups(canary: Flags) -> Indices:
    """Numbers of the groups that blocks belong to; a group ends where any node changes sides in any fleet."""
    changed = (canary[..., 1:] != canary[..., :-1]).any(axis=tuple(range(canary.ndim - 1)))
    return np.concatenate(([0], np.cumsum(changed))).astype(np.int64)[: canary.shape[-1]]


def _inertia(baseline: Baseline, blocks: Blocks) -> Floats:
    """One over the variance of the common factor over as long as each block."""
    variance = baseline.variance_over(baseline.common, np.maximum(blocks.ticks, 1.0))
    return 1.0 / np.clip(variance, 0.02, 0.5)


def _controls(
    baseline: Baseline, blocks: Blocks, rates: Floats, inverse: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Rate, inverse shape and counts as stable nodes of the nodes in the sample."""
    sample = baseline.sample
    if sample.shape[-1] == 0:
        sample = np.arange(min(blocks.total.shape[-2], MAX_HISTORY_NODES))
    if sample.ndim == 1 and np.array_equal(sample, np.arange(blocks.total.shape[-2])):
        total, bad, canary = blocks.total, blocks.bad, blocks.canary
    elif sample.ndim == 1:
        total, bad = blocks.total[..., sample, :], blocks.bad[..., sample, :]
        canary = blocks.canary[..., sample, :]
    else:
        place = sample[..., None]
        total = np.take_along_axis(blocks.total, place, axis=-2)
        bad = np.take_along_axis(blocks.bad, place, axis=-2)
        canary = np.take_along_axis(blocks.canary, place, axis=-2)
    return (
        at_nodes(rates, sample),
        at_nodes(inverse, sample),
        np.where(canary, 0.0, total),
        sums_from(np.where(canary, 0.0, bad)),
    )


def _common_factor(fleet: Fleet, first: int) -> tuple[Floats, Floats, Floats]:
    """What moves the whole fleet, for each block from `first` on; and its squared relative error, in two parts.

    One group: (bad + 2) / (expected + 2). Several: each leans towards the factor of all of them together, and
    shares its error as far as it leans; the first part is the error of its own, the second the leaning.
    """
    groups = fleet.groups[first:] - fleet.groups[first]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    bad = np.add.reduceat(fleet.controls.bad[..., first:], starts, axis=-1)
    expected = np.add.reduceat(fleet.controls.expected[..., first:], starts, axis=-1)
    whole = (bad.sum(-1, keepdims=True) + 2.0) / (expected.sum(-1, keepdims=True) + 2.0)
    if starts.size == 1:
        none = np.zeros(bad.shape)
        return whole[..., groups], none[..., groups], none[..., groups] + 1.0
    inertia = fleet.inertia[..., first:][..., starts]
    each = (bad + inertia * whole) / (expected + inertia)
    return each[..., groups], (1.0 / (bad + inertia))[..., groups], (inertia / (bad + inertia))[..., groups]


def _chance(weight: Floats, own: Floats, leaning: Floats, fleet: Fleet, first: int) -> Floats:
    """Squared relative error of the canary's expectation by chance in the stable nodes' counts.

    `weight` is what of the expectation falls into each block.
    """
    groups = fleet.groups[first:]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    of_group = np.add.reduceat(weight, starts, axis=-1)
    part = ratio(of_group, of_group.sum(-1, keepdims=True), 1.0 / starts.size)
    shared = (part * leaning[..., starts]).sum(-1) ** 2
    found: Floats = (part * part * own[..., starts]).sum(-1) + shared / (
        fleet.controls.bad[..., first:].sum(-1) + 2.0
    )
    return found


def _variance_now(
    fleet: Fleet, history: Variation, controls: Controls, factor: Floats, first: int
) -> tuple[Floats, Floats]:
    """Nodes' variance from the history and from the stable nodes of the same time, and what it does to their sum."""
    each = (controls.sample_total[..., first:] @ factor[..., None])[..., 0]
    mean = controls.sample_rate * each
    bad = controls.sample_bad_from[..., first]
    sampled = mean.sum(-1)
    shape = 1.0 / np.maximum(controls.sample_inverse, 1e-12)
    numerator, denominator = fleet.moments(bad, mean, shape, history.pilot[..., None], -1)
    information = history.information + denominator.sum(-1)
    found = ratio(history.variance * history.information + numerator.sum(-1), information, 0.0)
    variance = np.clip(found + margin(information, 0.5), LEAST_VARIANCE, MOST_VARIANCE)
    square = (mean * mean * (variance[..., None] + controls.sample_inverse)).sum(-1)
    everything = (controls.expected[..., first:] * factor).sum(-1)
    return variance, ratio(square, sampled * np.maximum(everything, sampled), 0.0)


def margin(information: Floats, part: float) -> Floats:
    """A part of the estimated variance's own standard error; without information nothing is known."""
    known = information > 0
    return np.where(known, part * np.sqrt(2.0 / np.where(known, information, 1.0)), MOST_VARIANCE)


def _own_variance(
    baseline: Baseline, variation: Variation, variance: Floats, ticks: tuple[Floats, Floats]
) -> Floats:
    """A node that was online for a part of the time only varies as much as over that part.

    `ticks` are the stretch's and, for each node, those in which it was active.
    """
    whole = np.maximum(baseline.over(variation, ticks[0]).variance, LEAST_VARIANCE)
    part = np.maximum(baseline.variance_over(variation, np.maximum(ticks[1], 1.0)), LEAST_VARIANCE)
    return variance[..., None] * np.maximum(1.0, part / whole[..., None])
