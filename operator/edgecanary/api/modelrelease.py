"""ModelRelease: what nodes read to decide which revision to run. Written by the operator alone."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from edgecanary.api import API_VERSION
from edgecanary.api.artifacts import (
    FILE_RULES,
    MAX_DELTAS,
    VARIANT_RULES,
    FileDelta,
    Golden,
    ModelFile,
    ModelIO,
    Profile,
    Variant,
)
from edgecanary.api.fields import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    Digest,
    Message,
    ObjectName,
    Reason,
    Rule,
    Time,
    list_map,
    patterned,
    rules,
    validations,
)
from edgecanary.api.meta import LabelKey, LabelSelector, LabelValue, LocalSecretReference, ObjectMeta
from edgecanary.api.policy import PRIORITY, DeviceHealth, Priority, UpdateWindow

DownloadUrl = Annotated[
    str,
    patterned(
        r"^https?://[^\x00- ]+$", "must be an http:// or https:// address without spaces", max_length=8192
    ),
]

RankBound = Annotated[
    str,
    patterned(
        r"^(0[0-9a-f]{16}|10{16})$",
        "must be 17 lower-case hexadecimal digits, 10000000000000000 at most",
        max_length=17,
    ),
]
"""A rank bound in 17 hexadecimal digits, `00000000000000000` (nobody) to `10000000000000000` (everybody)."""


class ReleasedDelta(FileDelta):
    """A delta with the address from which nodes fetch it."""

    url: DownloadUrl | None = Field(
        default=None, description="Address for download: presigned for s3://, the uri itself for https://."
    )


class ReleasedFile(ModelFile):
    """A file with the address from which nodes fetch it."""

    model_config = rules(*FILE_RULES)

    deltas: tuple[ReleasedDelta, ...] = Field(
        default=(),
        max_length=MAX_DELTAS,
        description="How nodes get the file from an older one; they change nothing about what it is.",
        json_schema_extra=list_map("fromSha256"),
    )
    url: DownloadUrl | None = Field(
        default=None, description="Address for download: presigned for s3://, the uri itself for https://."
    )


class ReleasedVariant(Variant):
    """A variant whose files nodes can fetch."""

    model_config = rules(*VARIANT_RULES)

    files: tuple[ReleasedFile, ...] = Field(
        min_length=1,
        max_length=32,
        description="The files that make up the variant.",
        json_schema_extra=list_map("path"),
    )


class ReleasedGolden(Golden):
    """Golden cases that nodes can fetch."""

    url: DownloadUrl | None = Field(
        default=None, description="Address for download: presigned for s3://, the uri itself for https://."
    )


class ReleasedProfile(Profile):
    """A drift profile that nodes can fetch."""

    url: DownloadUrl | None = Field(
        default=None, description="Address for download: presigned for s3://, the uri itself for https://."
    )


class RevisionStatement(ApiModel):
    """All that a node needs to know of one revision."""

    revision: Digest = Field(description="The revision's digest.")
    version: str = Field(max_length=63, description="The version's name for people.")
    variants: tuple[ReleasedVariant, ...] = Field(
        min_length=1,
        max_length=16,
        description="Builds of the model; a node takes the first one that fits.",
        json_schema_extra=list_map("name"),
    )
    io: ModelIO = Field(description="Input and output tensors.")
    golden: ReleasedGolden | None = Field(default=None, description="Golden cases for the probe.")
    profile: ReleasedProfile | None = Field(
        default=None, description="Drift profile for the agent's metrics."
    )
    serve: bool = Field(default=True, description="Whether the agent answers inference requests.")
    signature: str | None = Field(
        default=None,
        max_length=16384,
        description=(
            "Signed statement in a DSSE envelope, as `edgecanary model sign` writes it. Nodes with trust roots refuse "
            "a model without it."
        ),
    )
    source_secret_ref: LocalSecretReference | None = Field(
        default=None, description="The Secret that the operator signs addresses with; nodes never read it."
    )
    urls_expire_at: Time | None = Field(
        default=None, description="When the first presigned address expires; the operator renews before."
    )


class StratumCutoff(ApiModel):
    """How far into one stratum the canary reaches."""

    stratum: tuple[LabelValue, ...] = Field(
        max_length=4,
        description="The node's values for the stratifyBy keys, in order; a missing label counts as empty.",
        json_schema_extra=LIST_ATOMIC,
    )
    below: RankBound = Field(
        description="Nodes of the stratum whose rank is below this bound take the canary. 17 hexadecimal digits."
    )


class CanaryStatement(RevisionStatement):
    """The canary revision and who takes it."""

    attempt: int = Field(
        default=1, ge=1, description="Which attempt at the revision this is; a retry lets nodes try again."
    )
    step: int = Field(
        default=0, ge=0, le=99, description="Position of the step, from 0, that the cutoffs belong to."
    )
    cutoffs: tuple[StratumCutoff, ...] = Field(
        default=(),
        max_length=256,
        description="A bound for each stratum; a stratum that is not named takes no canary.",
        json_schema_extra=LIST_ATOMIC,
    )


class RejectedRevision(ApiModel):
    """A revision that was taken back and is not to run anywhere."""

    revision: Digest = Field(description="The revision's digest.")
    version: str = Field(default="", max_length=63, description="The version's name for people.")
    reason: Reason = Field(description="Machine reason for the rejection.")
    message: Message = Field(default="", description="Value, limit, samples and nodes at the rejection.")
    time: Time = Field(description="When it was rejected.")
    attempt: int = Field(default=1, ge=1, description="The attempt that was rejected.")


class Otherwise(StrEnum):
    """What a node does that the release names no revision for."""

    WITHDRAW = "Withdraw"
    """It stops serving the model."""
    KEEP = "Keep"
    """It goes on with what it runs, unless that is rejected."""


class ModelReleaseSpec(ApiModel):
    """Who runs what. Agents decide from this alone."""

    model: ObjectName = Field(description="Name of the EdgeModel, in the same namespace.")
    sequence: int = Field(
        ge=1,
        description="Grows with every change; agents ignore a lower one.",
        json_schema_extra=validations(Rule("self >= oldSelf", "must not go down")),
    )
    stable: RevisionStatement | None = Field(
        default=None, description="The revision for every node that does not take the canary. Absent: none."
    )
    canary: CanaryStatement | None = Field(
        default=None, description="The revision under test and who takes it. Absent: no canary."
    )
    otherwise: Otherwise = Field(
        default=Otherwise.WITHDRAW,
        description=(
            "What nodes do that no revision is assigned to: stop serving (Withdraw), or keep what they run unless "
            "it is rejected (Keep), when that was there before this release and is described nowhere."
        ),
    )
    yields: bool = Field(
        default=False,
        description=(
            "Whether an older Rollout names the same EdgeModel: nodes follow another release of the model that is "
            "for them, and this one where there is none."
        ),
    )
    rejected: tuple[RejectedRevision, ...] = Field(
        default=(),
        max_length=32,
        description="Revisions that must not run; the newest last.",
        json_schema_extra=list_map("revision"),
    )
    node_selector: LabelSelector = Field(
        default_factory=LabelSelector, description="The Nodes that the release is for."
    )
    stratify_by: tuple[LabelKey, ...] = Field(
        default=(), max_length=4, description="Label keys that form the strata.", json_schema_extra=LIST_SET
    )
    salt: str = Field(default="", max_length=253, description="Mixed into each node's rank.")
    update_windows: tuple[UpdateWindow, ...] = Field(
        default=(),
        max_length=16,
        description="When nodes may switch; empty means any time.",
        json_schema_extra=LIST_ATOMIC,
    )
    health: DeviceHealth = Field(
        default_factory=DeviceHealth, description="What a node tolerates after a switch."
    )
    priority: Priority = Field(default=0, description=PRIORITY)


class ModelRelease(ApiModel):
    """Which revision each node is to run: one object for the whole fleet, read by every agent."""

    api_version: Literal["edgecanary.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRelease"] = "ModelRelease"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ModelReleaseSpec = Field(description="Who runs what.")
