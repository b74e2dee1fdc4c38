"""Queries to Prometheus and its answers, as data."""

from dataclasses import dataclass
from datetime import datetime

from edgecanary.analysis.counts import ComparisonCounts


@dataclass(frozen=True)
class BoundQuery:
    """What is asked to find the latency above which an answer counts as bad.

    `quantile` gives the stable revision's own quantile; `bounds` gives one series for each revision and bucket
    bound (labels `revision` and `le`). `$window` in them stands for a PromQL duration.
    """

    quantile: str
    bounds: str


@dataclass(frozen=True)
class CountsQuery:
    """What is asked for a comparison: events per node and revision, before the rollout and since.

    `total` and `bad` are PromQL that gives one series for each node and revision (labels `node` and
    `revision`); `present` counts the samples that they rest on in the same form; `began` gives for each node
    the time of its first canary sample. In all of them `$window` stands for a PromQL duration and `$nodes` for
    further label matchers (nothing, or `,node=~"…"`); in `began` also `$start` for a Unix time and `$step` for
    a duration. `step_times` are when the steps of the attempt began: evidence counts from the first. Ticks are
    the time grid that the history is learned on; without `history_seconds` none is needed. With `fixed_looks`
    the blocks are `grid.look_edges`, for methods that keep what earlier looks found. `strata` has the names of the
    nodes by stratum, for methods that compare choices of canaries; empty is one stratum.

    With `bound`, total and bad have the place `$bound` for a bucket bound that must be found first; where it
    is known already, it is filled in and `bound` is None.
    """

    total: str
    bad: str
    canary: str
    stable: str
    step_times: tuple[datetime, ...]
    history_seconds: int
    tick_seconds: int
    warmup_seconds: int
    present: str = ""
    began: str = ""
    interval_seconds: int = 60
    fixed_looks: bool = False
    strata: tuple[tuple[str, ...], ...] = ()
    bound: BoundQuery | None = None


@dataclass(frozen=True)
class MetricQuery:
    """What is asked for one metric: its value, how many answers it rests on, and the stable revision's value.

    Each is PromQL for an instant query that gives one number; None is not asked. `counts` is what a
    comparison by counts is judged by; `value` is then only shown unless `asks_value`. With `baseline_at`, the
    baseline is asked for that time when the stable revision has no value any more.
    """

    metric: str
    value: str
    samples: str | None = None
    baseline: str | None = None
    counts: CountsQuery | None = None
    asks_value: bool = True
    baseline_at: datetime | None = None


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
    that breaks the protocol or its bounds). Counts have four more, which are no failures of Prometheus:
    CountsIncomplete (more is to be read at the next look), NoData, NodeLabelMissing and BucketMismatch.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Answer:
    """The answers to one MetricQuery, each a vector or an error; None where nothing was asked.

    `bound` is the latency bound that the counts were made with, as a decimal number of seconds.
    """

    query: MetricQuery
    value: Vector | QueryError | None
    samples: Vector | QueryError | None = None
    baseline: Vector | QueryError | None = None
    counts: ComparisonCounts | QueryError | None = None
    bound: str = ""
