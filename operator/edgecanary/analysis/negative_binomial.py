"""Canary nodes against stable nodes, each against its own baseline: a likelihood ratio with learned variation.

A node's bad events are negative binomial around its baseline rate times its requests times a factor that moves
the whole fleet and is learned from the stable nodes of the same time. The evidence is how much better the counts
fit canary nodes that are worse by some ratio than canary nodes that are not. Formulas and limits:
docs/guides/gate-statistics.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.baseline import Baseline, ratio
from edgecanary.analysis.counts import Blocks, Flags, Floats, Indices
from edgecanary.analysis.exposure import EXPOSURE_FACTOR, detectable_ratio
from edgecanary.analysis.settings import AS_WRITTEN, PRODUCT, Settings, restart_weight
from edgecanary.analysis.stretches import (
    Canaries,
    Chosen,
    Controls,
    Fleet,
    Stretch,
    against_controls,
    against_past,
    choose,
    early_blocks,
    exposure_of,
    fewer_controls,
    sort_out,
    sums_from,
)

__all__ = [
    "AS_WRITTEN",
    "EXPOSURE_FACTOR",
    "PRODUCT",
    "Evidence",
    "Expectation",
    "Settings",
    "expect",
    "judge",
    "weigh",
]

RESTART_CONTROLS = 100
"""Stable nodes that the restarted evidence learns the present variation from; the whole uses all of the sample."""


@dataclass(frozen=True)
class Evidence:
    """What the counts say. Leading axes are independent fleets; the arrays per node are 0 for stable nodes.

    `value` is to be compared with 1 / (1 - confidence). `exposure` says how much the comparison can know so
    far by counts that are not doubted, `detectable_ratio` which increase it would find by now (infinite without
    exposure). `doubted` is how many of a node's expected events are in its doubted beginning, once that is over:
    they add nothing to the exposure. `ratio` is the
    canary's bad events over the expected ones. `bad`, `expected`, `total` and `contribution` (the node's part
    of the log-likelihood ratio at `ratio`) are per node, of the blocks that are compared; `dispersion` is the
    variance of a node's count relative to the square of its expectation, beyond chance, and `uncertainty` that
    of the expectation that the canary nodes share.
    """

    value: Floats
    exposure: Floats
    detectable_ratio: Floats
    ratio: Floats
    canary_nodes: Floats
    control_nodes: Floats
    bad: Floats
    expected: Floats
    doubted: Floats
    total: Floats
    contribution: Floats
    dispersion: Floats
    uncertainty: Floats


@dataclass(frozen=True)
class Parts:
    """The stretches that evidence is made of.

    `whole` is of all blocks that are compared, `own`; the others are of the blocks that are not doubted.
    `restarted` has each stretch's weight.
    """

    own: Chosen
    undoubted: Chosen
    whole: Stretch
    sure: Stretch
    restarted: tuple[tuple[float, Stretch], ...]

    def of(self, fleets: Indices) -> "Parts":
        """The same of some fleets; there must be one leading axis."""
        restarted = tuple((weight, stretch.of(fleets)) for weight, stretch in self.restarted)
        own, undoubted = self.own.of(fleets), self.undoubted.of(fleets)
        return Parts(own, undoubted, self.whole.of(fleets), self.sure.of(fleets), restarted)


@dataclass(frozen=True)
class Expectation:
    """What is expected of the canary nodes, before their bad events are looked at.

    `compared` has the blocks with stable nodes; `past` those without, if there are any. `only_past`, shape
    (...), is where canary nodes never had stable nodes beside them.
    """

    canaries: Canaries
    compared: Parts
    past: Parts | None
    only_past: Flags

    @property
    def exposure(self) -> Floats:
        """The information about the logarithm of the canary's ratio, since the rollout began.

        Without the doubted blocks: nothing but a disaster is found by them, so nothing is cleared by them.
        """
        exposure = exposure_of(self.compared.sure)
        if self.past is None:
            return exposure
        return np.where(self.only_past, exposure_of(self.past.sure), exposure)

    def of(self, fleets: Indices) -> "Expectation":
        """The same of some fleets; there must be one leading axis."""
        past = None if self.past is None else self.past.of(fleets)
        return Expectation(self.canaries.of(fleets), self.compared.of(fleets), past, self.only_past[fleets])


def weigh(baseline: Baseline, blocks: Blocks, settings: Settings = PRODUCT) -> Evidence:
    """Weigh what was counted since the rollout began; without any canary's events the evidence is at most 1.

    Blocks should have the edges of `grid.block_edges`: with one block there is no telling what is early.
    """
    expectation = expect(baseline, blocks, settings)
    bad = np.take_along_axis(blocks.bad, expectation.canaries.nodes[..., None], axis=-2)
    return _evidence(expectation, blocks, bad, judge(expectation, bad, settings), settings)


def expect(baseline: Baseline, blocks: Blocks, settings: Settings = PRODUCT) -> Expectation:
    """All that does not depend on the canary nodes' bad events: it serves for any number of `judge` calls."""
    fleet = sort_out(baseline, blocks, settings)
    compared = fleet.canaries.compared
    seen = fleet.canaries.total.sum(-2) > 0
    alone = seen & ~compared & baseline.learned[..., None]

    def beside(chosen: Chosen, first: int, controls: Controls) -> Stretch:
        return against_controls(baseline, fleet, controls, chosen, first)

    def before(chosen: Chosen, first: int, _: Controls) -> Stretch:
        return against_past(baseline, fleet, chosen, first)

    return Expectation(
        canaries=fleet.canaries,
        compared=_parts(fleet, compared, beside, settings),
        past=_parts(fleet, alone, before, settings) if settings.past and bool(alone.any()) else None,
        only_past=alone.any(-1) & ~(seen & compared).any(-1),
    )


