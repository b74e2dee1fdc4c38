"""What other tools do, judged on the same traces: fixed thresholds, repeated z-tests and rank tests.

All of them look at the canaries as one series and at stable nodes as another. The judge with Kayenta's rules
follows the published description (spinnaker.io, "How canary judgment works" and "Best practices"; the
comparison's settings from kayenta's pull requests 96, 197 and 357): the Mann-Whitney test with ties, its 98 %
confidence interval of the shift, and a tolerance band of a quarter of the Hodges-Lehmann estimate around 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates.cells import HORIZONS
from benchmarks.gates.traces import Counts, Feed

Series = NDArray[np.float64]
Looks = NDArray[np.int16]

FIXED_RATE = 0.02
FAILURES = 3
"""More than twice."""

Z_5_PERCENT = 1.644854
"""One-sided: only a worse canary counts, with our 5 %."""

Z_98_PERCENT = 2.326348
"""Two-sided, as published; only a worse canary counts."""

TOLERANCE = 0.25
JUDGEMENTS = 3
"""A canary's life is cut into three intervals, each judged on all since the start."""


@dataclass(frozen=True)
class Groups:
    """Events and bad events in each tick, of the canaries, of all stable nodes, and of as many stable nodes."""

    canary: tuple[Series, Series]
    stable: tuple[Series, Series]
    few: tuple[Series, Series]
    usual_rate: Series


def groups(feed: Feed, usual_rate: Series) -> Groups:
    """The series, shape (ticks, runs), of a good revision. `usual_rate` is of each fleet's history."""
    canaries, nodes = feed.conditions.canaries, feed.conditions.nodes
    few = nodes - canaries
    return Groups(
        (_ticks(feed.total[:, :, :canaries]), _ticks(feed.bad[:, :, :canaries])),
        (_ticks(feed.total[:, :, canaries:]), _ticks(feed.bad[:, :, canaries:])),
        (_ticks(feed.total[:, :, few:]), _ticks(feed.bad[:, :, few:])),
        usual_rate,
    )


def with_canaries(found: Groups, bad: Counts) -> Groups:
    """The same with other bad events of the canaries, shape (ticks, runs, canaries)."""
    return replace(found, canary=(found.canary[0], bad.sum(2, dtype=np.float64)))


def _ticks(sums: Counts) -> Series:
    return np.diff(sums.sum(2, dtype=np.float64), axis=0)


def fixed_threshold(found: Groups) -> Looks:
    """The canaries' rate in a tick above 2 % more than twice."""
    return _above(found, np.full_like(found.usual_rate, FIXED_RATE))


def usual_threshold(found: Groups) -> Looks:
    """The canaries' rate in a tick above twice the fleet's usual rate more than twice."""
    return _above(found, 2 * found.usual_rate)


def z_test(found: Groups) -> Looks:
    """Two-proportion z-test at 5 % of all events since the switch, at every look."""
    n, x = (np.cumsum(values, 0) for values in found.canary)
    m, y = (np.cumsum(values, 0) for values in found.stable)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (x + y) / (n + m)
        z = (x / n - y / m) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return at_horizons(first(z > Z_5_PERCENT))


def rank_test(found: Groups) -> Looks:
    """Mann-Whitney at 98 % of the rates in all ticks since the switch, at every look."""
    return at_horizons(first(RankSums(rates(found.canary), rates(found.stable)).z() > Z_98_PERCENT))


def kayenta_judge(found: Groups) -> Looks:
    """The published rules as recommended: a baseline as large as the canary, three judgements of a life."""
    canary, baseline = rates(found.canary), rates(found.few)
    z = RankSums(canary, baseline).z()
    out = np.zeros((len(HORIZONS), canary.shape[1]), np.int16)
    for position, horizon in enumerate(HORIZONS):
        for part in range(1, JUDGEMENTS + 1):
            look = horizon * part // JUDGEMENTS
            if look > len(z):
                break
            open_runs = np.flatnonzero((out[position] == 0) & (z[look - 1] > Z_98_PERCENT))
            high = [run for run in open_runs if is_high(canary[:look, run], baseline[:look, run])]
            out[position, high] = look
    return out


