"""The gates of a Rollout's spec: what is asked of Prometheus, and what the answers must be."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from edgecanary.api.fields import (
    DECIMAL_PATTERN,
    POSITIVE_DECIMAL_PATTERN,
    ApiModel,
    DecimalString,
    PositiveDecimalString,
    Rule,
    ShortName,
    list_map,
    patterned,
    rules,
    validations,
)
from edgecanary.api.meta import LocalSecretReference


class Preset(StrEnum):
    """Metrics that edgecanary knows how to ask for."""

    ERROR_RATE = "ErrorRate"
    LATENCY_P95 = "LatencyP95"
    LATENCY_P99 = "LatencyP99"
    ACCURACY = "Accuracy"
    DISAGREEMENT = "Disagreement"
    MEMORY = "Memory"
    DRIFT = "Drift"


class ComparisonMethod(StrEnum):
    """How canary nodes are compared with stable nodes."""

    NEGATIVE_BINOMIAL = "NegativeBinomial"
    RANDOMIZATION = "Randomization"
    PAIRED = "Paired"
    RATIO = "Ratio"


class OnMissing(StrEnum):
    """What happens when a metric has no data or cannot be asked for."""

    WAIT = "Wait"
    PAUSE = "Pause"
    ROLLBACK = "Rollback"


class MetricMode(StrEnum):
    """Whether a metric decides or only reports."""

    ENFORCE = "Enforce"
    DRY_RUN = "DryRun"


BaseUrl = Annotated[
    str,
    patterned(
        r"^https?://[^\x00- /?#@]+(/[^\x00- ?#]*)?$",
        "must be an http:// or https:// address without user name, query or fragment, "
        "such as http://prometheus.monitoring:9090",
        max_length=2048,
    ),
]


class PrometheusSource(ApiModel):
    """The Prometheus that the gates ask."""

    url: BaseUrl = Field(description="Base address, such as http://prometheus.monitoring:9090.")
    secret_ref: LocalSecretReference | None = Field(
        default=None,
        description="Secret with token, or username and password, and as needed ca.crt.",
    )
    timeout_seconds: int = Field(
        default=10, ge=1, le=300, description="The longest wait for an answer, in seconds."
    )


class Threshold(ApiModel):
    """Limits for a metric's value; the limits themselves are allowed values."""

    model_config = rules(
        Rule("has(self.min) || has(self.max)", "at least one of min and max must be set"),
        Rule(
            "!has(self.min) || !has(self.max)"
            f" || ![self.min, self.max].all(v, v.matches(r'{DECIMAL_PATTERN}'))"
            " || double(self.min) <= double(self.max)",
            "min must not be above max",
            "'min ' + self.min + ' and max ' + self.max",
        ),
    )

    min: DecimalString | None = Field(default=None, description="The smallest allowed value.")
    max: DecimalString | None = Field(default=None, description="The largest allowed value.")


class Comparison(ApiModel):
    """A statistical comparison of canary nodes with stable nodes."""

    model_config = rules(
        Rule(
            "(self.method == 'Ratio') == has(self.maxIncreasePercent)",
            "maxIncreasePercent must be set for the method Ratio and for no other",
            "'the method ' + self.method",
        ),
    )

    method: ComparisonMethod = Field(
        default=ComparisonMethod.NEGATIVE_BINOMIAL, description="The statistical method."
    )
    detect_ratio: PositiveDecimalString = Field(
        default="2",
        description="The smallest relative increase of bad events that must be found; above 1.",
        json_schema_extra=validations(
            Rule(f"!self.matches(r'{POSITIVE_DECIMAL_PATTERN}') || double(self) > 1.0", "must be above 1")
        ),
    )
    confidence: PositiveDecimalString = Field(
        default="0.95",
        description=(
            "One minus the accepted chance of a false rollback over the whole rollout; above 0.5, below 1."
        ),
        json_schema_extra=validations(
            Rule(
                f"!self.matches(r'{POSITIVE_DECIMAL_PATTERN}') || (double(self) > 0.5 && double(self) < 1.0)",
                "must be above 0.5 and below 1",
            )
        ),
    )
    warmup_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Time after a node's switch that is left out of its counts, in seconds.",
    )
    max_increase_percent: int | None = Field(
        default=None, ge=1, le=100_000, description="Largest accepted increase, for the method Ratio."
    )


QUERY_PLACES = ("namespace", "model", "canary", "stable", "nodes", "window")
"""What `{{ … }}` in a query may name."""

