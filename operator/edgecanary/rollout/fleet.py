"""The fleet as one rollout sees it: who is targeted, who is in the step, and how far each node is."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from edgecanary.api.edgenode import ModelState, NodeModelStatus
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.api.rollout_status import NodeCounts
from edgecanary.rollout.cohort import Stratum, stratum_of
from edgecanary.rollout.eligibility import fitting_variant
from edgecanary.rollout.rank import rank
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import NodeView


class Progress(StrEnum):
    """How far one node is with one revision."""

    UPDATED = "Updated"
    FAILED = "Failed"
    PENDING = "Pending"


@dataclass(frozen=True)
class Targets:
    """The nodes that a rollout is for: those that a variant fits, and those that none fits."""

    eligible: tuple[NodeView, ...]
    incompatible: tuple[NodeView, ...]

    def by_stratum(self, keys: Iterable[str]) -> dict[Stratum, list[str]]:
        """The eligible nodes' names by stratum."""
        wanted = tuple(keys)
        members: dict[Stratum, list[str]] = {}
        for node in self.eligible:
            members.setdefault(stratum_of(node.facts.labels, wanted), []).append(node.facts.name)
        return members


@dataclass(frozen=True)
class StepView:
    """The nodes of a step, and how far they are with the canary."""

    nodes: tuple[NodeView, ...]
    updated: tuple[NodeView, ...]
    failed: tuple[NodeView, ...]
    pending: tuple[NodeView, ...]
    """Online and neither updated nor failed."""

    @property
    def online(self) -> int:
        """Nodes of the step whose Node is Ready."""
        return sum(node.online for node in self.nodes)

    def has_quorum(self, percent: int) -> bool:
        """Whether enough of the step's online nodes are updated: at least one, and `percent` of them."""
        updated = sum(node.online for node in self.updated)
        return updated > 0 and updated * 100 >= percent * self.online


def targets(spec: RolloutSpec, fleet: Iterable[NodeView], statement: RevisionStatement | None) -> Targets:
    """The nodes that the selector matches, split by whether a variant fits; without a statement none does."""
    selected = sorted(
        (node for node in fleet if matches(spec.node_selector, node.facts.labels)),
        key=lambda node: node.facts.name,
    )
    variants, serve = (statement.variants, statement.serve) if statement else ((), True)
    fits = {node.facts.name for node in selected if fitting_variant(variants, node.facts, serve=serve)}
    return Targets(
        eligible=tuple(node for node in selected if node.facts.name in fits),
        incompatible=tuple(node for node in selected if node.facts.name not in fits),
    )


def progress(report: NodeModelStatus | None, revision: str, attempt: int) -> Progress:
    """How far a node is with an attempt at a revision, as of its last report.

    A failure in an earlier attempt says nothing about this one.
    """
    if report is None:
        return Progress.PENDING
    if report.active == revision and report.state is ModelState.ACTIVE and report.desired == revision:
        return Progress.UPDATED
    if report.desired == revision and report.state is ModelState.REVERTED and report.attempt == attempt:
        return Progress.FAILED
    return Progress.PENDING


def view_step(
    found: Targets,
    keys: tuple[str, ...],
    bounds: dict[Stratum, int],
    *,
    salt: str,
    revision: str,
    attempt: int,
) -> StepView:
    """The eligible nodes whose rank is below their stratum's bound, by progress."""
    inside = tuple(
        node
        for node in found.eligible
        if rank(salt, node.facts.name) < bounds.get(stratum_of(node.facts.labels, keys), 0)
    )
    by_progress: dict[Progress, list[NodeView]] = {kind: [] for kind in Progress}
    for node in inside:
        by_progress[progress(node.report, revision, attempt)].append(node)
    return StepView(
        nodes=inside,
        updated=tuple(by_progress[Progress.UPDATED]),
        failed=tuple(by_progress[Progress.FAILED]),
        pending=tuple(node for node in by_progress[Progress.PENDING] if node.online),
    )


def count(found: Targets, step: StepView | None, *, wanted: str | None) -> NodeCounts:
    """The fleet in numbers. `wanted` is the revision that counts as updated where nothing is rolling."""
    online = sum(node.online for node in found.eligible)
    if step is not None:
        updated, failed, in_step, pending = (
            len(step.updated), len(step.failed), len(step.nodes), len(step.pending)
        )  # fmt: skip
    else:
        running = [node for node in found.eligible if wanted and runs(node, wanted)]
        updated, in_step, pending = len(running), 0, 0
        failed = sum(node.report is not None and node.report.state is ModelState.REVERTED
                     and node.report.desired == wanted for node in found.eligible)  # fmt: skip
    return NodeCounts(
        targeted=len(found.eligible),
        incompatible=len(found.incompatible),
        online=online,
        in_step=in_step,
        updated=updated,
        failed=failed,
        offline=len(found.eligible) - online,
        pending=pending,
        display=f"{updated}/{len(found.eligible)}",
    )


def runs(node: NodeView, revision: str) -> bool:
    """Whether the node runs the revision as its settled one, as of its last report."""
    return node.report is not None and progress(node.report, revision, attempt=0) is Progress.UPDATED


def names(nodes: Iterable[NodeView], *, limit: int = 3) -> str:
    """The nodes' names for a person: the first few and how many more."""
    listed = [node.facts.name for node in nodes]
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
