"""Traces of fleets: how many events each node had in each tick, and how many of them were bad.

Every run is a fleet of its own. Its stable revision is watched for some ticks (the history); then the first
nodes switch to the canary revision, which is as good as the stable one until a regression is put upon it.
All arrays have the ticks first, then the runs, then the nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecanary.analysis.counts import MAX_HISTORY_NODES, Blocks, History

TICKS_PER_DAY = 96

Counts = NDArray[np.float32]
Grid = NDArray[np.float32]
Edges = Sequence[int]


@dataclass(frozen=True)
class Conditions:
    """What a fleet, its nodes and their traffic are like.

    Nodes differ for good: in their rate of bad events (gamma with mean `rate` and coefficient of variation
    `rate_cv`) and in their volume (lognormal with mean `requests` a tick). Over time: a diurnal swing that
    all nodes share, a drift of each node's rate (AR(1) of its logarithm), bursts (gamma, each tick anew),
    stretches offline, a shock to all nodes from a tick after the switch on, and a warm-up of the canaries,
    counted from where the product begins to count.
    """

    nodes: int
    canaries: int
    rate: float
    requests: float
    rate_cv: float = 0.0
    volume_sigma: float = 0.7
    drift_sd: float = 0.0
    drift_phi: float = 0.9
    burst_cv2: float = 0.0
    rate_swing: float = 0.3
    volume_swing: float = 0.4
    own_phase: bool = False
    offline: float = 0.05
    offline_ticks: int = 20
    shock_ratio: float = 1.0
    shock_tick: int = 5
    warmup_ratio: float = 1.0
    warmup_ticks: int = 0
    history_ticks: int = 288
    ticks: int = 240


@dataclass(frozen=True)
class Traces:
    """The events of some runs. `chance` is each event's chance to be bad on a canary without a regression."""

    conditions: Conditions
    history: History
    total: Counts
    bad: Counts
    chance: Grid
    seed: tuple[int, ...]

    @property
    def runs(self) -> int:
        """Number of fleets."""
        return int(self.total.shape[1])


def generate(conditions: Conditions, runs: int, seed: tuple[int, ...]) -> Traces:
    """Traces of `runs` fleets; the same seed gives the same traces."""
    return _Maker(conditions, runs, np.random.Generator(np.random.SFC64(seed))).make(seed)


