"""Nodes that run the model before the Rollout knows of it: what is adopted and what is left as it is."""

from collections.abc import Sequence

from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.rollout.context import Context
from edgecanary.rollout.fleet import Targets, targets
from edgecanary.rollout.snapshot import NodeView


def adoptable(context: Context, target: RevisionStatement) -> Targets | None:
    """The nodes, when the quorum of those online runs the wanted revision and nothing is known of the model.

    Nothing is known when the Rollout is new or was applied again, or when it names another model now.
    """
    if context.release is not None or context.rejection(target.revision) is not None:
        return None
    return already_there(context.spec, context.snapshot.fleet, target)


def already_there(spec: RolloutSpec, fleet: Sequence[NodeView], target: RevisionStatement) -> Targets | None:
    """The nodes, when the quorum of those online runs the revision."""
    found = targets(spec, fleet, target)
    return found if found.settled(target.revision).has_quorum(spec.strategy.quorum_percent) else None


def describe_adopted(found: Targets, target: RevisionStatement) -> str:
    """How many nodes run the revision that is adopted, for a person."""
    runs_it, online = found.settled(target.revision).updated_online, found.online
    return f"{target.version} ({target.revision[:12]}) runs on {runs_it} of {online} online nodes already: it is stable"


def describe_undescribed(context: Context, found: Targets, canary: str | None) -> str:
    """How many nodes run what no release describes, as the end of a sentence; empty when none does."""
    if context.stable is not None:
        return ""
    described = {canary, *(entry.revision for entry in context.rejected)}
    running = [
        node.report.active
        for node in (*found.eligible, *found.incompatible)
        if node.report is not None and node.report.active and node.report.active not in described
    ]
    if not running:
        return ""
    kinds = len(set(running))
    what = "a revision" if kinds == 1 else f"{kinds} revisions"
    nodes = "1 node runs" if len(running) == 1 else f"{len(running)} nodes run"
    return f"; {nodes} {what} that no release describes, and no node loses it before it gets another"
