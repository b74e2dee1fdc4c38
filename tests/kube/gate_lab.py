"""Gates on a real Prometheus: a fleet's counters of hours, and what a gate says of them."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.query import Answer, QueryError
from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import Analysis
from edgecanary.api.rollout_status import AnalysisStatus, MetricStatus, StepStatus
from edgecanary.clients.kube import Secrets
from edgecanary.controller.counts import RolloutCounts
from edgecanary.controller.gate_queries import ask
from edgecanary.rollout.gates import evaluate_gates, queries
from edgelab.prometheus import Prometheus
from tests.kube.backfill import Line, counter, push

CANARY, STABLE = "c" * 64, "5" * 64
SCRAPE = 15


def labels(name: str, node: str, revision: str, **more: str) -> dict[str, str]:
    return {
        "__name__": name,
        "namespace": "plant",
        "model": "pump",
        "revision": revision,
        "version": revision[:3],
        "node": node,
        **more,
    }


@dataclass
class Traffic:
    """Counters of a fleet: each node serves the stable revision and from its switch on the canary.

    Times are seconds before (negative) or after the attempt's start.
    """

    start: float
    seed: int = 7
    requests: float = 120.0
    """Per node and minute."""
    error_rate: float = 0.02
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def serve(self, node: str, revision: str, begin: float, end: float, *, rate: float | None = None) -> None:
        """Requests of a revision on a node, `rate` of them failed, from `begin` to `end`."""
        moments = self.moments(begin, end)
        total = self._random.poisson(self.requests / 60 * SCRAPE, len(moments)).astype(float)
        bad = self._random.binomial(total.astype(int), self.error_rate if rate is None else rate).astype(
            float
        )
        self.count("edgecanary_requests_total", node, revision, moments, {"ok": total - bad, "error": bad})

    def count(
        self,
        name: str,
        node: str,
        revision: str,
        moments: Sequence[float],
        outcomes: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """A counter by outcome; each starts at 0, as the agents' do."""
        for outcome, increments in outcomes.items():
            grown = np.concatenate([[0.0], increments[1:]])
            self.lines.append(
                Line(labels(name, node, revision, outcome=outcome), list(counter(moments, grown)))
            )

    def judge(self, node: str, revision: str, begin: float, end: float, *, wrong: float) -> None:
        """Feedback on a revision's answers, `wrong` of them incorrect."""
        moments = self.moments(begin, end)
        total = self._random.poisson(self.requests / 60 * SCRAPE, len(moments)).astype(float)
        bad = self._random.binomial(total.astype(int), wrong).astype(float)
        outcomes = {"correct": total - bad, "incorrect": bad}
        self.count("edgecanary_feedback_total", node, revision, moments, outcomes)

    def shadow(self, node: str, begin: float, end: float, *, pairs: float, against: float) -> None:
        """Pairs on the same inputs, a minute; of the discordant ones, a tenth, `against` go against the canary."""
        moments = self.moments(begin, end)
        total = self._random.poisson(pairs / 60 * SCRAPE, len(moments))
        discordant = self._random.binomial(total, 0.1)
        worse = self._random.binomial(discordant, against)
        outcomes = {
            "agree": (total - discordant).astype(float),
            "canary_worse": worse.astype(float),
            "stable_worse": (discordant - worse).astype(float),
        }
        self.count("edgecanary_shadow_total", node, CANARY, moments, outcomes)

    def answer(
        self, node: str, revision: str, begin: float, end: float, *, buckets: Sequence[float], slow: float
    ) -> None:
        """Request durations around 30 ms, `slow` of them around 300 ms, in a histogram with these buckets."""
        moments = self.moments(begin, end)
        total = self._random.poisson(self.requests / 60 * SCRAPE, len(moments)).astype(float)
        far = self._random.binomial(total.astype(int), slow).astype(float)
        name = "edgecanary_request_duration_seconds"
        for bound in (*buckets, math.inf):
            near = float(np.clip((bound - 0.01) / 0.04, 0.0, 1.0))
            beyond = float(np.clip((bound - 0.1) / 0.4, 0.0, 1.0))
            within = np.concatenate([[0.0], ((total - far) * near + far * beyond)[1:]])
            le = "+Inf" if math.isinf(bound) else f"{bound}"
            self.lines.append(
                Line(labels(f"{name}_bucket", node, revision, le=le), list(counter(moments, within)))
            )
        every = np.concatenate([[0.0], total[1:]])
        self.lines.append(Line(labels(f"{name}_count", node, revision), list(counter(moments, every))))

    def weigh(self, node: str, revision: str, begin: float, end: float, *, memory: float) -> None:
        """The model's memory on a node, in bytes."""
        samples = [(moment, memory) for moment in self.moments(begin, end)]
        self.lines.append(Line(labels("edgecanary_model_memory_bytes", node, revision), samples))

    def moments(self, begin: float, end: float) -> list[float]:
        """When a node is scraped."""
        offset = float(self._random.uniform(0, SCRAPE))
        return [self.start + moment for moment in np.arange(begin + offset, end, SCRAPE)]

    def fleet(
        self,
        nodes: Sequence[str],
        canaries: Sequence[str],
        *,
        until: float,
        rate: float = 0.02,
        hours: float = 6,
    ) -> "Traffic":
        """History of all nodes; then the canaries switch after a minute, and fail requests at `rate`."""
        for node in nodes:
            switch = 60.0 if node in canaries else until
            self.serve(node, STABLE, -hours * 3600, switch)
            if node in canaries:
                self.serve(node, CANARY, switch, until, rate=rate)
        return self


