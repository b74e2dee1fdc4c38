"""Fleets with random traffic for the tests of comparisons; small, seeded, and the same for every caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecanary.analysis.counts import Blocks, Floats, History


@dataclass(frozen=True)
class Traffic:
    """Fleets of `nodes` whose first `canaries` nodes switch at once; `burst` is the squared variation of a tick."""

    runs: int = 1
    nodes: int = 12
    canaries: int = 3
    rate: float = 0.02
    requests: float = 100.0
    burst: float = 0.3
    offline: float = 0.05
    history_ticks: int = 64
    ticks: int = 40


@dataclass(frozen=True)
class Trace:
    """Counts tick by tick, shape (runs, nodes, ticks), and the history."""

    traffic: Traffic
    history: History
    total: Floats
    bad: Floats

    def blocks(self, edges: Sequence[float], ratio: float = 1.0, begin: int = 0) -> Blocks:
        """The counts between the edges, the canaries' bad events `ratio` times as many from a tick on."""
        bad = self.bad.copy()
        worse = np.floor(bad[:, : self.traffic.canaries, begin:] * ratio)
        bad[:, : self.traffic.canaries, begin:] = np.minimum(
            worse, self.total[:, : self.traffic.canaries, begin:]
        )
        canary = np.zeros((*self.total.shape[:2], len(edges) - 1), np.bool_)
        canary[:, : self.traffic.canaries] = True
        return Blocks(
            ticks=np.diff(np.array(edges, np.float64)),
            canary=canary,
            total=_between(self.total, edges),
            bad=_between(bad, edges),
            active=_between((self.total > 0).astype(np.float64), edges),
        )


def trace(traffic: Traffic, seed: int = 1) -> Trace:
    """Random counts; nodes differ in rate and volume, burst, and are offline now and then."""
    random = np.random.Generator(np.random.PCG64(seed))
    each = (traffic.runs, traffic.nodes, 1)
    rate = traffic.rate * random.gamma(4.0, 0.25, each)
    volume = traffic.requests * np.exp(random.normal(0.0, 0.5, each))
    ticks = traffic.history_ticks + traffic.ticks
    shape = (traffic.runs, traffic.nodes, ticks)
    total = random.poisson(np.broadcast_to(volume, shape)) * (random.random(shape) >= traffic.offline)
    chance = rate * (random.gamma(1 / traffic.burst, traffic.burst, shape) if traffic.burst else 1.0)
    bad = random.binomial(total, np.minimum(chance, 1.0)).astype(np.float64)
    before, since = np.split(total.astype(np.float64), [traffic.history_ticks], axis=-1)
    before_bad, since_bad = np.split(bad, [traffic.history_ticks], axis=-1)
    history = History(before.sum(-1), before_bad.sum(-1), np.arange(traffic.nodes), before, before_bad)
    return Trace(traffic, history, since, since_bad)


def one(history: History, run: int) -> History:
    """The history of a single run."""
    return History(
        history.total[run],
        history.bad[run],
        history.sample,
        history.ticks_total[run],
        history.ticks_bad[run],
    )


def one_run(blocks: Blocks, run: int) -> Blocks:
    """The blocks of a single run."""
    return Blocks(blocks.ticks, blocks.canary[run], blocks.total[run], blocks.bad[run], blocks.active[run])


def _between(values: Floats, edges: Sequence[float]) -> Floats:
    places = [int(edge) for edge in edges]
    return np.stack([values[..., a:b].sum(-1) for a, b in pairwise(places)], axis=-1)
