"""RolloutStatus: what the operator observed, decided and is waiting for."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from edgecanary.api.fields import (
    LIST_ATOMIC,
    ApiModel,
    Digest,
    Message,
    Reason,
    ShortName,
    Time,
    Token,
    list_map,
    patterned,
)
from edgecanary.api.meta import Condition
from edgecanary.api.modelrelease import RejectedRevision

NoticeId = Annotated[
    str, patterned(r"^[0-9a-f]{32}$", "must be 32 lower-case hexadecimal digits", max_length=32)
]
"""The id of a notification."""


class Verdict(StrEnum):
    """What a gate says. No data and errors are Inconclusive: never a pass, never by themselves a bad model."""

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


class MeasurementOutcome(StrEnum):
    """What one look at a metric gave."""

    WITHIN = "Within"
    BEYOND = "Beyond"
    NO_DATA = "NoData"
    TOO_FEW_SAMPLES = "TooFewSamples"
    ERROR = "Error"


class HistoryOutcome(StrEnum):
    """How a revision's time as canary ended."""

    PROMOTED = "Promoted"
    """It became the stable revision."""
    ROLLED_BACK = "RolledBack"
    """A gate failed, too many nodes failed, or a deadline passed."""
    ABORTED = "Aborted"
    """A person took it back with edgecanary.dev/abort."""
    SUPERSEDED = "Superseded"
    """The spec named another revision before this one was through."""
    WITHDRAWN = "Withdrawn"
    """The spec returned to the stable revision."""
    ADOPTED = "Adopted"
    """The fleet ran it already when the Rollout was first seen: it became the stable revision as it was."""


class RevisionReference(ApiModel):
    """A revision by digest and by its version for people."""

    revision: Digest = Field(description="The revision's digest.")
    version: str = Field(default="", max_length=63, description="The version's name for people.")


class StepStatus(ApiModel):
    """Where the rollout stands."""

    index: int = Field(ge=0, description="Position of the step in spec.strategy.steps, from 0.")
    name: ShortName = Field(description="The step's name.")
    start_time: Time = Field(description="When the step began.")
    bake_start_time: Time | None = Field(
        default=None, description="When the quorum of the step's nodes was updated and the bake began."
    )
    approved_time: Time | None = Field(
        default=None,
        description="When edgecanary.dev/promote was given for the step; its deadline counts anew.",
    )
    skips_gates: bool = Field(
        default=False,
        description=(
            "Whether neither gates nor the bake are waited for: a full promotion, or the return to a revision "
            "within the rollback window."
        ),
    )
    display: str = Field(default="", max_length=128, description="The step for people, such as 2/4 canary.")


class FailureCounts(ApiModel):
    """Nodes of the step by what their last attempt at the canary failed in."""

    precheck: int = Field(default=0, ge=0, description="Nodes that cannot take it, such as for lack of disk.")
    download: int = Field(default=0, ge=0, description="Nodes that cannot fetch the files.")
    verify: int = Field(default=0, ge=0, description="Nodes that got other bytes than declared.")
    probe: int = Field(default=0, ge=0, description="Nodes on which the model failed the probe.")
    health: int = Field(default=0, ge=0, description="Nodes on which the model failed the health soak.")


class NodeCounts(ApiModel):
    """The fleet in numbers."""

    targeted: int = Field(default=0, ge=0, description="Nodes that the selector matches and a variant fits.")
    incompatible: int = Field(
        default=0, ge=0, description="Nodes that the selector matches and no variant fits."
    )
    online: int = Field(default=0, ge=0, description="Targeted nodes whose Node is Ready.")
    in_step: int = Field(
        default=0, ge=0, description="Targeted nodes that the current step assigns the canary to."
    )
    updated: int = Field(
        default=0,
        ge=0,
        description="Targeted nodes that run the wanted revision, healthy, as of their last report.",
    )
    failed: int = Field(
        default=0, ge=0, description="Nodes in the step that failed the probe or the health soak."
    )
    offline: int = Field(default=0, ge=0, description="Targeted nodes whose Node is not Ready.")
    pending: int = Field(default=0, ge=0, description="Online nodes in the step that are not updated yet.")
    failures: FailureCounts = Field(
        default_factory=FailureCounts,
        description="What the step's nodes failed in. Only probe and health count against maxFailedNodes.",
    )
    display: str = Field(
        default="", max_length=64, description="Updated of targeted for people, such as 3/12."
    )