def judge(expectation: Expectation, bad: Floats, settings: Settings = PRODUCT) -> Floats:
    """The evidence of the canary nodes' bad events, shape (..., K, blocks) in the order of `canaries.nodes`."""
    value = _value(expectation.compared, bad, settings)
    if expectation.past is None:
        return value
    past = _value(expectation.past, bad, settings)
    return np.where(expectation.only_past, past, value + settings.past * past)


def _parts(
    fleet: Fleet, blocks: Flags, stretch: Callable[[Chosen, int, Controls], Stretch], settings: Settings
) -> Parts:
    """All stretches of the blocks that are to be looked at, shape (..., blocks)."""
    canaries = fleet.canaries
    counted = canaries.own & blocks[..., None, :]
    own = undoubted = choose(fleet, counted)
    whole = sure = stretch(own, 0, fleet.controls)
    if settings.early_ticks:
        undoubted = choose(fleet, counted & ~early_blocks(fleet, settings.early_ticks))
        sure = stretch(undoubted, 0, fleet.controls)
    restarts = _restarts(fleet.ticks, settings)
    few = fewer_controls(fleet.controls, RESTART_CONTROLS)
    restarted = tuple((weight, stretch(undoubted, first, few)) for first, weight in restarts)
    return Parts(own, undoubted, whole, sure, restarted)


def _restarts(ticks: Floats, settings: Settings) -> list[tuple[int, float]]:
    """The blocks that evidence is weighed from anew, with the weights."""
    if not settings.restarted:
        return []
    starts = np.round(np.cumsum(ticks) - ticks, 6)
    weighed = [(first, settings.restarted * restart_weight(float(at))) for first, at in enumerate(starts)]
    return [(first, weight) for first, weight in weighed if weight > 0]


def _value(parts: Parts, bad: Floats, settings: Settings) -> Floats:
    """The evidence of all parts together; see Settings."""
    own = np.where(parts.own.counted, bad, 0.0).sum(-1)
    value = settings.whole * _exp(_log_evidence(parts.whole, own, settings.ratios))
    if not settings.early_ticks and not parts.restarted:
        return value
    undoubted = sums_from(np.where(parts.undoubted.counted, bad, 0.0))
    restarted = np.zeros(bad.shape[:-2])
    for weight, stretch in parts.restarted:
        counted = undoubted[..., stretch.first]
        restarted += weight * _exp(_log_evidence(stretch, counted, settings.ratios, fine=False))
    if not settings.early_ticks:
        return value + restarted
    sure = settings.whole * _exp(_log_evidence(parts.sure, undoubted[..., 0], settings.ratios))
    beyond = tuple(settings.warmup_ratio * increase for increase in settings.ratios[1:])
    extreme = _exp(_log_evidence(parts.whole, own, beyond, settings.warmup_ratio))
    doubted = np.minimum(value + restarted, (sure + restarted) ** settings.sureness)
    return np.maximum(doubted, np.where(extreme > 1.0, extreme, 0.0))


def _exp(logs: Floats) -> Floats:
    """The exponential, bounded so that sums and powers of it stay finite."""
    found: Floats = np.exp(np.minimum(logs, 300.0))
    return found


_FEW_POINTS = ((0.0, 2 / 3), (-1.73205, 1 / 6), (1.73205, 1 / 6))
_FIVE_POINTS = (
    (0.0, 0.53333),
    (-1.35563, 0.22208),
    (1.35563, 0.22208),
    (-2.85697, 0.01126),
    (2.85697, 0.01126),
)
_SPACING = 0.5
_DENSE_POINTS = tuple(
    (_SPACING * i, _SPACING * math.exp(-((_SPACING * i) ** 2) / 2) / math.sqrt(2 * math.pi))
    for i in range(-10, 11)
)
"""Points and weights for a normal error: three or five where it is small beside nodes' own error; dense elsewhere."""


