"""How often nodes are asked and how often they are wrong: baselines that differ, days, drifts and bursts.

All noise is made of processes that are defined on continuous time (a mean-reverting drift, a gamma burst),
so that a span may be looked at in pieces of any length.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from edgecanary.analysis.counts import Floats
from edgecanary.simulator.settings import DAY, HOUR, Traffic

BURST_SECONDS = 900.0
"""The span for which `Traffic.burst_cv2` holds."""

MOST_BAD = 0.95


class Channel(StrEnum):
    """What can be bad about an answer."""

    ERROR = "error"
    WRONG = "wrong"
    SLOW = "slow"
    DIFFERENT = "different"


JUDGED = frozenset({Channel.WRONG, Channel.DIFFERENT})
"""Channels that only the share of answers with feedback counts in."""


@dataclass(frozen=True)
class Weather:
    """One span of time: requests a second and what the bad rates are multiplied by, per node."""

    volume: Floats
    factor: Floats


@dataclass
class Traces:
    """The nodes' own rates, and the state of their drift."""

    traffic: Traffic
    random: Generator
    volume: Floats
    """Requests a second, without the daily swing."""
    base: dict[Channel, Floats]
    drift: Floats

    @classmethod
    def draw(cls, traffic: Traffic, nodes: int, random: Generator) -> "Traces":
        """Traces of so many nodes."""
        drift = random.normal(0.0, traffic.drift_sd, nodes)
        return cls(traffic, random, _volumes(traffic, nodes, random), _bases(traffic, nodes, random), drift)

    def add(self) -> None:
        """One node more."""
        more = Traces.draw(self.traffic, 1, self.random)
        self.volume = np.append(self.volume, more.volume)
        self.base = {channel: np.append(base, more.base[channel]) for channel, base in self.base.items()}
        self.drift = np.append(self.drift, more.drift)

    def pass_span(self, begin: float, end: float) -> Weather:
        """The weather of a span that follows the last one; the drift moves on."""
        self.drift = self._drifted(self.drift, end - begin)
        return self._weather(self.drift, begin, end)

    def past(self, drift: Floats, end: float, ticks: int, tick_seconds: float) -> Iterator[Weather]:
        """The weather of so many ticks up to `end`, the latest first; nothing moves on.

        `drift` is that of `end`. It is as likely forwards as backwards, so its past is drawn from it.
        """
        for tick in range(ticks):
            stop = end - tick * tick_seconds
            yield self._weather(drift, stop - tick_seconds, stop)
            drift = self._drifted(drift, tick_seconds)

    def _drifted(self, drift: Floats, seconds: float) -> Floats:
        kept = math.exp(-seconds / (self.traffic.drift_hours * HOUR))
        noise = self.random.normal(0.0, 1.0, drift.shape)
        return kept * drift + self.traffic.drift_sd * math.sqrt(1 - kept * kept) * noise

    def _weather(self, drift: Floats, begin: float, end: float) -> Weather:
        traffic, day = self.traffic, _swing(begin, end)
        factor = np.exp(drift - traffic.drift_sd**2 / 2) * (1 + traffic.rate_swing * day)
        if traffic.burst_cv2 > 0:
            shape = max(end - begin, 1e-3) / (BURST_SECONDS * traffic.burst_cv2)
            factor = factor * self.random.gamma(shape, 1 / shape, drift.shape)
        return Weather(self.volume * (1 + traffic.volume_swing * day), factor)


def _swing(begin: float, end: float) -> float:
    """The mean of the day's sine over a span: 0 at midnight, 1 at six."""
    omega = 2 * math.pi / DAY
    if end - begin < 1.0:
        return math.sin(omega * begin)
    return (math.cos(omega * begin) - math.cos(omega * end)) / (omega * (end - begin))


def _volumes(traffic: Traffic, nodes: int, random: Generator) -> Floats:
    return random.lognormal(0.0, traffic.volume_sigma, nodes) * traffic.requests_per_hour / HOUR


def _bases(traffic: Traffic, nodes: int, random: Generator) -> dict[Channel, Floats]:
    rates = {
        Channel.ERROR: traffic.error_rate,
        Channel.WRONG: traffic.wrong_rate,
        Channel.SLOW: traffic.slow_rate,
        Channel.DIFFERENT: traffic.disagree_rate,
    }
    return {channel: rate * _spread(traffic.baseline_cv, nodes, random) for channel, rate in rates.items()}


def _spread(cv: float, nodes: int, random: Generator) -> Floats:
    if cv <= 0:
        return np.ones(nodes)
    shape = 1 / cv**2
    return random.gamma(shape, 1 / shape, nodes)