Query = Annotated[
    str,
    patterned(
        rf"^([^{{]|\{{[^{{]|\{{\{{ *({'|'.join(QUERY_PLACES)}) *\}}\}})*\{{?$",
        f"must have in {{{{ }}}} only {', '.join(QUERY_PLACES[:-1])} or {QUERY_PLACES[-1]}",
        max_length=4096,
    ),
]
"""PromQL with places to fill in; two opening braces mean nothing else."""


class Metric(ApiModel):
    """One gate: what is asked of Prometheus and what the answer must be."""

    model_config = rules(
        Rule(
            "has(self.preset) != has(self.query)",
            "exactly one of preset and query must be set",
            "(has(self.preset) ? 'both' : 'neither')",
        ),
        Rule(
            "has(self.threshold) || has(self.comparison)",
            "at least one of threshold and comparison must be set",
        ),
        Rule(
            "!has(self.query) || !has(self.comparison) || self.comparison.method == 'Ratio'",
            "a query must be compared by the method Ratio: the others need the counts behind a preset",
        ),
        Rule(
            "!has(self.query) || !has(self.comparison) || self.query.matches('[{][{] *canary *[}][}]')",
            "a query must name {{ canary }} to be compared: the same is asked for the stable revision",
        ),
        Rule(
            "!has(self.preset) || !has(self.comparison)"
            " || (self.preset == 'Disagreement') == (self.comparison.method == 'Paired')",
            "Disagreement must be compared by the method Paired, and nothing else can be",
            "self.preset + ' by ' + self.comparison.method",
        ),
        Rule(
            "!has(self.preset) || !has(self.comparison) || !(self.preset in ['Memory', 'Drift'])"
            " || self.comparison.method == 'Ratio'",
            "Memory and Drift must be compared by the method Ratio: there is nothing to count",
            "self.preset + ' by ' + self.comparison.method",
        ),
        Rule(
            "!has(self.preset) || !has(self.comparison) || self.preset != 'Accuracy'"
            " || self.comparison.method != 'Ratio'",
            "Accuracy must not be compared by the method Ratio, for which higher is worse",
        ),
    )

    name: ShortName = Field(description="The metric's name, unique in the rollout.")
    preset: Preset | None = Field(default=None, description="A metric that edgecanary knows how to ask for.")
    query: Query | None = Field(
        default=None,
        min_length=1,
        description=(
            "PromQL that gives one number. {{ namespace }}, {{ model }}, {{ canary }}, {{ stable }}, {{ nodes }} "
            "(a regular expression) and {{ window }} (a duration) are filled in."
        ),
    )
    threshold: Threshold | None = Field(default=None, description="Limits for the value.")
    comparison: Comparison | None = Field(default=None, description="Comparison of canary with stable nodes.")
    min_samples: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Answers by the canary (for Accuracy: judged answers) that a verdict needs.",
    )
    failure_limit: int = Field(
        default=0, ge=0, le=1000, description="Measurements in a row beyond the limits that are tolerated."
    )
    consecutive_error_limit: int = Field(
        default=4,
        ge=0,
        le=1000,
        description="Failed or empty queries in a row before onError or onNoData applies.",
    )
    initial_delay_seconds: int = Field(
        default=0,
        ge=0,
        le=604_800,
        description="Wait after a step's nodes are updated before the first measurement.",
    )
    on_no_data: OnMissing = Field(
        default=OnMissing.WAIT, description="What happens when the query keeps giving no value. Never a pass."
    )
    on_error: OnMissing = Field(
        default=OnMissing.WAIT, description="What happens when Prometheus keeps failing. Never a pass."
    )
    mode: MetricMode = Field(
        default=MetricMode.ENFORCE,
        description="Enforce decides; DryRun is measured and shown and never decides.",
    )


class Analysis(ApiModel):
    """The gates that every step must pass."""

    prometheus: PrometheusSource = Field(description="The Prometheus that the gates ask.")
    interval_seconds: int = Field(
        default=60, ge=1, le=86_400, description="Time between measurements, in seconds."
    )
    history_seconds: int = Field(
        default=259_200,
        ge=60,
        le=2_592_000,
        description=(
            "Time before the rollout from which comparisons learn each node's baseline and how much the fleet "
            "varies, in seconds. A day at least is advised; Prometheus must keep it."
        ),
    )
    metrics: tuple[Metric, ...] = Field(
        min_length=1, max_length=20, description="The gates.", json_schema_extra=list_map("name")
    )