def _log_evidence(
    stretch: Stretch, bad: Floats, ratios: tuple[float, ...], null: float = 1.0, *, fine: bool = True
) -> Floats:
    """Log of the mean over the ratios of the likelihood ratio against `null`; `bad` has shape (..., K).

    Where the nodes are pooled, of their sum, with the shared error integrated out by dense points; so that none
    of them stands alone, the square of their spacing is taken for the sum's own variance. Else by five points,
    or by three, which are enough with more than five canary nodes.
    """
    few = _FIVE_POINTS if fine and bad.shape[-1] <= 5 else _FEW_POINTS
    if not bool(stretch.pooled.any()):
        return _log_integrated(stretch, bad, ratios, null, few)
    summed = stretch.sum(_SPACING**2), bad.sum(-1, keepdims=True)
    pooled = _log_integrated(*summed, ratios, null, _DENSE_POINTS)
    if bool(stretch.pooled.all()):
        return pooled
    return np.where(stretch.pooled, pooled, _log_integrated(stretch, bad, ratios, null, few))


def _log_integrated(
    stretch: Stretch,
    bad: Floats,
    ratios: tuple[float, ...],
    null: float,
    points: tuple[tuple[float, float], ...],
) -> Floats:
    """The same by the points that are given."""
    scale = np.sqrt(stretch.uncertainty)
    events = bad.sum(-1)
    slope = stretch.dispersion * stretch.mean
    trials = bad + 1.0 / stretch.dispersion

    def logs(increases: tuple[float, ...]) -> Floats:
        """Log of the mean likelihood, up to a summand that is the same for all increases."""
        terms = []
        for increase in increases:
            for z, weight in points:
                factor = increase * np.exp(scale * z)
                grown = np.log(1.0 + slope * factor[..., None])
                likelihood = events * np.log(factor) - np.einsum("...k,...k->...", trials, grown)
                terms.append(likelihood + np.log(weight / len(increases)))
        all_terms = np.stack(terms)
        most = all_terms.max(0)
        found: Floats = most + np.log(np.exp(all_terms - most).sum(0))
        return found

    value: Floats = logs(ratios) - logs((null,))
    return value


def _evidence(
    expectation: Expectation, blocks: Blocks, bad: Floats, value: Floats, settings: Settings
) -> Evidence:
    """The value with the figures of the main stretch: of blocks with stable nodes where there are any."""
    figures = _figures(expectation.compared, bad, settings.early_ticks)
    if expectation.past is not None:
        only = expectation.only_past[..., None]
        past = _figures(expectation.past, bad, settings.early_ticks)
        figures = tuple(np.where(only, one, other) for one, other in zip(past, figures, strict=True))
    counted, expected, doubted, total, dispersion, contribution, uncertainty = figures
    exposure = expectation.exposure

    def per_node(values: Floats) -> Floats:
        return _spread(blocks.total.shape[:-1], expectation.canaries.nodes, values)

    return Evidence(
        value=value,
        exposure=exposure,
        detectable_ratio=detectable_ratio(exposure),
        ratio=ratio(counted.sum(-1), expected.sum(-1), 1.0),
        canary_nodes=(total > 0).sum(-1).astype(np.float64),
        control_nodes=(~blocks.canary & (blocks.total > 0)).any(-1).sum(-1).astype(np.float64),
        bad=per_node(counted),
        expected=per_node(expected),
        doubted=per_node(doubted),
        total=per_node(total),
        contribution=per_node(contribution),
        dispersion=per_node(dispersion),
        uncertainty=uncertainty[..., 0],
    )


def _figures(parts: Parts, bad: Floats, early_ticks: float) -> tuple[Floats, ...]:
    """Of each canary node, (..., K), and last the uncertainty that they share, (..., 1).

    Bad, expected, doubted and all events, dispersion, and its part of the log-likelihood ratio at the estimated
    ratio.
    """
    stretch = parts.whole
    counted = np.where(parts.own.counted, bad, 0.0).sum(-1)
    estimate = np.maximum(ratio(counted.sum(-1), stretch.mean.sum(-1), 1.0), 1e-9)[..., None]
    slope = stretch.dispersion * stretch.mean
    grown = np.log((1.0 + slope * estimate) / (1.0 + slope))
    contribution = counted * np.log(estimate) - (counted + 1.0 / stretch.dispersion) * grown
    total = parts.own.total.sum(-1)
    doubted = _doubted(parts, early_ticks)
    shared = stretch.uncertainty[..., None]
    return counted, stretch.mean, doubted, total, stretch.dispersion, contribution, shared


def _doubted(parts: Parts, early_ticks: float) -> Floats:
    """The expected events of each canary node's doubted beginning, as many as it will have when it is over."""
    so_far = parts.whole.mean - parts.sure.mean
    active = parts.own.active_from[..., 0]
    whole = parts.whole.mean * ratio(np.full(active.shape, early_ticks), active, 0.0)
    found: Floats = np.where(active < early_ticks, whole, np.maximum(so_far, 0.0))
    return found


def _spread(shape: tuple[int, ...], nodes: Indices, values: Floats) -> Floats:
    """The canary nodes' values in the order of all nodes."""
    found = np.zeros(shape)
    np.put_along_axis(found, nodes, values, axis=-1)
    return found
