"""What a rollout waits for, in words. Times are absolute: a status changes when something does."""

from collections.abc import Sequence
from datetime import datetime

from edgecanary.api.edgenode import ModelResult
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import RolloutSpec, Step
from edgecanary.base.clock import to_rfc3339
from edgecanary.rollout.eligibility import misfits
from edgecanary.rollout.fleet import StepView, Targets, names
from edgecanary.rollout.gates import GateView, describe


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
    return "NodesUpdating", text + _troubles(view, statement.revision)


def _troubles(view: StepView, revision: str) -> str:
    """What hinders the first node that reports trouble with the revision."""
    for node in view.pending:
        report = node.report
        if report and report.desired == revision and report.result is not ModelResult.NONE:
            return f"; {node.facts.name}: {report.reason or report.result}: {report.message}"
    return ""


def describe_baking(title: str, view: StepView, end: datetime, gates: GateView) -> str:
    """What is watched until when."""
    text = f"{title}: {len(view.updated)} of {len(view.nodes)} nodes updated, baking until {to_rfc3339(end)}"
    if gates.waiting:
        text += f"; {describe(gates.waiting)}"
    return text