@dataclass
class Gate:
    """One metric of a rollout whose first step began at `start`, looked at as often as the test likes."""

    prometheus: Prometheus
    metric: Mapping[str, object]
    start: float
    history_seconds: int = 6 * 3600
    later_steps: tuple[float, ...] = ()
    timeout_seconds: int = 60
    counts: RolloutCounts = field(default_factory=RolloutCounts)
    status: AnalysisStatus | None = None
    outcomes: list[str] = field(default_factory=list)

    @property
    def analysis(self) -> Analysis:
        return Analysis.model_validate(
            {
                "prometheus": {"url": self.prometheus.url, "timeoutSeconds": self.timeout_seconds},
                "intervalSeconds": 60,
                "historySeconds": self.history_seconds,
                "metrics": [{"name": "gate", **self.metric}],
            }
        )

    def read(self) -> ComparisonCounts | QueryError | None:
        """The counts that the metric is judged by, read from Prometheus."""
        return next(iter(self._answers(datetime.now(UTC)).values())).counts

    def look(self) -> MetricStatus:
        """One look, and what the gate says after it."""
        now = datetime.now(UTC)
        before = self.status or AnalysisStatus(step_times=self._step_times)
        self.status = evaluate_gates(self.analysis, before, self._answers(now), SCOPE, now)
        assert self.status is not None
        return self.status.metrics[0]

    def restarted(self) -> "Gate":
        """The same gate after the operator was started anew: it knows what the status says and no more."""
        return replace(self, counts=RolloutCounts())

    @property
    def _step_times(self) -> tuple[datetime, ...]:
        return tuple(datetime.fromtimestamp(self.start + later, UTC) for later in (0.0, *self.later_steps))

    def _answers(self, now: datetime) -> Mapping[str, Answer]:
        before = self.status or AnalysisStatus(step_times=self._step_times)
        step = StepStatus(index=0, name="first", start_time=self._step_times[-1])
        return ask(
            self.analysis.prometheus,
            queries(self.analysis, step, SCOPE, now, before),
            namespace="plant",
            secrets=cast("Secrets", None),  # the source names none
            observe=self.outcomes.append,
            counts=self.counts,
        )


@dataclass
class LiveTraffic:
    """Request counters of nodes that go on while a test waits: an hour of the past, then a sample each second."""

    remote_write_url: str
    namespace: str
    requests: float = 500.0
    """Per node and second."""
    _last: float = 0.0
    _values: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def begin(self, names: Sequence[str], revision: str, *, errors: float) -> None:
        """An hour of requests to all nodes, up to now."""
        now = math.floor(time.time())
        lines: list[Line] = []
        for name in names:
            total = self._random.poisson(self.requests, 3600)
            bad = self._random.binomial(total, errors)
            for outcome, grown in (("ok", total - bad), ("error", bad)):
                values = np.cumsum(grown)
                self._values[name, revision, outcome] = float(values[-1])
                moments = range(now - 3600, now)
                lines.append(
                    Line(self._labels(name, revision, outcome), list(zip(moments, values, strict=True)))
                )
        push(self.remote_write_url, lines)

    def pulse(self, running: Mapping[str, tuple[str, float]]) -> None:
        """One more sample of each node, a second after the last: its revision and the share that fails."""
        now = time.time()
        if now - self._last < 1:
            return
        self._last = now
        lines: list[Line] = []
        for name, (revision, errors) in running.items():
            total = int(self._random.poisson(self.requests))
            bad = int(self._random.binomial(total, errors))
            for outcome, grown in (("ok", total - bad), ("error", bad)):
                key = (name, revision, outcome)
                self._values[key] = self._values[key] + grown if key in self._values else 0.0
                lines.append(Line(self._labels(*key), [(now, self._values[key])]))
        push(self.remote_write_url, lines)

    def _labels(self, name: str, revision: str, outcome: str) -> dict[str, str]:
        known = labels("edgecanary_requests_total", name, revision, outcome=outcome)
        return {**known, "namespace": self.namespace}


SCOPE = Scope("plant", "pump", CANARY, STABLE, nodes=(), window_seconds=3600)


def nodes(count: int) -> list[str]:
    return [f"edge-{number:02}" for number in range(count)]
