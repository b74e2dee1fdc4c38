"""What the metrics show of a Rollout's status and of an EdgeModel's signature, read without being strict."""

from datetime import datetime

from edgecanary.api.fields import ApiModel, Time
from edgecanary.api.rollout_status import NodeCounts
from edgecanary.artifact.envelope import Refused, read_envelope
from edgecanary.artifact.signed import read_statement


class GateView(ApiModel):
    """One gate of a step; the counts are of looks in a row that gave no value."""

    name: str = ""
    verdict: str = ""
    no_data: int = 0
    errors: int = 0


class StepView(ApiModel):
    """The step that is under way."""

    index: int = 0
    start_time: Time | None = None
    bake_start_time: Time | None = None


class WaitView(ApiModel):
    """What is waited for."""

    reason: str = ""
    since: Time | None = None


class VersionView(ApiModel):
    """A revision's name for people."""

    version: str = ""


class AnalysisView(ApiModel):
    """The gates."""

    metrics: tuple[GateView, ...] = ()


class StatusView(ApiModel):
    """A Rollout's status."""

    stable: VersionView = VersionView()
    canary: VersionView = VersionView()
    step: StepView | None = None
    waiting: WaitView | None = None
    nodes: NodeCounts = NodeCounts()
    analysis: AnalysisView = AnalysisView()


def signature_expiry(signature: str | None) -> datetime | None:
    """When a signed statement expires; None where there is none that can be read.

    Nothing is verified: the operator has no trust roots, and nodes judge for themselves.
    """
    if not signature:
        return None
    try:
        envelope = read_envelope(signature)
        return read_statement(envelope.payload, envelope.payload_type).expires
    except Refused:
        return None
