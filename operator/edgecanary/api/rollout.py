"""Rollout: how a model's revisions may reach the nodes. The spec; its status is in rollout_status."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from edgecanary.api import API_VERSION
from edgecanary.api.analysis import Analysis
from edgecanary.api.fields import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    ObjectName,
    Rule,
    ShortName,
    list_map,
    rules,
    validations,
)
from edgecanary.api.meta import LabelKey, LabelSelector, ObjectMeta
from edgecanary.api.policy import PRIORITY, DeviceHealth, Priority, UpdateWindow
from edgecanary.api.rollout_status import RolloutStatus

PROMOTE_ANNOTATION = "edgecanary.dev/promote"
ABORT_ANNOTATION = "edgecanary.dev/abort"
RETRY_ANNOTATION = "edgecanary.dev/retry"


class Decided(StrEnum):
    """Who decides: the operator by itself, or a person."""

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
    approval: Decided = Field(
        default=Decided.AUTOMATIC,
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
    rollback_window_revisions: int = Field(
        default=3,
        ge=0,
        le=10,
        description=(
            "How many promoted revisions before the stable one the EdgeModel may return to at once: in one step, "
            "without gates or bakes. 0 sends every revision through all steps."
        ),
    )
    initial: Initial = Field(
        default=Initial.STAGED,
        description="How the first revision reaches the nodes: in steps, or in the last step at once.",
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
    rollback: Decided = Field(
        default=Decided.AUTOMATIC,
        description="Automatic takes a failed revision back at once; Manual holds it and asks.",
    )
    health: DeviceHealth = Field(
        default_factory=DeviceHealth, description="What a node tolerates after a switch before it goes back."
    )
    priority: Priority = Field(default=0, description=PRIORITY)


class Rollout(ApiModel):
    """How a model's revisions may reach the edge: the nodes, the steps and the gates."""

    api_version: Literal["edgecanary.dev/v1alpha1"] = API_VERSION
    kind: Literal["Rollout"] = "Rollout"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: RolloutSpec = Field(description="Which model goes to which nodes, how.")
    status: Annotated[RolloutStatus, Field(description="What the operator observed and decided.")] = Field(
        default_factory=RolloutStatus
    )
