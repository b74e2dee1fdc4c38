"""What a comparison is expected to know at a time of a rollout that has not begun: for a plan.

All is for one fleet. What nodes' history says is used where there is one; where there is none, one assumption
stands for it: see ASSUMED_VARIANCE.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecanary.analysis.baseline import Baseline, Variation, learn, ratio
from edgecanary.analysis.counts import MAX_HISTORY_NODES, Floats, History
from edgecanary.analysis.settings import PRODUCT
from edgecanary.analysis.stretches import LEAST_VARIANCE, MOST_VARIANCE, margin

ASSUMED_VARIANCE = 0.02
"""What a plan assumes where no history can tell: a calm fleet, whose nodes' counts vary in time by 14 % beside chance.

It is relative to the square of a count, and the same over any length of time.
"""

_ASSUMED_SPREAD = 0.5
_CERTAIN = 1e12
"""Weight of a variation that is assumed and so is not in doubt."""


@dataclass(frozen=True)
class Learned:
    """What the nodes' history says before a rollout: their baselines, and what each is asked per tick."""

    nodes: tuple[str, ...]
    baseline: Baseline
    requests: Floats
    tick_seconds: float

    @property
    def variation(self) -> float:
        """By how much a node's counts vary over one tick around what is expected of it, beyond chance; a share."""
        return math.sqrt(max(float(self.baseline.over(self.baseline.ahead, 1.0).variance), 0.0))


def learn_fleet(nodes: Sequence[str], history: History, tick_seconds: float) -> Learned | None:
    """What the history says; None when it is too short to say how counts vary, or holds no requests."""
    baseline = learn(history)
    if not bool(baseline.learned) or float(baseline.ahead.information.sum()) <= 0:
        return None
    requests = history.total / max(1, history.ticks_total.shape[-1])
    return Learned(tuple(nodes), baseline, requests, tick_seconds)


@dataclass(frozen=True)
class Prospect:
    """What a plan expects of nodes: `requests` and the baseline's rates are per node, in the order of `nodes`."""

    nodes: Mapping[str, int]
    baseline: Baseline
    requests: Floats
    tick_seconds: float

    def exposure(
        self, groups: Iterable[tuple[Sequence[str], float]], warmup_seconds: float
    ) -> Callable[[float], float]:
        """The exposure at a time, when groups of nodes take the canary at theirs; all in seconds.

        Zero is when the first of them does. The first ticks of each node after its warm-up are doubted by the
        verdict and add nothing.
        """
        switch = np.full(len(self.nodes), np.inf)
        for names, seconds in groups:
            switch[[self.nodes[name] for name in names]] = seconds / self.tick_seconds
        warmup = warmup_seconds / self.tick_seconds + PRODUCT.early_ticks
        return lambda at: float(
            planned_exposure(self.baseline, self.requests, switch, at / self.tick_seconds, warmup)
        )


@dataclass(frozen=True)
class Grid:
    """How a gate will cut time: the length of its history and of a tick, in seconds."""

    history_seconds: float
    tick_seconds: float


def assume(nodes: Sequence[str], rate: float, requests_per_second: float, grid: Grid) -> Prospect:
    """What a plan expects where nothing was learned: all nodes alike, `rate` is bad events per request."""
    bad = rate * requests_per_second * grid.history_seconds
    baseline = assumed_baseline(len(nodes), rate, history_bad=bad)
    places = {name: place for place, name in enumerate(nodes)}
    requests = np.full(len(nodes), requests_per_second * grid.tick_seconds)
    return Prospect(places, baseline, requests, grid.tick_seconds)


def foresee(nodes: Sequence[str], learned: Learned, requests_per_second: float) -> Prospect:
    """What a plan expects by the history, when the average node is asked so often now.

    A node without a history is taken for an average one.
    """
    known = {name: place for place, name in enumerate(learned.nodes)}
    rows = np.array([known.get(name, -1) for name in nodes], dtype=np.int64)
    volume = np.append(learned.requests, 0.0)[rows]
    asked = volume > 0
    average = float(volume[asked].mean()) if asked.any() else 1.0
    requests = np.where(asked, volume / average, 1.0) * requests_per_second * learned.tick_seconds
    baseline = replace(
        learned.baseline,
        node_rate=np.where(asked, np.append(learned.baseline.node_rate, 0.0)[rows], learned.baseline.rate),
        node_shape=np.where(asked, np.append(learned.baseline.node_shape, 1.0)[rows], learned.baseline.shape),
    )
    places = {name: place for place, name in enumerate(nodes)}
    return Prospect(places, baseline, requests, learned.tick_seconds)


def planned_exposure(
    baseline: Baseline, requests: Floats, switch: Floats, at: float, warmup: float = 0.0
) -> Floats:
    """The exposure expected at a time, for nodes with so many requests a tick; all times are in ticks.

    `switch` is when each node takes the canary, infinite for those that stay; the warm-up after it does not count.
    Time without stable nodes adds nothing.
    """
    end = at if bool(np.isinf(switch).any()) else min(at, float(switch.max()))
    rate = baseline.node_rate * requests
    ticks = np.maximum(end - switch - warmup, 0.0), np.minimum(end, switch)
    canary, stable = rate * ticks[0], rate * ticks[1]
    variance = _planned_variance(baseline, stable, end)
    own = (canary / (1.0 + _of_part(baseline, variance, ticks[0], end) * canary)).sum()
    events = stable.sum()
    moving = (stable**2 * _of_part(baseline, variance, ticks[1], end)).sum()
    uncertainty = 1.0 / (events + 2.0) + ratio(moving, events**2, 0.0)
    return np.where((own > 0) & (events > 0), own / (1.0 + own * uncertainty), 0.0)


def assumed_baseline(nodes: int, rate: float, history_bad: float = 0.0) -> Baseline:
    """A baseline for planning without a history: nodes' own rates differ by a half, and see ASSUMED_VARIANCE.

    `rate` is bad events per request, `history_bad` how many of them each node will have had before the rollout.
    """
    prior = 1.0 / _ASSUMED_SPREAD**2
    constant = Variation(np.array([ASSUMED_VARIANCE]), np.array([_CERTAIN]), np.array([ASSUMED_VARIANCE]))
    return Baseline(
        rate=np.asarray(rate),
        shape=np.asarray(prior),
        node_rate=np.full(nodes, rate),
        node_shape=np.full(nodes, prior + history_bad),
        learned=np.asarray(True),
        windows=np.ones(1),
        around=constant,
        ahead=constant,
        common=constant,
        sample=np.arange(nodes),
    )


def _planned_variance(baseline: Baseline, stable: Floats, ticks: float) -> float:
    """The variance of a count over the whole time, with the doubt that a verdict will have of it by then."""
    known = baseline.over(baseline.ahead, ticks)
    weight = (1.0 + known.pilot * stable + stable / baseline.node_shape) ** -2
    sampled = min(1.0, MAX_HISTORY_NODES / stable.size)
    information = known.information + sampled * (weight * stable * stable).sum()
    return float(np.clip(known.variance + margin(information, 0.5), LEAST_VARIANCE, MOST_VARIANCE))


def _of_part(baseline: Baseline, variance: float, ticks: Floats, whole: float) -> Floats:
    """Each node's variance when its count is over so many ticks only, with what is not known of its rate."""
    most = max(float(baseline.over(baseline.ahead, whole).variance), LEAST_VARIANCE)
    part = np.maximum(baseline.variance_over(baseline.ahead, np.maximum(ticks, 1.0)), LEAST_VARIANCE)
    found: Floats = variance * np.maximum(1.0, part / most) + 1.0 / baseline.node_shape
    return found
