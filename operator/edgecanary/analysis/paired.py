"""Two revisions on the same inputs: sequential McNemar, exact at every look.

Only discordant pairs count, in which one revision is right and the other wrong. If the canary is no worse, each
is against the canary with a chance of at most one half, whatever came before. The evidence is the likelihood
ratio for a chance above one half, uniform between one half and one, over one half: an e-process, so that by
Ville's inequality it ever reaches 1 / alpha with a chance of at most alpha.
"""

from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.counts import Floats
from edgecanary.analysis.exposure import detectable_ratio, needed_exposure

_ROUNDS = 20_000
_PRECISION = 1e-13
_TINY = 1e-300


@dataclass(frozen=True)
class PairedEvidence:
    """What the discordant pairs say, each of shape (...).

    `value` is to be compared with 1 / (1 - confidence); `ratio` is the odds that a discordant pair is against
    the canary, with half a pair added to both sides; `exposure` and `detectable_ratio` are for these odds.
    """

    value: Floats
    exposure: Floats
    detectable_ratio: Floats
    ratio: Floats
    pairs: Floats


def weigh_pairs(canary_worse: Floats, stable_worse: Floats) -> PairedEvidence:
    """Weigh discordant pairs: how often only the canary was wrong, and how often only the stable revision.

    Raises ValueError for counts that are negative or no numbers.
    """
    worse, better = np.asarray(canary_worse, np.float64), np.asarray(stable_worse, np.float64)
    if not (np.all(worse >= 0) and np.all(better >= 0)):
        raise ValueError("discordant pairs must be counts of 0 or more; look at the query that gave them")
    pairs = worse + better
    log_value = (
        (pairs + 1.0) * np.log(2.0)
        + _log_beta(worse + 1.0, better + 1.0)
        + _log_upper_half(worse + 1.0, better + 1.0)
    )
    exposure = pairs / 4.0
    return PairedEvidence(
        value=np.exp(np.minimum(log_value, 700.0)),
        exposure=exposure,
        detectable_ratio=detectable_ratio(exposure),
        ratio=(worse + 0.5) / (better + 0.5),
        pairs=pairs,
    )


def needed_pairs(detect_ratio: float) -> float:
    """Discordant pairs at which a canary without that ratio of odds may be promoted."""
    return 4.0 * needed_exposure(detect_ratio)


def _log_upper_half(first: Floats, second: Floats) -> Floats:
    """Log of the chance that a beta variable is above one half."""
    direct = second >= first
    low, high = np.where(direct, second, first), np.where(direct, first, second)
    tail = (
        -(low + high) * np.log(2.0)
        - _log_beta(low, high)
        - np.log(low)
        + np.log(_continued_fraction(low, high))
    )
    found: Floats = np.where(direct, tail, np.log1p(-np.exp(np.minimum(tail, np.log(0.75)))))
    return found


def _continued_fraction(first: Floats, second: Floats) -> Floats:
    """The continued fraction of the incomplete beta function at one half, by Lentz's method; first >= second."""
    total = first + second
    lower = np.ones_like(first)
    upper = 1.0 / _away_from_zero(1.0 - total * 0.5 / (first + 1.0))
    value = change = upper
    for index in range(1, _ROUNDS):
        twice = first + 2.0 * index
        for term in (
            index * (second - index) * 0.5 / ((twice - 1.0) * twice),
            -(first + index) * (total + index) * 0.5 / (twice * (twice + 1.0)),
        ):
            upper = 1.0 / _away_from_zero(1.0 + term * upper)
            lower = _away_from_zero(1.0 + term / lower)
            change = upper * lower
            value = value * change
        if bool(np.all(np.abs(change - 1.0) < _PRECISION)):
            break
    return value


def _away_from_zero(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)


def _log_beta(first: Floats, second: Floats) -> Floats:
    found: Floats = _log_gamma(first) + _log_gamma(second) - _log_gamma(first + second)
    return found


def _log_gamma(values: Floats) -> Floats:
    """Stirling's series, after eight steps up the recurrence; for values of 1 and more."""
    shifted = values + 8.0
    product = np.ones_like(values)
    for step in range(8):
        product = product * (values + step)
    inverse = 1.0 / (shifted * shifted)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / shifted
    found: Floats = (
        (shifted - 0.5) * np.log(shifted) - shifted + 0.5 * np.log(2 * np.pi) + series - np.log(product)
    )
    return found
