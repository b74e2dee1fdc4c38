"""What the operator shows of Rollouts, signatures and agents, made anew for each scrape out of the cache.

A series exists as long as its object does. Labels name namespaces, Rollouts, EdgeModels and gates, whose numbers
people decide; never nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgecanary.api.rollout_status import FailureCounts, NodeCounts, Verdict
from edgecanary.controller.attendance import Roll
from edgecanary.controller.sight import Sight
from edgecanary.controller.status_views import GateView, StepView
from edgecanary.controller.views import ObjectKey, RolloutRecord


class Phase(StrEnum):
    """Where a Rollout stands, in six words."""

    PENDING = "Pending"
    """Nothing can begin yet: no nodes, or the model is being checked."""
    PROGRESSING = "Progressing"
    SUSPENDED = "Suspended"
    """It waits for a person."""
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    INVALID = "Invalid"
    """The spec, the model or the release is not right; a person must change something."""


PHASES: Mapping[str, Phase] = {
    "": Phase.PENDING,
    "ModelPending": Phase.PENDING,
    "NoMatchingNodes": Phase.PENDING,
    "NodesUpdating": Phase.PROGRESSING,
    "NodesOffline": Phase.PROGRESSING,
    "Baking": Phase.PROGRESSING,
    "AnalysisInconclusive": Phase.PROGRESSING,
    "Progressing": Phase.PROGRESSING,
    "Paused": Phase.SUSPENDED,
    "AwaitingApproval": Phase.SUSPENDED,
    "AwaitingRollback": Phase.SUSPENDED,
    "DeadlineExceeded": Phase.SUSPENDED,
    "Promoted": Phase.PROMOTED,
    "StragglersPending": Phase.PROMOTED,
    "RolledBack": Phase.ROLLED_BACK,
    "ModelNotFound": Phase.INVALID,
    "ModelInvalid": Phase.INVALID,
    "ModelConflict": Phase.INVALID,
    "StableLost": Phase.INVALID,
    "TooManyStrata": Phase.INVALID,
    "InvalidSpec": Phase.INVALID,
    "AddressRefused": Phase.INVALID,
    "GrantsUnreadable": Phase.INVALID,
    "HostInvalid": Phase.INVALID,
    "NotGranted": Phase.INVALID,
}
"""The phase of each reason of the Ready condition; one that an earlier program wrote is Pending."""

_ROLLOUT = ("namespace", "rollout")


@dataclass(frozen=True)
class Shown:
    """What a scrape shows, and when it was."""

    now: datetime
    sight: Sight = field(default_factory=Sight)
    roll: Roll = field(default_factory=Roll)


class FleetSeries(Collector):
    """Shows what it was last given."""

    def __init__(self) -> None:
        self._shown: Shown | None = None

    def show(self, shown: Shown) -> None:
        """What the next scrape gets."""
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        """All series; only the names of the metrics before anything was shown."""
        shown = self._shown
        yield from _rollout_series(shown.sight.rollouts if shown else {}, shown.roll if shown else Roll())
        yield from _fleet_series(shown)


def oldest_unanswered(rollouts: Mapping[ObjectKey, RolloutRecord], now: datetime) -> float:
    """The age in seconds of the oldest step whose quorum of nodes has not answered; 0 when there is none."""
    steps = (record.status.step for record in rollouts.values())
    begun = [step.start_time for step in steps if step and step.start_time and not step.bake_start_time]
    return max(0.0, (now - min(begun)).total_seconds()) if begun else 0.0


def node_states(counts: NodeCounts, *, rolling: bool) -> Mapping[str, int]:
    """The nodes that the selector matches by state; each node counts once."""
    settled = counts.updated + counts.failed
    in_step = counts.in_step if rolling else counts.targeted
    missing = max(0, in_step - settled - counts.pending)
    return {
        "updated": counts.updated,
        "failed": counts.failed,
        "pending": counts.pending,
        "offline": missing if rolling else 0,
        "later": max(0, counts.targeted - in_step),
        "straggling": 0 if rolling else missing,
        "incompatible": counts.incompatible,
    }


def _rollout_series(rollouts: Mapping[ObjectKey, RolloutRecord], roll: Roll) -> Iterator[Metric]:
    info = _gauge("info", "1, with the model and the versions of its stable and its canary revision.", *_INFO)
    phase = _gauge("phase", "1 for the phase that the Rollout is in, 0 for the others.", "phase")
    nodes = _gauge("nodes", "Nodes that the selector matches by state; each counts once.", "state")
    online = _gauge("nodes_online", "Targeted nodes whose Node is Ready.")
    failures = _gauge("node_failures", "Nodes of the step by what the canary failed in there.", "kind")
    waits = _gauge("waiting_since_timestamp_seconds", "Since when the Rollout waits for one thing.", "reason")
    slowest = _gauge(
        "longest_pending_seconds",
        "For how long the slowest online node has been on its way, as far as this process has seen.",
        "held",
    )
    for key, record in rollouts.items():
        own, status = (key.namespace, key.name), record.status
        info.add_metric((*own, record.model.name, status.stable.version, status.canary.version), 1)
        for name in Phase:
            phase.add_metric((*own, name), PHASES.get(record.reason, Phase.PENDING) is name)
        for state, number in node_states(status.nodes, rolling=status.step is not None).items():
            nodes.add_metric((*own, state), number)
        online.add_metric(own, status.nodes.online)
        for kind in FailureCounts.model_fields:
            failures.add_metric((*own, kind), getattr(status.nodes.failures, kind))
        if status.waiting is not None and status.waiting.since is not None:
            waits.add_metric((*own, status.waiting.reason), status.waiting.since.timestamp())
        for held in (False, True):
            slowest.add_metric((*own, str(held).lower()), roll.pending.get((record.model, held), 0.0))
    yield from (info, phase, nodes, online, failures, waits, slowest)
    yield from _step_series(rollouts)


def _step_series(rollouts: Mapping[ObjectKey, RolloutRecord]) -> Iterator[Metric]:
    """What there is only while a step is under way."""
    index = _gauge("step", "Position of the step that is under way, from 0.")
    start = _gauge("step_start_timestamp_seconds", "When the step that is under way began.")
    bake = _gauge("bake_start_timestamp_seconds", "When the step's quorum was updated and its bake began.")
    verdicts = _gauge(
        "gate_verdict", "1 for what the gate says, 0 for the other verdicts.", "gate", "verdict"
    )
    silent = _gauge("gate_looks_without_value", "Looks in a row that gave no value.", "gate", "cause")
    for key, record in rollouts.items():
        step, own = record.status.step, (key.namespace, key.name)
        if step is None:
            continue
        index.add_metric(own, step.index)
        _add_times(own, step, start, bake)
        for gate in record.status.analysis.metrics:
            _add_gate(own, gate, verdicts, silent)
    yield from (index, start, bake, verdicts, silent)


def _add_times(
    own: tuple[str, str], step: StepView, start: GaugeMetricFamily, bake: GaugeMetricFamily
) -> None:
    if step.start_time is not None:
        start.add_metric(own, step.start_time.timestamp())
    if step.bake_start_time is not None:
        bake.add_metric(own, step.bake_start_time.timestamp())


def _add_gate(
    own: tuple[str, str], gate: GateView, verdicts: GaugeMetricFamily, silent: GaugeMetricFamily
) -> None:
    for verdict in Verdict:
        verdicts.add_metric((*own, gate.name, verdict), gate.verdict == verdict)
    silent.add_metric((*own, gate.name, "no_data"), gate.no_data)
    silent.add_metric((*own, gate.name, "error"), gate.errors)


def _fleet_series(shown: Shown | None) -> Iterator[Metric]:
    sight, roll = (shown.sight, shown.roll) if shown else (Sight(), Roll())
    expiry = GaugeMetricFamily(
        "edgecanary_model_signature_expiry_timestamp_seconds",
        "When the signed statement of the EdgeModel expires, as it says itself.",
        labels=("namespace", "model"),
    )
    for key, moment in sight.expiries.items():
        expiry.add_metric((key.namespace, key.name), moment.timestamp())
    agents = GaugeMetricFamily(
        "edgecanary_operator_agents",
        "Agents of Nodes that exist, by what is heard of them.",
        labels=("state",),
    )
    for attending, number in roll.agents.items():
        agents.add_metric((attending,), number)
    models = GaugeMetricFamily(
        "edgecanary_operator_node_models", "Models on nodes, by the state last reported.", labels=("state",)
    )
    for state, number in roll.models.items():
        models.add_metric((state,), number)
    silence = GaugeMetricFamily(
        "edgecanary_operator_agent_longest_silence_seconds",
        "For how long nothing was heard of the agent that is silent longest, of those whose Node is Ready.",
        value=roll.longest_silence,
    )
    unanswered = GaugeMetricFamily(
        "edgecanary_operator_oldest_unanswered_step_seconds",
        "Age of the oldest step whose quorum of nodes has not answered; 0 when there is none.",
        value=oldest_unanswered(sight.rollouts, shown.now) if shown else 0.0,
    )
    yield from (expiry, agents, models, silence, unanswered)


_INFO = ("model", "stable", "canary")


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"edgecanary_rollout_{name}", text, labels=(*_ROLLOUT, *labels))