class _Maker:
    """Draws tick after tick; what lasts from tick to tick is kept here."""

    def __init__(self, conditions: Conditions, runs: int, random: np.random.Generator) -> None:
        self._conditions = conditions
        self._random = random
        self._shape = (runs, conditions.nodes)
        self._rate = self._draw_rates()
        self._volume = self._draw_volumes()
        phases = self._shape if conditions.own_phase else (runs, 1)
        self._rate_phase = random.random(phases, np.float32)
        self._volume_phase = random.random(phases, np.float32)
        self._drift = self._normal() * np.float32(conditions.drift_sd)
        self._offset = random.integers(0, conditions.offline_ticks, self._shape)
        self._online = random.random(self._shape, np.float32) >= conditions.offline

    def make(self, seed: tuple[int, ...]) -> Traces:
        c = self._conditions
        history = self._history()
        shape = (c.ticks, *self._shape)
        total, bad = np.empty(shape, np.float32), np.empty(shape, np.float32)
        chance = np.empty((c.ticks, self._shape[0], c.canaries), np.float32)
        for tick in range(c.ticks):
            total[tick], bad[tick], chances = self._tick(tick)
            chance[tick] = chances[:, : c.canaries]
        return Traces(c, history, total, bad, chance, seed)

    def _history(self) -> History:
        """The history; per tick for the product's number of nodes, canaries last."""
        c = self._conditions
        sample = np.arange(c.nodes)[::-1][:MAX_HISTORY_NODES].copy()
        shape = (self._shape[0], len(sample), c.history_ticks)
        ticks_total, ticks_bad = np.empty(shape), np.empty(shape)
        total, bad = np.zeros(self._shape), np.zeros(self._shape)
        for tick in range(c.history_ticks):
            events, bad_events, _ = self._tick(tick - c.history_ticks)
            total += events
            bad += bad_events
            ticks_total[:, :, tick] = events[:, sample]
            ticks_bad[:, :, tick] = bad_events[:, sample]
        return History(total, bad, sample, ticks_total, ticks_bad)

    def _tick(self, tick: int) -> tuple[Counts, Counts, Grid]:
        """Events, bad ones, and the chance of each event to be bad, in one tick; 0 is the first after the switch."""
        self._switch_online(tick)
        volume = self._volume * self._swing(self._conditions.volume_swing, self._volume_phase, tick)
        events = np.floor(volume + self._random.random(self._shape, np.float32)) * self._online
        chance = np.minimum(self._chance(tick), np.float32(1))
        bad = self._random.binomial(events.astype(np.int64), chance).astype(np.float32)
        return events, bad, chance

    def _chance(self, tick: int) -> Grid:
        c = self._conditions
        chance = self._rate * self._swing(c.rate_swing, self._rate_phase, tick)
        if c.drift_sd:
            self._drift *= np.float32(c.drift_phi)
            self._drift += self._normal() * np.float32(c.drift_sd * np.sqrt(1 - c.drift_phi**2))
            chance *= np.exp(self._drift - np.float32(c.drift_sd**2 / 2))
        if c.burst_cv2:
            chance *= self._gamma(c.burst_cv2)
        if tick >= c.shock_tick:
            chance *= np.float32(c.shock_ratio)
        if 0 <= tick < c.warmup_ticks:
            chance[:, : c.canaries] *= np.float32(c.warmup_ratio)
        return chance

    def _switch_online(self, tick: int) -> None:
        """Nodes go offline and come back at the ends of stretches, which begin at another tick on each node."""
        turn = (self._offset + tick) % self._conditions.offline_ticks == 0
        self._online[turn] = self._random.random(int(turn.sum()), np.float32) >= self._conditions.offline

    def _draw_rates(self) -> Grid:
        c = self._conditions
        if not c.rate_cv:
            return np.full(self._shape, c.rate, np.float32)
        return np.float32(c.rate) * self._gamma(c.rate_cv**2)

    def _draw_volumes(self) -> Grid:
        c = self._conditions
        exponent = self._normal() * np.float32(c.volume_sigma) - np.float32(c.volume_sigma**2 / 2)
        return np.asarray(np.float32(c.requests) * np.exp(exponent), np.float32)

    def _swing(self, size: float, phase: Grid, tick: int) -> Grid:
        turns = phase + np.float32(tick / TICKS_PER_DAY)
        return np.asarray(1 + np.float32(size) * np.sin(np.float32(2 * np.pi) * turns), np.float32)

    def _normal(self) -> Grid:
        return self._random.standard_normal(self._shape, np.float32)

    def _gamma(self, cv2: float) -> Grid:
        """Gamma with mean 1 and a squared coefficient of variation."""
        return self._random.standard_gamma(1 / cv2, self._shape, np.float32) * np.float32(cv2)


@dataclass(frozen=True)
class Feed:
    """Running sums of a trace since the switch, as the judges look at them: before each tick, and over all."""

    conditions: Conditions
    total: Counts
    bad: Counts
    active: Counts

    @classmethod
    def of(cls, traces: Traces) -> "Feed":
        """The running sums while the canary revision is as good as the stable one."""
        online = (traces.total > 0).astype(np.float32)
        return cls(traces.conditions, running(traces.total), running(traces.bad), running(online))

    @property
    def runs(self) -> int:
        """Number of fleets."""
        return int(self.total.shape[1])

    def blocks(self, edges: Edges) -> Blocks:
        """The blocks between consecutive edges, which are ticks since the switch."""
        nodes, canaries = self.conditions.nodes, self.conditions.canaries
        canary = np.zeros((nodes, len(edges) - 1), np.bool_)
        canary[:canaries] = True
        return Blocks(
            ticks=np.diff(edges).astype(np.float64),
            canary=np.broadcast_to(canary, (self.runs, *canary.shape)),
            total=between(self.total, edges),
            bad=between(self.bad, edges),
            active=between(self.active, edges),
        )


def running(counts: Counts) -> Counts:
    """Sums over all ticks before each tick, and over all; whole numbers below 2**24 are exact."""
    sums = np.zeros((len(counts) + 1, *counts.shape[1:]), np.float32)
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


def between(sums: Counts, edges: Edges) -> NDArray[np.float64]:
    """The counts of the blocks between consecutive edges, shape (runs, nodes, blocks)."""
    out = np.empty((*sums.shape[1:], len(edges) - 1))
    for position in range(len(edges) - 1):
        np.subtract(sums[edges[position + 1]], sums[edges[position]], out=out[:, :, position])
    return out