class Measurement(ApiModel):
    """One look at a metric."""

    time: Time = Field(description="When it was taken.")
    outcome: MeasurementOutcome = Field(description="What it gave.")
    value: str | None = Field(default=None, max_length=64, description="The value, as a decimal string.")
    samples: int | None = Field(default=None, ge=0, description="Answers that the value rests on.")


class NodeEvidence(ApiModel):
    """What one canary node contributes to a gate's verdict."""

    name: str = Field(min_length=1, max_length=253, description="The node.")
    bad: str = Field(max_length=64, description="Bad events counted on the node, as a decimal string.")
    expected: str = Field(max_length=64, description="Bad events expected of it, as a decimal string.")
    total: str = Field(max_length=64, description="Events counted on the node, as a decimal string.")


class Evidence(ApiModel):
    """What a comparison found so far. Decimal strings."""

    value: str = Field(max_length=64, description="Evidence for a regression (e-value, or rank share).")
    limit: str = Field(max_length=64, description="The evidence at which the revision is taken back.")
    exposure: str = Field(
        default="", max_length=64, description="How much was seen, in units of information about the ratio."
    )
    exposure_needed: str = Field(
        default="", max_length=64, description="The exposure at which detectRatio would have been found."
    )
    detectable_ratio: str = Field(
        default="", max_length=64, description="The smallest relative increase that would be found now."
    )
    canary_nodes: int = Field(default=0, ge=0, description="Canary nodes that were counted.")
    control_nodes: int = Field(default=0, ge=0, description="Stable nodes that were counted.")


class MetricStatus(ApiModel):
    """What a gate says and why."""

    name: ShortName = Field(description="The metric's name.")
    verdict: Verdict = Field(default=Verdict.INCONCLUSIVE, description="What the gate says now.")
    reason: Reason = Field(default="", description="Machine reason for the verdict.")
    message: Message = Field(default="", description="Value, limit, samples and what is waited for.")
    value: str | None = Field(default=None, max_length=64, description="The last value, as a decimal string.")
    baseline: str | None = Field(
        default=None, max_length=64, description="The stable revision's value over the same time."
    )
    samples: int | None = Field(default=None, ge=0, description="Answers that the last value rests on.")
    method: str = Field(
        default="", max_length=63, description="How it was judged: Threshold, or the comparison's method."
    )
    limit: str = Field(default="", max_length=256, description="What the value is held against, for people.")
    evidence: Evidence | None = Field(default=None, description="What the comparison found so far.")
    worst_nodes: tuple[NodeEvidence, ...] = Field(
        default=(),
        max_length=3,
        description="The canary nodes that speak most against the revision, the worst first.",
        json_schema_extra=LIST_ATOMIC,
    )
    bound_seconds: str = Field(
        default="",
        max_length=64,
        description="Latency above which an answer counts as bad, frozen for the attempt, in seconds.",
    )
    since: Time | None = Field(default=None, description="Since when the verdict and its reason are these.")
    link: str = Field(default="", max_length=16384, description="The query in Prometheus's own web page.")
    query: str = Field(default="", max_length=8192, description="The last query, as Prometheus got it.")
    failures: int = Field(default=0, ge=0, description="Measurements in a row beyond the limits.")
    errors: int = Field(default=0, ge=0, description="Failed queries in a row.")
    no_data: int = Field(default=0, ge=0, description="Queries in a row without a value.")
    measurements: tuple[Measurement, ...] = Field(
        default=(),
        max_length=10,
        description="The last 10 looks, newest last.",
        json_schema_extra=LIST_ATOMIC,
    )


