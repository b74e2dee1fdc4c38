"""Shares with intervals, and delays, out of the looks at which methods gave alarm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates import cells
from benchmarks.gates.cells import HORIZONS, Fleet, Regression
from benchmarks.gates.harness import Result

Z_95 = 1.959964


@dataclass(frozen=True)
class Share:
    """So many of so many runs."""

    count: int
    of: int

    @property
    def percent(self) -> float:
        """NaN of no runs."""
        return 100 * self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, in percent."""
        low, high = wilson(self.count, self.of)
        return 100 * low, 100 * high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.1f} ({low:.1f}-{high:.1f})"


@dataclass(frozen=True)
class Detection:
    """What became of a bad revision within a horizon.

    `delay` and `requests` are medians over the runs that found it, counted from the regression's begin (NaN if
    none did); `exposed` is the mean number of nodes that got it, all of them where it was missed.
    """

    found: Share
    delay: float
    requests: float
    exposed: float


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's score interval of a share at 95 %; the whole range without runs."""
    if not of:
        return 0.0, 1.0
    share, square = count / of, Z_95**2
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = Z_95 * np.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def false_rollback(result: Result, horizon: int) -> Share:
    """Runs of a good revision with an alarm within the horizon."""
    alarm = result.alarm[HORIZONS.index(horizon)]
    return Share(int((alarm > 0).sum()), int(alarm.size))


def detection(
    result: Result, regression: Regression, fleet: Fleet, horizon: int, ticks: int = 240
) -> Detection:
    """Of the runs without a false alarm before the regression began."""
    begin = cells.begin(regression, ticks)
    alarm = result.alarm[HORIZONS.index(horizon)].astype(np.int64)
    in_time = (alarm == 0) | (alarm > begin)
    found = alarm > begin
    longest = horizon == HORIZONS[-1]
    share = Share(int(found.sum()), int(in_time.sum()))
    missed = 1 - share.percent / 100 if share.of else float("nan")
    return Detection(
        found=share,
        delay=_median(alarm[found] - begin),
        requests=_median(result.requests[found]) if longest else float("nan"),
        exposed=fleet.canaries + missed * (fleet.nodes - fleet.canaries),
    )


def full_delay(result: Result, regression: Regression, ticks: int = 240) -> float:
    """The median delay over all runs, in ticks at full strength; infinite where most runs do not find it.

    While half of the increase is there, a tick counts half. Alarms count for half of the revision's time from
    the regression's begin on, for one that rises for all of it.
    """
    begin = cells.begin(regression, ticks)
    alarm = result.alarm[-1].astype(np.int64)
    alarm = alarm[(alarm == 0) | (alarm > begin)]
    strength = (cells.strength(regression, ticks) - 1) / (regression.ratio - 1)
    passed = np.concatenate(([0.0], np.cumsum(strength)))
    end = ticks if regression.onset is cells.Onset.SLOW else begin + ticks // 2
    delays = np.where((alarm > 0) & (alarm <= end), passed[alarm], np.inf)
    return float(np.median(delays)) if delays.size else float("nan")


def differ(one: Share, other: Share) -> bool:
    """Are the shares further apart than chance explains? At 1 %, two-sided."""
    pooled = (one.count + other.count) / (one.of + other.of)
    error = np.sqrt(pooled * (1 - pooled) * (1 / one.of + 1 / other.of))
    return bool(abs(one.count / one.of - other.count / other.of) > 2.5758 * error)


def promoted(result: Result, position: int) -> tuple[Share, Share]:
    """Runs that reached the exposure before an alarm, of those that came to either; and those that came to neither."""
    cleared = result.cleared[position] > 0
    caught = (result.alarm[-1] > 0) & ~cleared
    decided = int(cleared.sum() + caught.sum())
    return Share(int(cleared.sum()), decided), Share(int(cleared.size) - decided, int(cleared.size))


def _median(values: NDArray[np.int64] | NDArray[np.float32]) -> float:
    return float(np.median(values)) if values.size else float("nan")
