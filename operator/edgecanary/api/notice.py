"""What the operator tells a webhook: the types of its CloudEvents and their data."""

from enum import StrEnum

from pydantic import Field

from edgecanary.api.fields import ApiModel, Time
from edgecanary.api.rollout_status import NodeCounts, RevisionReference


class NoticeType(StrEnum):
    """The `type` of a CloudEvent."""

    PROMOTED = "dev.edgecanary.rollout.promoted"
    """A revision went through all steps, or returned, and is stable now."""
    ROLLED_BACK = "dev.edgecanary.rollout.rolledback"
    """A revision was taken back from every node."""
    APPROVAL_NEEDED = "dev.edgecanary.rollout.approvalneeded"
    """A step's gates pass, and it waits for a person's edgecanary.dev/promote."""
    PAUSED = "dev.edgecanary.rollout.paused"
    """The rollout waits for a person's decision, and is not widened meanwhile."""
    STALLED = "dev.edgecanary.rollout.stalled"
    """Nothing goes on until a person changes a spec."""


class NoticeStep(ApiModel):
    """The step that the rollout is in."""

    index: int = Field(description="Position in spec.strategy.steps, from 0.")
    name: str = Field(description="Its name.")


class NoticeData(ApiModel):
    """The `data` of a CloudEvent."""

    namespace: str = Field(description="Namespace of the Rollout.")
    name: str = Field(description="Name of the Rollout.")
    uid: str = Field(description="UID of the Rollout.")
    model: str = Field(description="Name of the EdgeModel.")
    reason: str = Field(description="Machine reason, as in the Rollout's status.")
    message: str = Field(default="", description="The same for a person.")
    revision: RevisionReference | None = Field(
        default=None, description="The revision that it is about: digest and version."
    )
    stable: RevisionReference | None = Field(
        default=None, description="The revision that the fleet falls back on now."
    )
    attempt: int | None = Field(default=None, description="Which attempt at the revision it is or was.")
    step: NoticeStep | None = Field(default=None, description="Where the rollout stands, while it waits.")
    start_time: Time | None = Field(default=None, description="When the revision's first step began.")
    nodes: NodeCounts | None = Field(
        default=None, description="The fleet in numbers, while the rollout waits; as in status.nodes."
    )