class AnalysisStatus(ApiModel):
    """What the gates say about the current step."""

    time: Time | None = Field(default=None, description="When the gates were last measured.")
    step_times: tuple[Time, ...] = Field(
        default=(),
        max_length=20,
        description="When each step of the attempt so far began, the first one first; comparisons count from there.",
        json_schema_extra=LIST_ATOMIC,
    )
    display: str = Field(default="", max_length=128, description="The gates for people, such as 2/3 Pass.")
    metrics: tuple[MetricStatus, ...] = Field(
        default=(), max_length=20, description="Each gate.", json_schema_extra=list_map("name")
    )


class HistoryEntry(ApiModel):
    """One revision's time as canary."""

    revision: Digest = Field(description="The revision's digest.")
    version: str = Field(default="", max_length=63, description="The version's name for people.")
    outcome: HistoryOutcome = Field(description="How it ended.")
    reason: Reason = Field(default="", description="Machine reason for the end.")
    attempt: int = Field(default=1, ge=1, description="Which attempt at the revision it was.")
    start_time: Time | None = Field(default=None, description="When the first step began.")
    end_time: Time = Field(description="When it ended.")


class ActionTokens(ApiModel):
    """The action tokens that were handled; a token is handled once."""

    promote: Token | None = Field(default=None, description="The last edgecanary.dev/promote token handled.")
    abort: Token | None = Field(default=None, description="The last edgecanary.dev/abort token handled.")
    retry: Token | None = Field(default=None, description="The last edgecanary.dev/retry token handled.")


class Waiting(ApiModel):
    """What the rollout waits for."""

    reason: Reason = Field(description="Machine reason, the same as the Ready condition's.")
    since: Time = Field(description="Since when it has waited for this.")
    until: Time | None = Field(
        default=None, description="When time alone ends the waiting. Absent: time alone does not."
    )
    ends_with: Message = Field(description="What ends it, for people.")


class RolloutStatus(ApiModel):
    """What the operator observed and decided."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="The generation of the spec last handled."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=8,
        description="Ready, and Reconciling or Stalled while they hold.",
        json_schema_extra=list_map("type"),
    )
    stable: RevisionReference | None = Field(
        default=None, description="The revision that the fleet falls back on."
    )
    canary: RevisionReference | None = Field(default=None, description="The revision under test.")
    attempt: int = Field(default=0, ge=0, description="Which attempt at the canary this is, from 1.")
    start_time: Time | None = Field(default=None, description="When the canary's first step began.")
    step: StepStatus | None = Field(
        default=None, description="Where the rollout stands. Absent: nothing is rolling."
    )
    waiting: Waiting | None = Field(
        default=None, description="What is waited for, since when, and what would end it. Absent: nothing."
    )
    nodes: NodeCounts = Field(default_factory=NodeCounts, description="The fleet in numbers.")
    analysis: AnalysisStatus | None = Field(default=None, description="What the gates say about the step.")
    rejected: tuple[RejectedRevision, ...] = Field(
        default=(),
        max_length=32,
        description="Revisions that were taken back; each needs edgecanary.dev/retry to be tried again.",
        json_schema_extra=list_map("revision"),
    )
    history: tuple[HistoryEntry, ...] = Field(
        default=(),
        max_length=10,
        description="The last 10 canaries, newest last.",
        json_schema_extra=LIST_ATOMIC,
    )
    notified: tuple[NoticeId, ...] | None = Field(
        default=None,
        max_length=32,
        description=(
            "Ids of the notifications that the webhook has taken. Absent: the operator tells nobody, or has not "
            "begun to."
        ),
        json_schema_extra=LIST_ATOMIC,
    )
    actions: ActionTokens = Field(
        default_factory=ActionTokens, description="Action tokens that were handled."
    )
