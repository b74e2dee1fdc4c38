"""EdgeNode: what one node's agent reports. Only that agent writes it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, computed_field

from edgecanary.api import API_VERSION
from edgecanary.api.artifacts import Format
from edgecanary.api.fields import (
    LIST_SET,
    ApiModel,
    Digest,
    Message,
    ObjectName,
    Reason,
    ShortName,
    Time,
    list_map,
)
from edgecanary.api.meta import ObjectMeta


class ModelState(StrEnum):
    """What the node does with a model right now, as of its last report."""

    PENDING = "Pending"
    """Assigned, not yet serving; the reason says what is waited for."""
    ACTIVE = "Active"
    """The desired revision passed its health soak and is active."""
    REVERTED = "Reverted"
    """The desired revision failed on this node; the previous one is active again, or none."""
    FAILING = "Failing"
    """The active revision crosses its limits and there is none to go back to; it goes on being served."""
    WITHDRAWN = "Withdrawn"
    """No revision is assigned and none is served."""


class ModelResult(StrEnum):
    """How the last attempt at the desired revision ended."""

    NONE = "None"
    """No attempt has ended yet."""
    SUCCEEDED = "Succeeded"
    """The revision passed probe and health soak."""
    PRECHECK_FAILED = "PrecheckFailed"
    """The node cannot take the revision: no variant fits, too little disk, bad statement."""
    DOWNLOAD_FAILED = "DownloadFailed"
    """The files could not be fetched; the agent keeps trying."""
    VERIFY_FAILED = "VerifyFailed"
    """The fetched bytes are not those declared; the agent drops them and keeps trying."""
    PROBE_FAILED = "ProbeFailed"
    """The model did not load, has other tensors, or missed its golden outputs or budget."""
    HEALTH_FAILED = "HealthFailed"
    """The model crashed, hung, was too slow or failed requests beyond its limits, on trial or later."""


class Capabilities(ApiModel):
    """What the node has."""

    architecture: str = Field(max_length=63, description="CPU architecture in Go's names, such as amd64.")
    memory_bytes: int = Field(
        ge=0, description="Physical memory in bytes, or the node's budget for models where that is less."
    )
    accelerators: tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] = Field(
        default=(), max_length=16, description="Accelerators present.", json_schema_extra=LIST_SET
    )
    runtimes: tuple[Format, ...] = Field(
        default=(), max_length=8, description="Formats that the agent can run.", json_schema_extra=LIST_SET
    )
    probe_sandbox: tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] = Field(
        default=(),
        max_length=16,
        description="Layers of the probe's sandbox that are in force on the node; known soon after the agent's start.",
        json_schema_extra=LIST_SET,
    )


class ProbeMeasurement(ApiModel):
    """What the probe measured for the desired revision."""

    variant: ShortName = Field(description="The variant that was probed.")
    load_milliseconds: int = Field(ge=0, description="Time to load the model.")
    latency_p95_milliseconds: int = Field(
        ge=0, alias="latencyP95Milliseconds", description="p95 latency of the golden runs, rounded up."
    )
    peak_memory_bytes: int = Field(
        ge=0, description="Memory that loading and running the model added to the probe process, in bytes."
    )


class Transfer(ApiModel):
    """What was fetched for the desired revision, by the process that finished it."""

    full_bytes: int = Field(default=0, ge=0, description="Bytes that came of files as they are.")
    delta_bytes: int = Field(default=0, ge=0, description="Bytes that came of deltas, in place of files.")


class NodeModelStatus(ApiModel):
    """One model on this node."""

    namespace: str = Field(min_length=1, max_length=63, description="Namespace of the EdgeModel.")
    name: ObjectName = Field(description="Name of the EdgeModel.")
    active: Digest | None = Field(default=None, description="The revision that is served.")
    previous: Digest | None = Field(default=None, description="The revision kept on disk to go back to.")
    desired: Digest | None = Field(
        default=None, description="The revision that the release assigns to this node."
    )
    state: ModelState = Field(default=ModelState.PENDING, description="What the node does with the model.")
    reason: Reason = Field(default="", description="Machine reason for the state.")
    message: Message = Field(default="", description="What happened and what is waited for.")
    result: ModelResult = Field(
        default=ModelResult.NONE, description="How the last attempt at the desired revision ended."
    )
    attempt: int = Field(
        default=0, ge=0, description="Attempt at the desired revision that the report answers."
    )
    sequence: int = Field(
        default=0, ge=0, description="Sequence of the ModelRelease that the report answers."
    )
    transition_time: Time | None = Field(
        default=None, description="When the state last changed, by the node's clock."
    )
    probe: ProbeMeasurement | None = Field(
        default=None, description="What the probe measured for the desired revision."
    )
    repair: Message = Field(
        default="",
        description="What of the agent's own files was found damaged and how it was made good, until the "
        "node takes up another revision.",
    )
    transfer: Transfer | None = Field(
        default=None, description="What was fetched for the desired revision, in bytes."
    )
    rejected: tuple[Digest, ...] = Field(
        default=(),
        max_length=32,
        description="Revisions that failed on this node and that it will not try again.",
        json_schema_extra=LIST_SET,
    )

    @property
    def display(self) -> str:
        """The model, its state and why, in one line."""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.namespace}/{self.name} {self.state}{why}"


class EdgeNodeSpec(ApiModel):
    """Nothing is asked of a node here; releases do that."""


_DISPLAY_MODELS = 4
"""More models than this are counted, not named, in a node's one-line summary."""


class EdgeNodeStatus(ApiModel):
    """What the agent reports, once for each change."""

    agent_version: str = Field(default="", max_length=63, description="Version of the agent.")
    heartbeat_time: Time | None = Field(
        default=None, description="When the agent last wrote, by the node's clock; at least every 10 minutes."
    )
    node_uid: str = Field(
        default="",
        alias="nodeUID",
        max_length=128,
        description="UID of the Node that the agent runs on; a report of another Node of the same name does not count.",
    )
    capabilities: Capabilities | None = Field(default=None, description="What the node has.")
    models: tuple[NodeModelStatus, ...] = Field(
        default=(),
        max_length=64,
        description="The models on this node.",
        json_schema_extra=list_map("namespace", "name"),
    )

    @computed_field(  # type: ignore[prop-decorator]
        description="The models for people, such as `1/2 Active; plant/door Reverted (ProbeFailed)`.",
        json_schema_extra={"maxLength": 2048},
    )
    @property
    def display(self) -> str:
        """How many models are active, and which are not, and why."""
        if not self.models:
            return "no models"
        waiting = [model for model in self.models if model.state is not ModelState.ACTIVE]
        parts = [f"{len(self.models) - len(waiting)}/{len(self.models)} Active"]
        parts += [model.display for model in waiting[:_DISPLAY_MODELS]]
        if len(waiting) > _DISPLAY_MODELS:
            parts.append(f"and {len(waiting) - _DISPLAY_MODELS} more")
        return "; ".join(parts)


class EdgeNode(ApiModel):
    """What one node's agent reports: capabilities, and for each model what is active and why."""

    api_version: Literal["edgecanary.dev/v1alpha1"] = API_VERSION
    kind: Literal["EdgeNode"] = "EdgeNode"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: EdgeNodeSpec = Field(
        default_factory=EdgeNodeSpec, description="Empty: nothing is asked of a node here."
    )
    status: EdgeNodeStatus = Field(default_factory=EdgeNodeStatus, description="What the agent reports.")