Z_TEST_NAME = "z-test 5 %, each look"

PEERS: dict[str, Callable[[Groups], Looks]] = {
    "fixed 2 %, more than twice": fixed_threshold,
    "fixed 2x usual, more than twice": usual_threshold,
    Z_TEST_NAME: z_test,
    "Mann-Whitney 98 %, each look": rank_test,
    "Kayenta's rules": kayenta_judge,
}


SLOW_PEERS = ("Mann-Whitney 98 %, each look", "Kayenta's rules")
"""Too costly for every regression."""


def is_high(canary: Series, baseline: Series) -> bool:
    """Whether the lower end of the shift's 98 % confidence interval is above the tolerance band."""
    canary, baseline = canary[~np.isnan(canary)], baseline[~np.isnan(baseline)]
    estimate = float(np.median(canary[:, None] - baseline[None, :]))
    return rank_z(canary - TOLERANCE * abs(estimate), baseline) > Z_98_PERCENT


def rank_z(one: Series, other: Series) -> float:
    """Mann-Whitney of two samples, normal approximation with ties and continuity; positive if `one` is larger."""
    below = np.searchsorted(np.sort(other), one, "left").sum()
    equal = np.searchsorted(np.sort(other), one, "right").sum() - below
    _, counts = np.unique(np.concatenate((one, other)), return_counts=True)
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    return float(_standardised(below + equal / 2.0, len(one), len(other), ties))


def rates(group: tuple[Series, Series]) -> Series:
    """Bad events of all in each tick; NaN where there were none."""
    total, bad = group
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(total > 0, bad / total, np.nan))


class RankSums:
    """Mann-Whitney statistics of two growing samples, shape (ticks, runs); NaN is no observation."""

    def __init__(self, one: Series, other: Series) -> None:
        runs = one.shape[1]
        self._wins = np.zeros(one.shape)
        self._ties = np.zeros(one.shape)
        self._sizes = np.cumsum(~np.isnan(one), 0), np.cumsum(~np.isnan(other), 0)
        wins, ties = np.zeros(runs), np.zeros(runs)
        for tick in range(len(one)):
            new, newer = one[tick], other[tick]
            wins += (other[:tick] < new).sum(0) + 0.5 * (other[:tick] == new).sum(0)
            wins += (one[: tick + 1] > newer).sum(0) + 0.5 * (one[: tick + 1] == newer).sum(0)
            # A value that is there k times already makes k^3 - k grow by 3k^2 + 3k.
            known = (one[:tick] == new).sum(0) + (other[:tick] == new).sum(0)
            ties += 3.0 * known * known + 3.0 * known
            known = (one[: tick + 1] == newer).sum(0) + (other[:tick] == newer).sum(0)
            ties += 3.0 * known * known + 3.0 * known
            self._wins[tick], self._ties[tick] = wins, ties

    def z(self) -> Series:
        """The standardised statistic at each tick; positive if the first sample is larger."""
        return _standardised(self._wins, *self._sizes, self._ties)


def _standardised(
    wins: Series | float, one: Series | int, other: Series | int, ties: Series | float
) -> Series:
    """NaN where nothing can be said."""
    size = np.asarray(one, np.float64) + other
    pairs = np.asarray(one, np.float64) * other
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = pairs / 12 * (size + 1 - ties / (size * (size - 1)))
        return np.asarray((wins - pairs / 2 - 0.5) / np.sqrt(variance))


def _above(found: Groups, limit: Series) -> Looks:
    total, bad = found.canary
    failures = np.cumsum((total > 0) & (bad > limit * total), 0)
    return at_horizons(first(failures >= FAILURES))


def first(flags: NDArray[np.bool_]) -> Looks:
    """The first look (1 is the first) at which the flag is set, for each run; 0 if never."""
    return np.where(flags.any(0), flags.argmax(0) + 1, 0).astype(np.int16)


def at_horizons(looks: Looks) -> Looks:
    """The first alarm within each horizon, shape (horizons, runs); 0 if there is none."""
    return np.stack([np.where(looks <= horizon, looks, 0) for horizon in HORIZONS]).astype(np.int16)
