"""When a comparison will know enough, from what was seen so far.

All is for one fleet, in ticks of the history. Forecasts take it that requests keep coming as they do.
"""

import math
from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.baseline import Baseline, Variation
from edgecanary.analysis.counts import Floats
from edgecanary.analysis.negative_binomial import Evidence
from edgecanary.analysis.stretches import LEAST_VARIANCE

LONGEST_TICKS = 100_000.0
"""No forecast goes further."""

_POINTS = 240


@dataclass(frozen=True)
class Remaining:
    """What is still missing: requests to canary nodes, bad events expected among them, and ticks.

    All are infinite if no time is enough: nodes vary too much for the declared effect, or nothing is asked.
    """

    requests: float
    bad_events: float
    ticks: float


def remaining(
    baseline: Baseline, evidence: Evidence, needed: float, ticks: float, control_bad: float = math.inf
) -> Remaining:
    """How far the exposure is from `needed`, after that many ticks of comparison.

    `control_bad` is how many bad events stable nodes have had: chance in these becomes less with time, also where
    nodes' variation does not.
    """
    if float(evidence.exposure) >= needed:
        return Remaining(0.0, 0.0, 0.0)
    total, bad = float(evidence.total.sum()), float(evidence.expected.sum())
    if total <= 0 or bad <= 0 or ticks <= 0:
        return Remaining(math.inf, math.inf, math.inf)
    growth = np.geomspace(1.0, max(LONGEST_TICKS / ticks, 1.0), _POINTS)
    seen = evidence.expected > 0
    fixed = 1.0 / baseline.node_shape[seen] if bool(baseline.learned) else np.zeros(int(seen.sum()))
    moving = np.maximum(evidence.dispersion[seen] - fixed, LEAST_VARIANCE)
    shrink = _shrink(baseline, ticks, growth)
    mean = np.maximum(evidence.expected[seen] * growth[:, None] - evidence.doubted[seen], 0.0)
    dispersion = fixed + moving * shrink[:, None]
    own = (mean / (1.0 + dispersion * mean)).sum(-1)
    chance = min(1.0 / (control_bad + 2.0), float(evidence.uncertainty))
    lasting = (float(evidence.uncertainty) - chance) * np.maximum(shrink, 1.0 / growth)
    exposure = own / (1.0 + own * (chance / growth + lasting))
    times = _first(exposure, growth, needed)
    return Remaining(total * (times - 1.0), bad * (times - 1.0), ticks * (times - 1.0))


def _over(baseline: Baseline, ticks: Floats) -> Variation:
    table = Variation(*(values[None, :] for values in _tables(baseline.ahead)))
    return baseline.over(table, ticks)


def _tables(variation: Variation) -> tuple[Floats, Floats, Floats]:
    return variation.variance, variation.information, variation.pilot


def _shrink(baseline: Baseline, ticks: float, growth: Floats) -> Floats:
    """How much smaller nodes' variance becomes as time grows, by the history; never larger."""
    variance = np.maximum(_over(baseline, ticks * growth).variance, LEAST_VARIANCE)
    found: Floats = np.minimum(variance / variance[0], 1.0)
    return found


def _first(exposure: Floats, places: Floats, needed: float) -> float:
    """The first place at which the exposure is enough, between the points that are known."""
    enough = np.flatnonzero(exposure >= needed)
    if enough.size == 0:
        return math.inf
    last = int(enough[0])
    if last == 0:
        return float(places[0])
    part = (needed - exposure[last - 1]) / (exposure[last] - exposure[last - 1])
    return float(places[last - 1] + part * (places[last] - places[last - 1]))
