"""Queries to Prometheus and its answers, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricQuery:
    """What is asked for one metric: its value, how many answers it rests on, and the stable revision's value.

    Each is PromQL for an instant query that gives one number; None is not asked.
    """

    metric: str
    value: str
    samples: str | None = None
    baseline: str | None = None


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
