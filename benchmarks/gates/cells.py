"""The grid: fleets, rates, noise; and the regressions that are put upon each trace."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates.traces import Conditions, Counts, Traces

HORIZONS = (10, 60, 240)
"""Looks, one each tick, after which the figures are read."""

RUNS = 1000


class Noise(StrEnum):
    """How rough the traffic is."""

    CLEAN = "clean"
    MEDIUM = "medium"
    HARD = "hard"


class Onset(StrEnum):
    """When the regression comes. Slow: it grows by the same factor each tick until the middle."""

    START = "start"
    LATE = "tick 60"
    MIDDLE = "middle"
    SLOW = "slow"


class Scope(StrEnum):
    """Which canaries have it: all, or those of one hardware class, a third of them."""

    ALL = "all nodes"
    CLASS = "one class"


@dataclass(frozen=True)
class Fleet:
    """Nodes, and how many of them are canaries."""

    nodes: int
    canaries: int

    def __str__(self) -> str:
        return f"{self.nodes}x{self.canaries}"


@dataclass(frozen=True)
class Regression:
    """The canary revision's rate of bad events as a multiple of the stable one's."""

    ratio: float
    onset: Onset = Onset.START
    scope: Scope = Scope.ALL

    def __str__(self) -> str:
        return f"{self.ratio:g}x {self.onset} {self.scope}"


@dataclass(frozen=True)
class Cell:
    """One row of conditions, under a name of its own."""

    name: str
    fleet: Fleet
    conditions: Conditions
    regressions: tuple[Regression, ...]
    runs: int = RUNS


FLEETS = (Fleet(12, 1), Fleet(12, 3), Fleet(100, 5), Fleet(1000, 50))
RATES = (0.005, 0.05)
REQUESTS = (20.0, 500.0)
RATIOS = (1.25, 1.5, 2.0, 3.0, 10.0)
GOOD = Regression(1.0)

_NOISE = {
    Noise.CLEAN: (0.0, 0.0, 0.0),
    Noise.MEDIUM: (0.5, 0.2, 0.5),
    Noise.HARD: (1.0, 0.2, 0.5),
}

_STRESS: dict[str, tuple[dict[str, float | int | bool], tuple[Fleet, ...]]] = {
    "drift sd .3, phi .98": ({"drift_sd": 0.3, "drift_phi": 0.98}, FLEETS[:3]),
    "drift sd .3, phi .995": ({"drift_sd": 0.3, "drift_phi": 0.995}, FLEETS[:3]),
    "common x3 shock at tick 5": ({"shock_ratio": 3.0}, FLEETS[:3]),
    "30 % offline in stretches of 60": ({"offline": 0.3, "offline_ticks": 60}, FLEETS[:3]),
    "own diurnal phase": ({"own_phase": True}, FLEETS[:2]),
    "bursts with cv^2 3": ({"burst_cv2": 3.0}, FLEETS[:2]),
    "history of one day": ({"history_ticks": 96}, FLEETS[:2]),
    "warm-up x3 for 3 ticks": ({"warmup_ratio": 3.0, "warmup_ticks": 3}, FLEETS[:3]),
}


def conditions(fleet: Fleet, rate: float, requests: float, noise: Noise) -> Conditions:
    """The conditions of a cell of the grid."""
    rate_cv, drift_sd, burst_cv2 = _NOISE[noise]
    return Conditions(
        fleet.nodes, fleet.canaries, rate, requests, rate_cv=rate_cv, drift_sd=drift_sd, burst_cv2=burst_cv2
    )


def cell_name(fleet: Fleet, rate: float, requests: float, noise: Noise) -> str:
    """The name of a cell of the grid: `100x5 0.5%/20 hard`."""
    return f"{fleet} {100 * rate:g}%/{requests:g} {noise}"


def grid() -> list[Cell]:
    """The main grid."""
    return [
        Cell(
            cell_name(fleet, rate, requests, noise),
            fleet,
            conditions(fleet, rate, requests, noise),
            _regressions(fleet),
        )
        for fleet in FLEETS
        for rate in RATES
        for requests in REQUESTS
        for noise in Noise
        if fleet.nodes < 1000 or _of_the_largest(requests, noise)
    ]


def _of_the_largest(requests: float, noise: Noise) -> bool:
    """The largest fleet takes long, and with many requests all is found at the first look."""
    return requests == REQUESTS[0] and noise is not Noise.MEDIUM


def _regressions(fleet: Fleet) -> tuple[Regression, ...]:
    onsets = (Onset.START, Onset.MIDDLE, Onset.SLOW)
    everywhere = [Regression(ratio, onset) for onset in onsets for ratio in RATIOS]
    one_class = (
        [Regression(ratio, Onset.START, Scope.CLASS) for ratio in RATIOS] if fleet.canaries > 1 else []
    )
    return (GOOD, *everywhere, *one_class)


def late_cells() -> list[Cell]:
    """Where the study looked at a regression that comes at tick 60."""
    found = (GOOD, Regression(2.0), Regression(2.0, Onset.LATE))
    return [
        Cell(f"{fleet} late", fleet, conditions(fleet, 0.05, 500.0, Noise.MEDIUM), found)
        for fleet in FLEETS[:3]
    ]


def stress_cells() -> list[Cell]:
    """A good revision under conditions worse than those of the grid; two traffics for each fleet."""
    return [
        _stress_cell(name, changes, fleet, rate, requests)
        for name, (changes, fleets) in _STRESS.items()
        for fleet in fleets
        for rate, requests in ((0.05, 500.0), (0.01, 100.0))
    ]


def _stress_cell(
    name: str, changes: dict[str, float | int | bool], fleet: Fleet, rate: float, requests: float
) -> Cell:
    base = conditions(fleet, rate, requests, Noise.MEDIUM)
    changed = replace(base, **changes)  # type: ignore[arg-type]
    return Cell(f"{name}: {fleet} {100 * rate:g}%/{requests:g}", fleet, changed, (GOOD,))


def everything() -> list[Cell]:
    """All cells of the page."""
    return [*grid(), *late_cells(), *stress_cells()]


def cost(cell: Cell) -> float:
    """Seconds that a cell takes on one core, roughly: traces and controls once, canaries for each regression."""
    fleet = cell.fleet
    return (
        cell.runs / 1000 * (4 + 0.14 * fleet.nodes + (0.25 + 0.12 * fleet.canaries) * len(cell.regressions))
    )


def strength(regression: Regression, ticks: int) -> NDArray[np.float64]:
    """The regression's factor in each tick since the switch."""
    tick = np.arange(ticks)
    if regression.onset is Onset.SLOW:
        return np.asarray(regression.ratio ** np.minimum(1.0, (tick + 1) / (ticks // 2)))
    return np.where(tick >= begin(regression, ticks), regression.ratio, 1.0)


def begin(regression: Regression, ticks: int) -> int:
    """The first tick with the regression."""
    return {Onset.LATE: 60, Onset.MIDDLE: ticks // 2}.get(regression.onset, 0)


def affected(regression: Regression, canaries: int) -> int:
    """How many canaries have it."""
    return canaries if regression.scope is Scope.ALL else max(1, round(canaries / 3))


def regressed(traces: Traces, regression: Regression) -> Counts:
    """The bad events of the canaries when their revision is worse.

    Events that were bad stay bad, others turn bad by chance: a larger regression is never seen as smaller.
    """
    canaries = traces.conditions.canaries
    bad = traces.bad[:, :, :canaries].copy()
    if regression.ratio == 1:
        return bad
    share = affected(regression, canaries)
    chance = traces.chance[:, :, :share]
    factor = strength(regression, traces.conditions.ticks)[:, None, None].astype(np.float32)
    worse = np.minimum(chance * factor, np.float32(1))
    turned = (worse - chance) / np.maximum(1 - chance, np.float32(1e-6))
    spared = (traces.total[:, :, :share] - bad[:, :, :share]).astype(np.int64)
    random = np.random.Generator(np.random.SFC64((*traces.seed, 1)))
    bad[:, :, :share] += random.binomial(spared, np.clip(turned, 0, 1)).astype(np.float32)
    return bad
