"""Rollout: how a model's revisions may reach the nodes. The spec; its status is in rollout_status."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from edgecanary.api import API_VERSION
from edgecanary.api.fields import (
    DECIMAL_PATTERN,
    LIST_ATOMIC,
    LIST_SET,
    POSITIVE_DECIMAL_PATTERN,
    ApiModel,
    DecimalString,
    ObjectName,
    PositiveDecimalString,
    Rule,
    ShortName,
    list_map,
    patterned,
    rules,
    validations,
)
from edgecanary.api.meta import LabelKey, LabelSelector, LocalSecretReference, ObjectMeta
from edgecanary.api.policy import DeviceHealth, UpdateWindow
from edgecanary.api.rollout_status import RolloutStatus

PROMOTE_ANNOTATION = "edgecanary.dev/promote"
ABORT_ANNOTATION = "edgecanary.dev/abort"
RETRY_ANNOTATION = "edgecanary.dev/retry"


class Approval(StrEnum):
    """How a step is left."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class OnDeadline(StrEnum):
    """What happens when a step takes too long."""

    PAUSE = "Pause"
    ROLLBACK = "Rollback"


class Initial(StrEnum):
    """How the first revision of a model reaches the nodes."""

    STAGED = "Staged"
    ALL_AT_ONCE = "AllAtOnce"


class RollbackPolicy(StrEnum):
    """Who takes a failed revision back."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


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


class ModelReference(ApiModel):
    """An EdgeModel in the same namespace."""

    name: ObjectName = Field(description="Name of the EdgeModel.")


class Step(ApiModel):
    """One widening of the canary: how far, how long it is watched, and how it is left."""

    model_config = rules(
        Rule(
            "has(self.percent) != has(self.nodes)",
            "exactly one of percent and nodes must be set",
            "(has(self.percent) ? 'both' : 'neither')",
        ),
    )

    name: ShortName = Field(description="The step's name, unique in the rollout.")
    percent: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Share of the eligible nodes that take the canary, at least one of each stratum.",
    )
    nodes: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Number of nodes that take the canary, in all, spread over the strata.",
    )
    bake_seconds: int = Field(
        default=300,
        ge=0,
        le=2_592_000,
        description="How long the step is watched once its nodes are updated, in seconds.",
    )
    approval: Approval = Field(
        default=Approval.AUTOMATIC,
        description="Automatic goes on when the gates pass; Manual waits for edgecanary.dev/promote as well.",
    )


_LAST = "self[self.size() - 1]"
_PERCENTS = "self.filter(s, has(s.percent)).map(s, s.percent)"
_COUNTS = "self.filter(s, has(s.nodes)).map(s, s.nodes)"


def _increasing(values: str) -> str:
    return f"{values}.isSorted() && {values}.all(v, {values}.exists_one(w, w == v))"


STEP_RULES = (
    Rule(
        f"self.size() == 0 || (has({_LAST}.percent) && {_LAST}.percent == 100)",
        "the last step must be percent: 100",
        f"'the step ' + {_LAST}.name",
    ),
    Rule(_increasing(_PERCENTS), "percent must increase from step to step"),
    Rule(_increasing(_COUNTS), "nodes must increase from step to step"),
    Rule(
        "self.map(s, has(s.percent) ? 1 : 0).isSorted()",
        "steps with nodes must come before steps with percent",
    ),
)


class Strategy(ApiModel):
    """How a revision is widened over the fleet."""

    model_config = rules(
        Rule(
            "self.steps.all(s, s.bakeSeconds <= self.stepDeadlineSeconds)",
            "stepDeadlineSeconds must not be below the bakeSeconds of any step: the step could never end",
        ),
    )

    stratify_by: tuple[LabelKey, ...] = Field(
        default=(),
        max_length=4,
        description="Node label keys; each combination of their values is a stratum and gets its own share.",
        json_schema_extra=LIST_SET,
    )
    steps: tuple[Step, ...] = Field(
        min_length=1,
        max_length=20,
        description="The steps, each wider than the one before; the last must be percent: 100.",
        json_schema_extra={**list_map("name"), **validations(*STEP_RULES)},
    )
    quorum_percent: int = Field(
        default=90,
        ge=1,
        le=100,
        description="Share of the step's online nodes that must be updated and healthy before the bake begins.",
    )
    max_failed_nodes: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Nodes that may fail the probe or the health soak; one more takes the revision back.",
    )
    step_deadline_seconds: int = Field(
        default=86_400, ge=1, le=7_776_000, description="How long a step may take, in seconds."
    )
    on_deadline: OnDeadline = Field(
        default=OnDeadline.PAUSE, description="What happens when a step passes its deadline."
    )
    initial: Initial = Field(
        default=Initial.STAGED,
        description="How the first revision reaches the nodes: in steps, or in the last step at once.",
    )


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
    metrics: tuple[Metric, ...] = Field(
        min_length=1, max_length=20, description="The gates.", json_schema_extra=list_map("name")
    )


class RolloutSpec(ApiModel):
    """Which model goes to which nodes, in which steps, judged by which gates."""

    model_ref: ModelReference = Field(description="The EdgeModel to roll out.")
    node_selector: LabelSelector = Field(
        default_factory=LabelSelector, description="The Nodes that get the model. Empty: every Node."
    )
    paused: bool = Field(
        default=False,
        description="Holds the rollout where it is: it is not widened. A failed gate still takes it back.",
    )
    update_windows: tuple[UpdateWindow, ...] = Field(
        default=(),
        max_length=16,
        description="When nodes may switch revisions; empty means any time.",
        json_schema_extra=LIST_ATOMIC,
    )
    strategy: Strategy = Field(description="How a revision is widened over the fleet.")
    analysis: Analysis | None = Field(
        default=None, description="The gates. Absent: only the nodes' own probes and health decide."
    )
    rollback: RollbackPolicy = Field(
        default=RollbackPolicy.AUTOMATIC,
        description="Automatic takes a failed revision back at once; Manual holds it and asks.",
    )
    health: DeviceHealth = Field(
        default_factory=DeviceHealth, description="What a node tolerates after a switch before it goes back."
    )


class Rollout(ApiModel):
    """How a model's revisions may reach the edge: the nodes, the steps and the gates."""

    api_version: Literal["edgecanary.dev/v1alpha1"] = API_VERSION
    kind: Literal["Rollout"] = "Rollout"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: RolloutSpec = Field(description="Which model goes to which nodes, how.")
    status: Annotated[RolloutStatus, Field(description="What the operator observed and decided.")] = Field(
        default_factory=RolloutStatus
    )
