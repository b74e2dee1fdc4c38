"""What a rollout waits for and why it was taken back, in words.

Times are absolute: a status changes when something does.
"""

from collections.abc import Sequence
from datetime import datetime

from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import RolloutSpec, Step
from edgecanary.api.rollout_status import Evidence, MetricStatus, NodeEvidence
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.eligibility import misfits
from edgecanary.rollout.fleet import StepView, Targets, names
from edgecanary.rollout.gates import GateView, describe

FAILURE_LIMIT = 640
"""The longest account of failed metrics, in characters: an Event takes 1024, and says more than that."""

_LEAST_ROOM = 80
_AND_MORE = "; and 20 more"


def describe_failure(metric: MetricStatus, *, limit: int = FAILURE_LIMIT) -> str:
    """Why a metric failed, in one line: its message, and what that leaves out of the facts.

    The facts are value, limit, baseline, samples, evidence and the worst nodes. At most `limit` characters: the
    worst nodes are left out first, the last one before the others.
    """
    said = metric.message or metric.reason or metric.verdict
    text = "; ".join([f"{metric.name}: {said}", *_unsaid(metric, said)])
    named = [node for node in metric.worst_nodes if node.name not in said]
    for kept in range(len(named), 0, -1):
        longer = f"{text}; worst nodes: {', '.join(describe_node_evidence(node) for node in named[:kept])}"
        if len(longer) <= limit:
            return longer
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe_failures(metrics: Sequence[MetricStatus], *, limit: int = FAILURE_LIMIT) -> str:
    """Why each of the metrics failed, in `limit` characters together; those without room are counted."""
    told: list[str] = []
    left = limit
    for position, metric in enumerate(metrics):
        others = len(metrics) - position - 1
        room = max(left // (others + 1), min(left, _LEAST_ROOM)) if others else left
        if room < _LEAST_ROOM and told:
            told.append(f"and {others + 1} more")
            break
        told.append(describe_failure(metric, limit=room - (len(_AND_MORE) if others else 0)))
        left -= len(told[-1]) + len("; ")
    return "; ".join(told)


def _unsaid(metric: MetricStatus, said: str) -> list[str]:
    """Facts that the message does not tell, all but the nodes."""
    facts = (
        ("value ", metric.value, ""),
        ("limit ", metric.limit or None, ""),
        ("stable ", metric.baseline, ""),
        ("", None if metric.samples is None else str(metric.samples), " samples"),
    )
    missing = [f"{before}{fact}{after}" for before, fact, after in facts if fact and not _tells(said, fact)]
    found = [", ".join(missing)] if missing else []
    if metric.evidence is not None and metric.evidence.value not in said:
        found.append(describe_evidence(metric.evidence, metric.method))
    return found


def _tells(said: str, fact: str) -> bool:
    """Whether the text has all the numbers of the fact."""
    numbers = [word.strip(";,") for word in fact.split() if any(sign.isdigit() for sign in word)]
    return all(number in said for number in numbers) if numbers else fact in said


def describe_evidence(evidence: Evidence, method: str) -> str:
    """What a comparison found: `evidence 34.2 against 20 (NegativeBinomial, 5 canary and 95 stable nodes)`."""
    counted = f"{evidence.canary_nodes} canary and {evidence.control_nodes} stable nodes"
    return (
        f"evidence {evidence.value} against {evidence.limit} ({', '.join(filter(None, (method, counted)))})"
    )


def describe_node_evidence(node: NodeEvidence) -> str:
    """What one node counted: `edge-07 with 12 of 240 bad, 3.1 expected`."""
    return f"{node.name} with {node.bad} of {node.total} bad, {node.expected} expected"


def step_display(steps: Sequence[Step], position: int) -> str:
    """The step for a table: `2/4 canary`."""
    return f"{position + 1}/{len(steps)} {steps[position].name}"


def step_title(steps: Sequence[Step], position: int) -> str:
    """The step for a sentence: `step 2/4 canary`."""
    return f"step {step_display(steps, position)}"


def describe_missing_nodes(spec: RolloutSpec, found: Targets, statement: RevisionStatement) -> str:
    """Why the rollout has no node to go to."""
    if found.incompatible:
        node = found.incompatible[0]
        return (
            f"spec.nodeSelector matches {len(found.incompatible)} nodes and no variant of {statement.version} fits "
            f"any; {node.facts.name}: {misfits(statement.variants, node.facts, serve=statement.serve)}"
        )
    wanted = ", ".join(f"{key}={value}" for key, value in sorted(spec.node_selector.match_labels.items()))
    return f"spec.nodeSelector matches no Node ({wanted or 'by its expressions'}); waiting for Nodes with these labels"


def describe_updating(view: StepView, statement: RevisionStatement, title: str) -> tuple[str, str]:
    """Reason and message while the step's nodes are on their way."""
    if not view.online:
        text = f"all {len(view.nodes)} nodes of the step are offline: {names(view.nodes)}"
        return "NodesOffline", f"{title}: {text}; waiting for them until the step's deadline"
    text = f"{title}: {len(view.updated)} of {len(view.nodes)} nodes run {statement.version}, {view.online} online"
    if view.pending:
        text += f"; waiting for {names(view.pending)}"
    if view.troubles:
        text += f"; {view.troubles}"
    return "NodesUpdating", text


def describe_baking(title: str, view: StepView, end: datetime, gates: GateView) -> str:
    """What is watched until when."""
    text = f"{title}: {len(view.updated)} of {len(view.nodes)} nodes updated, baking until {to_rfc3339(end)}"
    if gates.waiting:
        text += f"; {describe(gates.waiting)}"
    return text
