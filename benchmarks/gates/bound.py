"""The most that any gate can find by some look, with false rollbacks no more than alpha.

A judge that looks once, and knows how rates are distributed, how they drift and burst, which increase to look for
and what moves the whole fleet, is the likelihood-ratio test; none is better, and gates that look more often or
know less find less.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates.traces import Conditions

ALPHA = 0.05
_FLEETS = 40_000

Values = NDArray[np.float64]


@cache
def most_found(conditions: Conditions, ratio: float, look: int, *, rates_known: bool = False) -> float:
    """The share of such regressions that the best test finds, by simulation.

    It has each node's history to learn its rate from, or knows it. Nodes' rates must differ.
    """
    random = np.random.Generator(np.random.PCG64(1))
    shape = (_FLEETS, conditions.canaries)
    prior = 1 / conditions.rate_cv**2
    rate = random.gamma(prior, conditions.rate / prior, shape)
    sigma = conditions.volume_sigma
    volume = conditions.requests * random.lognormal(-(sigma**2) / 2, sigma, shape) * (1 - conditions.offline)
    total, history = volume * look, volume * conditions.history_ticks
    before = _counts(random, rate * history, variation(conditions, conditions.history_ticks))
    spread = variation(conditions, look)
    if rates_known:
        mean, dispersion = rate * total, np.full(shape, spread)
    else:
        learned = before + prior
        mean = total * learned / (history + prior / conditions.rate)
        dispersion = spread + 1 / learned
    good = _score(_counts(random, rate * total, spread), mean, dispersion, ratio)
    bad = _score(_counts(random, ratio * rate * total, spread), mean, dispersion, ratio)
    return float((bad > np.quantile(good, 1 - ALPHA)).mean())


def variation(conditions: Conditions, ticks: int) -> float:
    """Squared coefficient of variation of a node's mean rate over some ticks, by its drift and bursts."""
    lags = np.arange(1, ticks)
    variance, phi = conditions.drift_sd**2, conditions.drift_phi
    same = np.expm1(variance) * ticks + 2 * ((ticks - lags) * np.expm1(variance * phi**lags)).sum()
    bursts = conditions.burst_cv2 * np.exp(variance) / ticks
    return float(same / ticks**2 + bursts)


def _counts(random: np.random.Generator, mean: Values, spread: float) -> Values:
    """Poisson counts whose means vary."""
    if spread:
        mean = mean * random.gamma(1 / spread, spread, mean.shape)
    return random.poisson(mean).astype(np.float64)


def _score(counts: Values, mean: Values, dispersion: Values, ratio: float) -> Values:
    """Log-likelihood ratio of negative binomial counts."""
    grown = (1 + ratio * dispersion * mean) / (1 + dispersion * mean)
    return np.asarray((counts * np.log(ratio) - (counts + 1 / dispersion) * np.log(grown)).sum(-1))
