"""Queries to Prometheus and its answers, as data."""

from dataclasses import dataclass
from datetime import datetime

from edgecanary.analysis.counts import ComparisonCounts


@dataclass(frozen=True)
class CountsQuery:
    """What is asked for a comparison: events per node and revision, before the rollout and since.

    `total` and `bad` are PromQL that gives one series for each node and revision (labels `node` and
    `revision`); `$window` in them stands for a PromQL duration. `step_times` are when the steps of the attempt
    began: evidence counts from the first. Ticks are the time grid that the history is learned on.
    """

    total: str
    bad: str
    canary: str
    stable: str
    step_times: tuple[datetime, ...]
    history_seconds: int
    tick_seconds: int
    warmup_seconds: int


@dataclass(frozen=True)
class MetricQuery:
    """What is asked for one metric: its value, how many answers it rests on, and the stable revision's value.

    Each is PromQL for an instant query that gives one number; None is not asked. `counts` is what a
    comparison by counts is judged by.
    """

    metric: str
    value: str
    samples: str | None = None
    baseline: str | None = None
    counts: CountsQuery | None = None


@dataclass(frozen=True)
class Sample:
    """One series of an instant vector: its labels and value (which may be NaN or infinite)."""

    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True)
class Vector:
    """Prometheus's answer to one instant query; a scalar counts as one sample without labels."""

    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class QueryError:
    """Why there is no answer: Prometheus's own words where it gave some.

    `reason` is PrometheusUnavailable (no answer, too late, 5xx), PrometheusRefused (4xx other than a bad
    query), QueryInvalid (the query does not parse or cannot be executed) or PrometheusGarbage (an answer
    that breaks the protocol or its bounds).
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Answer:
    """The answers to one MetricQuery, each a vector or an error; None where nothing was asked."""

    query: MetricQuery
    value: Vector | QueryError
    samples: Vector | QueryError | None = None
    baseline: Vector | QueryError | None = None
    counts: ComparisonCounts | QueryError | None = None
