"""What every kind shares: object metadata, conditions and label selectors."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from edgecanary.api.fields import (
    LIST_ATOMIC,
    MAP_ATOMIC,
    ApiModel,
    Message,
    ObjectName,
    Reason,
    Rule,
    Time,
    patterned,
    rules,
)

LabelValue = Annotated[
    str,
    patterned(
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "must be a label value: letters, digits, -, _ and ., with a letter or digit at both ends, or empty",
        max_length=63,
    ),
]
LabelKey = Annotated[
    str,
    patterned(
        r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        "must be a label key, such as hardware or example.com/hardware",
        max_length=317,
    ),
]


class OwnerReference(ApiModel):
    """The object that this one goes away with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(ApiModel):
    """The part of Kubernetes object metadata that edgecanary reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class ConditionType(StrEnum):
    """Condition types, as kstatus reads them."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Condition(ApiModel):
    """One observation about the object, in the standard Kubernetes shape."""

    type: str = Field(
        max_length=316,
        description="What is observed. Ready is always present; Reconciling and Stalled only while True.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the observation holds.")
    reason: Reason = Field(min_length=1, description="Machine reason for the last change, in PascalCase.")
    message: Message = Field(default="", description="What is going on and what would change it.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation of the spec that this was observed for."
    )


class LabelSelectorRequirement(ApiModel):
    """One condition on a label."""

    model_config = rules(
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "values must not be empty for In and NotIn and must be empty for Exists and DoesNotExist",
            "'the operator ' + self.operator",
        ),
    )

    key: LabelKey = Field(description="The label key that the requirement is about.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label's value relates to the values."
    )
    values: tuple[LabelValue, ...] = Field(
        default=(),
        max_length=32,
        description="Must not be empty for In and NotIn, must be empty for Exists and DoesNotExist.",
        json_schema_extra=LIST_ATOMIC,
    )


class LabelSelector(ApiModel):
    """A selection of Nodes by label. An empty selector matches every Node."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels that must have exactly these values.",
        json_schema_extra=MAP_ATOMIC,
    )
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(
        default=(),
        max_length=16,
        description="Further requirements; all must hold.",
        json_schema_extra=LIST_ATOMIC,
    )


class LocalSecretReference(ApiModel):
    """A Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
