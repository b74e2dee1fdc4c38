"""EdgeModel: one version of a model, declared by a person."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from edgecanary.api import API_VERSION
from edgecanary.api.artifacts import Golden, ModelIO, Profile, Variant
from edgecanary.api.fields import ApiModel, Digest, Message, Reason, ShortName, list_map, patterned
from edgecanary.api.meta import Condition, LocalSecretReference, ObjectMeta

VersionName = Annotated[
    str,
    patterned(
        r"^[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9])?$",
        "must be letters, digits, ., _, + and -, with a letter or digit at both ends",
        max_length=63,
    ),
]


class EdgeModelSpec(ApiModel):
    """What the model is and where its files lie."""

    version: VersionName = Field(
        description="The version's name for people. It does not decide identity: the revision's digest does.",
    )
    variants: tuple[Variant, ...] = Field(
        min_length=1,
        max_length=16,
        description="Builds of the model; a node takes the first one that fits.",
        json_schema_extra=list_map("name"),
    )
    io: ModelIO = Field(description="Input and output tensors; every variant must have just these.")
    golden: Golden | None = Field(
        default=None, description="Inputs with known outputs that every node runs before it serves."
    )
    profile: Profile | None = Field(
        default=None,
        description="Reference that live inputs and outputs are compared with, for the metric of drift.",
    )
    serve: bool = Field(
        default=True,
        description="Whether the agent answers inference requests; false only delivers the files.",
    )
    source_secret_ref: LocalSecretReference | None = Field(
        default=None,
        description=(
            "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and as needed AWS_REGION, AWS_ENDPOINT_URL "
            "and AWS_SESSION_TOKEN, for files in s3://. The keys never reach a node."
        ),
    )
    signature: str | None = Field(
        default=None,
        max_length=16384,
        description=(
            "Signed statement in a DSSE envelope, as `edgecanary model sign` writes it. Nodes with trust roots refuse "
            "a model without it."
        ),
    )


class VariantVerdict(StrEnum):
    """What is known about a variant."""

    UNKNOWN = "Unknown"
    ACCEPTED = "Accepted"
    REJECTED = "Rejected"


class VariantStatus(ApiModel):
    """What the operator's checks and the nodes' probes found out about a variant."""

    name: ShortName = Field(description="The variant's name.")
    verdict: VariantVerdict = Field(
        default=VariantVerdict.UNKNOWN, description="Whether the variant's files are what the spec says."
    )
    reason: Reason = Field(default="", description="Machine reason for the verdict.")
    message: Message = Field(default="", description="What was found and what to do next.")
    load_milliseconds: int | None = Field(
        default=None, ge=0, description="The longest load time that a node's probe measured."
    )
    latency_p95_milliseconds: int | None = Field(
        default=None,
        ge=0,
        alias="latencyP95Milliseconds",
        description="The largest p95 latency of the golden runs that a node's probe measured, rounded up.",
    )
    peak_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="The most memory that the model added to a node's probe process, in bytes.",
    )


class EdgeModelStatus(ApiModel):
    """What the operator observed."""

    observed_generation: int = Field(
        default=-1, ge=-1, description="The generation of the spec last handled."
    )
    revision: Digest | None = Field(
        default=None, description="SHA-256 of the canonical JSON of all that decides the model's behaviour."
    )
    version: str | None = Field(
        default=None, max_length=63, description="The version that the revision stands for."
    )
    variants: tuple[VariantStatus, ...] = Field(
        default=(),
        max_length=16,
        description="What is known about each variant.",
        json_schema_extra=list_map("name"),
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=8,
        description="Ready, and Reconciling or Stalled while they hold.",
        json_schema_extra=list_map("type"),
    )


class EdgeModel(ApiModel):
    """One version of a model: its variants, files, tensors and golden cases.

    The operator checks what is declared; a model that fails is Stalled and no node ever sees it.
    """

    api_version: Literal["edgecanary.dev/v1alpha1"] = API_VERSION
    kind: Literal["EdgeModel"] = "EdgeModel"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: EdgeModelSpec = Field(description="What the model is and where its files lie.")
    status: EdgeModelStatus = Field(
        default_factory=EdgeModelStatus, description="What the operator observed."
    )
