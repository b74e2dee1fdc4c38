"""What is normal: each node's rate of bad events before the rollout, and how much nodes vary around theirs.

Rates have a gamma prior that is learned from the whole fleet; a node's history gives its posterior. How much a
node's count over t ticks varies around its expectation, beyond chance, is learned from windows of the history:
each window is left out, predicted from the rest and compared. Formulas: docs/guides/gate-statistics.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.counts import Flags, Floats, History, Indices

MAX_WINDOWS = 24
"""Windows of one length that the variation is learned from, evenly spaced over the history."""

FIRST_PILOT = 0.1
"""The variance that the first round of weights assumes."""


@dataclass(frozen=True)
class Variation:
    """The variance of a node's count around its expectation, relative to its square and beyond chance.

    `variance` is the estimate, `information` its weight (the variance of the estimate is about two over it)
    and `pilot` the variance that weights are built with.
    """

    variance: Floats
    information: Floats
    pilot: Floats


Moments = Callable[[Floats, Floats, Floats, Floats, int], tuple[Floats, Floats]]
_Found = tuple[Floats, Floats, Floats]
"""Variance, information and pilot of one length."""


@dataclass(frozen=True)
class _Learned:
    windows: Floats
    around: Variation
    ahead: Variation
    common: Variation


@dataclass(frozen=True)
class Baseline:
    """What was learned before the rollout. Leading axes are independent fleets.

    `rate` is the fleet's, shape (...); `shape` (...) is the shape of the gamma prior of nodes' rates.
    `node_rate` and `node_shape`, shape (..., nodes), are the mean and the shape of each node's posterior.
    `learned` is false where there was no history at all: then nodes can only be compared with each other.
    `windows` are the lengths in ticks, shape (windows,), at which variation is known, shape (..., windows):
    `around`, of nodes in windows that are left out of the history; `ahead`, of nodes in later windows, predicted
    from what was before, which is larger where nodes drift slowly; and `common`, of the whole fleet, ahead too.
    `sample` are the nodes that variation is learned from.
    """

    rate: Floats
    shape: Floats
    node_rate: Floats
    node_shape: Floats
    learned: Flags
    windows: Floats
    around: Variation
    ahead: Variation
    common: Variation
    sample: Indices

    def over(self, variation: Variation, ticks: Floats | float) -> Variation:
        """One of its variations over that many ticks, interpolated in log2; `ticks` match the fleets' axes."""
        return _interpolate(self.windows, variation, np.asarray(ticks, dtype=np.float64))

    def variance_over(self, variation: Variation, ticks: Floats) -> Floats:
        """The variance alone for `ticks` of shape (..., n): its own length for each of n nodes."""
        return _lookup(self.windows, variation.variance, ticks)


def learn(history: History) -> Baseline:
    """Learn from the history; all zeros or no nodes at all are allowed and give a baseline that knows little."""
    total, bad = history.total, history.bad
    rate = (bad.sum(-1) + 0.5) / (total.sum(-1) + 1.0)
    spread = _spread_of_rates(total, bad, rate)
    shape = 1.0 / spread
    node_shape = bad + shape[..., None]
    node_rate = node_shape / (total + (shape / rate)[..., None])
    learned = _learn_variation(history, shape, rate)
    return Baseline(
        rate=rate,
        shape=shape,
        node_rate=node_rate,
        node_shape=node_shape,
        learned=total.sum(-1) > 0,
        windows=learned.windows,
        around=learned.around,
        ahead=learned.ahead,
        common=learned.common,
        sample=history.sample,
    )


def at_nodes(values: Floats, nodes: Indices) -> Floats:
    """The values (..., nodes) of some nodes: the same ones in every fleet, or given for each fleet."""
    if nodes.ndim == 1:
        return values[..., nodes]
    return np.take_along_axis(values, nodes, axis=-1)


