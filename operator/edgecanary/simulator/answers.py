"""Prometheus's part: answers to the gates' queries from what the simulated nodes counted."""

import math
from dataclasses import dataclass, field
from random import Random

from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Sample, Vector
from edgecanary.api.analysis import Metric, Preset
from edgecanary.simulator.counts import AttemptCounts
from edgecanary.simulator.telemetry import Telemetry
from edgecanary.simulator.traces import Channel

CHANNELS = {
    Preset.ERROR_RATE: Channel.ERROR,
    Preset.ACCURACY: Channel.WRONG,
    Preset.DISAGREEMENT: Channel.DIFFERENT,
    Preset.LATENCY_P95: Channel.SLOW,
    Preset.LATENCY_P99: Channel.SLOW,
}
"""What each preset counts; Memory and Drift count nothing."""

LATENCY_P95, LATENCY_P99 = 0.020, 0.035
MEMORY_BYTES, DRIFT_SCORE = 60 * 2**20, 0.05
BOUND = "0.02"
"""The latency bound that comparisons of latency are said to be made with, in seconds."""

DOWN = QueryError("PrometheusUnavailable", "Prometheus did not answer within 10 s")


@dataclass(frozen=True)
class Look:
    """What a look at the gates is about."""

    canary: str
    stable: str
    begin: float
    """Since when the queries look back."""


@dataclass
class Prometheus:
    """Answers queries. `down` makes every answer an error."""

    telemetry: Telemetry
    random: Random
    down: bool = False
    attempt: AttemptCounts | None = field(default=None)

    def answer(self, query: MetricQuery, metric: Metric, look: Look) -> Answer:
        """The answer to one query; a query of the user's own has no data here."""
        if self.down:
            return Answer(query, DOWN, DOWN, DOWN, DOWN if query.counts else None)
        samples = self._samples(metric, look.canary, look.begin)
        if metric.preset is None:
            return Answer(query, Vector(), _vector(samples))
        return Answer(
            query,
            value=self._value(metric.preset, look.canary, look.begin),
            samples=_vector(samples),
            baseline=self._value(metric.preset, look.stable, look.begin) if look.stable else None,
            counts=self._counts(query, metric.preset),
            bound=BOUND if query.counts and CHANNELS.get(metric.preset) is Channel.SLOW else "",
        )

    def _counts(self, query: MetricQuery, preset: Preset) -> ComparisonCounts | QueryError | None:
        if query.counts is None:
            return None
        channel = CHANNELS.get(preset)
        if self.attempt is None or channel is None:
            return QueryError("NoData", "there are no counts for this comparison")
        return self.attempt.to_counts(query.counts, channel)

    def _samples(self, metric: Metric, revision: str, begin: float) -> float | None:
        channel = CHANNELS.get(metric.preset, Channel.ERROR) if metric.preset else Channel.ERROR
        channel = channel if channel in self.telemetry.channels else Channel.ERROR
        total, _ = self.telemetry.window(revision, channel, begin)
        return total or None

    def _value(self, preset: Preset, revision: str, begin: float) -> Vector:
        channel = CHANNELS.get(preset, Channel.ERROR)
        total, bad = self.telemetry.window(revision, channel, begin)
        if total == 0:
            return Vector()
        match preset:
            case Preset.ERROR_RATE | Preset.DISAGREEMENT:
                return _vector(bad / total)
            case Preset.ACCURACY:
                return _vector(1 - bad / total)
            case Preset.LATENCY_P95:
                return _vector(self._latency(LATENCY_P95, bad / total))
            case Preset.LATENCY_P99:
                return _vector(self._latency(LATENCY_P99, bad / total))
            case Preset.MEMORY:
                return _vector(MEMORY_BYTES * self.random.uniform(0.95, 1.05))
            case Preset.DRIFT:
                return _vector(DRIFT_SCORE * self.random.uniform(0.5, 1.5))

    def _latency(self, usual: float, slow: float) -> float:
        """The quantile grows with the share of slow answers; the usual share gives the usual quantile."""
        return usual * math.sqrt(max(slow, 1e-6) / self.telemetry.traffic.slow_rate)


def _vector(value: float | None) -> Vector:
    """One number, or no data."""
    return Vector() if value is None else Vector((Sample((), value),))