def ratio(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    """The quotient where the denominator is positive."""
    known = denominator > 0
    return np.where(known, numerator / np.where(known, denominator, 1.0), otherwise)


def moments(bad: Floats, mean: Floats, shape: Floats, pilot: Floats, axis: int) -> tuple[Floats, Floats]:
    """Terms of the moment estimate of the variation: their sums' ratio is the variance.

    The nodes on the axis share a common factor that was learned from them: each takes a part of its own
    deviation into it. That part is taken for the same in chance and in variation, which holds for many nodes.
    """
    share = np.minimum(ratio(mean, mean.sum(axis, keepdims=True), 0.0), 0.8)
    square = mean * mean
    weight = (1.0 + pilot * mean + mean / shape) ** -2
    deviation = bad - mean
    excess = deviation * deviation / (1.0 - share) - mean - square / shape
    return weight * excess, weight * square


def exact_moments(
    bad: Floats, mean: Floats, shape: Floats, pilot: Floats, axis: int
) -> tuple[Floats, Floats]:
    """The same with what the factor takes of variation, which for few nodes of unlike volume is another part.

    A node's deviation has the variance m(1 - s) by chance, and m^2 (1 - 2s + sum of all s^2) V by variation.
    """
    share = ratio(mean, mean.sum(axis, keepdims=True), 0.0)
    square = mean * mean * (1.0 - 2.0 * share + (share * share).sum(axis, keepdims=True))
    weight = (1.0 + pilot * mean + mean / shape) ** -2
    deviation = bad - mean
    return weight * (deviation * deviation - mean * (1.0 - share) - square / shape), weight * square


def _spread_of_rates(total: Floats, bad: Floats, rate: Floats) -> Floats:
    """Squared coefficient of variation of nodes' rates; the widest where there is nothing to learn it from."""
    expected = rate[..., None] * total
    weight = (1.0 + expected / 4.0) ** -2
    numerator = (weight * ((bad - expected) ** 2 - expected)).sum(-1)
    denominator = (weight * expected * expected).sum(-1)
    return np.clip(ratio(numerator, denominator, 2.0), 0.05, 2.0)


def _learn_variation(history: History, shape: Floats, rate: Floats) -> _Learned:
    """For windows of 1, 2, 4 … ticks up to half of the history, counted from its end."""
    total, bad = history.ticks_total, history.ticks_bad
    sums = (
        at_nodes(history.total, history.sample)[..., None],
        at_nodes(history.bad, history.sample)[..., None],
    )
    prior = shape[..., None, None], (shape / rate)[..., None, None]
    around: list[_Found] = []
    ahead: list[_Found] = []
    common: list[_Found] = []
    lengths: list[float] = []
    length, half = 1, total.shape[-1] // 2
    while length <= half:
        chosen = _spaced(0, total.shape[-1])
        window = total[..., chosen], bad[..., chosen]
        rest = np.maximum(sums[0] - window[0], 0.0), np.maximum(sums[1] - window[1], 0.0)
        around.append(_window_variation(moments, window[1], *_predict(window[0], rest, prior)))
        chosen = _spaced(-(-total.shape[-1] // 3), total.shape[-1])
        window = total[..., chosen], bad[..., chosen]
        past = _before(total, chosen), _before(bad, chosen)
        predicted = _predict(window[0], past, prior)
        ahead.append(_window_variation(exact_moments, window[1], *predicted))
        common.append(_common_variation(window[1], *predicted, ahead[-1][0]))
        lengths.append(float(length))
        total, bad = _pairs(total), _pairs(bad)
        length *= 2
    empty = np.zeros((*rate.shape, 0))
    return _Learned(np.array(lengths), _stack(around, empty), _stack(ahead, empty), _stack(common, empty))


def _spaced(first: int, count: int) -> Indices:
    """At most MAX_WINDOWS of the windows from `first` on, evenly spaced."""
    few = min(count - first, MAX_WINDOWS)
    return np.unique(np.linspace(first, count - 1, few).round().astype(np.int64))


def _before(counts: Floats, chosen: Indices) -> Floats:
    """The sums of all windows before each of the chosen ones."""
    found: Floats = (np.cumsum(counts, axis=-1) - counts)[..., chosen]
    return found


def _predict(
    total: Floats, known: tuple[Floats, Floats], prior: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Expected events in windows, and the shape of what is known of the nodes' rates: (total, bad) and the prior."""
    shape = known[1] + prior[0]
    return total * shape / (known[0] + prior[1]), shape


def _window_variation(terms: Moments, bad: Floats, expected: Floats, shape: Floats) -> _Found:
    mean = expected * ratio(bad.sum(-2, keepdims=True), expected.sum(-2, keepdims=True), 1.0)
    pilot = np.full((*bad.shape[:-2], 1, 1), FIRST_PILOT)
    numerator, denominator = terms(bad, mean, shape, pilot, -2)
    first = np.clip(ratio(numerator.sum((-2, -1)), denominator.sum((-2, -1)), 0.0), 0.01, 2.0)
    numerator, denominator = terms(bad, mean, shape, first[..., None, None], -2)
    information = denominator.sum((-2, -1))
    return ratio(numerator.sum((-2, -1)), information, 0.0), information, first


def _common_variation(bad: Floats, expected: Floats, shape: Floats, variance: Floats) -> _Found:
    """The fleet's sum in a window against what its nodes' other windows say, beyond nodes' own variation."""
    mean = expected.sum(-2)
    square = expected * expected
    own = (square / shape).sum(-2) + np.maximum(variance, 0.0)[..., None] * square.sum(-2)
    weight = (mean + own + FIRST_PILOT * mean * mean + 1e-12) ** -2
    excess = (bad.sum(-2) - mean) ** 2 - mean - own
    information = (weight * mean**4).sum(-1)
    found = ratio((weight * excess * mean * mean).sum(-1), information, 0.0)
    return found, information, np.clip(found, 0.01, 2.0)


def _pairs(values: Floats) -> Floats:
    """Sums of two neighbours, counted from the end; a first one that is left over is dropped."""
    even = values[..., values.shape[-1] % 2 :]
    sums: Floats = even[..., 0::2] + even[..., 1::2]
    return sums


def _stack(parts: list[_Found], empty: Floats) -> Variation:
    if not parts:
        return Variation(empty, empty, empty)
    variance, information, pilot = (np.stack(values, axis=-1) for values in zip(*parts, strict=True))
    return Variation(variance, information, pilot)


def _interpolate(windows: Floats, known: Variation, ticks: Floats) -> Variation:
    if windows.size == 0:
        none = np.zeros(np.broadcast_shapes(known.variance.shape[:-1], ticks.shape))
        return Variation(none, none, none + FIRST_PILOT)
    each = ticks[..., None]
    return Variation(
        _lookup(windows, known.variance, each)[..., 0],
        _lookup(windows, known.information, each)[..., 0],
        _lookup(windows, known.pilot, each)[..., 0],
    )


def _lookup(windows: Floats, values: Floats, ticks: Floats) -> Floats:
    """Linear in log2 of the length, clamped at the shortest and the longest window.

    `values` (..., windows) and `ticks` (..., n) broadcast over the leading axes.
    """
    if windows.size == 0:
        return np.zeros(ticks.shape)
    place = np.clip(np.log2(np.maximum(ticks, 1.0)), 0.0, windows.size - 1.0)
    if values.ndim == 1:
        alone: Floats = np.interp(place, np.arange(windows.size), values)
        return alone
    below = np.minimum(place.astype(np.int64), max(windows.size - 2, 0))
    above = np.minimum(below + 1, windows.size - 1)
    part = place - below
    leading = np.broadcast_shapes(values.shape[:-1], ticks.shape[:-1])
    table = np.broadcast_to(values, (*leading, windows.size))
    low = np.take_along_axis(table, np.broadcast_to(below, (*leading, ticks.shape[-1])), -1)
    high = np.take_along_axis(table, np.broadcast_to(above, (*leading, ticks.shape[-1])), -1)
    found: Floats = low + (high - low) * part
    return found
