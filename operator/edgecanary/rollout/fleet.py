"""The fleet as one rollout sees it: who is targeted, who is in the step, and how far each node is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import compress, islice
from operator import attrgetter, not_

from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.api.rollout_status import FailureCounts, NodeCounts
from edgecanary.rollout.cohort import Strata, Stratum
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.roster import Roster, everybody, pick, roster
from edgecanary.rollout.snapshot import NodeView


class Progress(StrEnum):
    """How far one node is with one revision."""

    UPDATED = "Updated"
    FAILED = "Failed"
    PENDING = "Pending"


class Failure(StrEnum):
    """What a node's last attempt at a revision failed in."""

    PRECHECK = "precheck"
    DOWNLOAD = "download"
    VERIFY = "verify"
    PROBE = "probe"
    HEALTH = "health"


_DELIVERY = {
    ModelResult.PRECHECK_FAILED: Failure.PRECHECK,
    ModelResult.DOWNLOAD_FAILED: Failure.DOWNLOAD,
    ModelResult.VERIFY_FAILED: Failure.VERIFY,
}
"""Failures of the node, the network or the store. The agent tries again; they say nothing of the model."""

_OF_THE_MODEL = (Failure.PROBE, Failure.HEALTH)
"""Failures that count against the revision."""

_FAILED = (ModelState.REVERTED, ModelState.FAILING)

_HINDERED = {
    Failure.PRECHECK: "cannot take it",
    Failure.DOWNLOAD: "cannot fetch the files",
    Failure.VERIFY: "got other bytes than declared",
}


@dataclass(frozen=True)
class StepView:
    """The nodes of a step, or all eligible ones where nothing rolls, by how far they are with a revision.

    `pending` are those that are online and neither updated nor failed; `hindered` those, online or not, whose
    last word is that it cannot be delivered to them.
    """

    nodes: tuple[NodeView, ...]
    updated: tuple[NodeView, ...]
    failed: tuple[NodeView, ...]
    pending: tuple[NodeView, ...]
    missing: tuple[NodeView, ...]
    """Not updated, failed ones and offline ones included."""
    hindered: tuple[NodeView, ...]
    failures: FailureCounts

    @cached_property
    def updated_names(self) -> tuple[str, ...]:
        """The names of the updated nodes."""
        return tuple(map(attrgetter("facts.name"), self.updated))

    @cached_property
    def online(self) -> int:
        """Nodes whose Node is Ready."""
        return _online(self.nodes)

    @cached_property
    def updated_online(self) -> int:
        """Updated nodes whose Node is Ready."""
        return _online(self.updated)

    def has_quorum(self, percent: int) -> bool:
        """Whether enough of the online nodes are updated: at least one, and `percent` of them.

        Nodes that are offline are unknown, whatever they said last: they count neither for nor against.
        """
        return self.updated_online > 0 and self.updated_online * 100 >= percent * self.online

    @property
    def troubles(self) -> str:
        """How many nodes cannot get the revision and why, for a person; empty when all can."""
        if not self.hindered:
            return ""
        counts = ((getattr(self.failures, kind), words) for kind, words in _HINDERED.items())
        text = ", ".join(f"{number} {words}" for number, words in counts if number)
        first = self.hindered[0]
        report = first.report
        told = f"{report.reason or report.result}: {report.message}" if report else ""
        return f"{text} ({first.facts.name}: {told})"


@dataclass(frozen=True)
class Targets:
    """The nodes that a rollout is for: those that a variant fits, and those that none fits."""

    eligible: tuple[NodeView, ...]
    incompatible: tuple[NodeView, ...]
    roster: Roster
    _views: dict[tuple[str, int | None], StepView] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def online(self) -> int:
        """Eligible nodes whose Node is Ready."""
        return _online(self.eligible)

    def by_stratum(self, keys: Iterable[str]) -> Strata:
        """The eligible nodes' names by stratum."""
        return self.roster.grouping(tuple(keys)).strata

    def settled(self, revision: str) -> StepView:
        """All eligible nodes by how far they are with a revision that all of them are to run."""
        return self.whole(revision, None)

    def whole(self, revision: str, attempt: int | None) -> StepView:
        """All eligible nodes by how far they are with an attempt at a revision; `attempt` None is any."""
        known = self._views.get((revision, attempt))
        if known is None:
            known = self._views[revision, attempt] = view_nodes(self.eligible, revision, attempt)
        return known


@dataclass(frozen=True)
class _Sight:
    """One fleet and what was found in it."""

    fleet: tuple[NodeView, ...]
    facts: tuple[NodeFacts, ...]
    found: dict[int, Targets] = field(default_factory=dict)
    """By the identity of the roster, which the targets keep alive."""


class _LastSight:
    """The fleet that was seen last: one look asks several questions about it."""

    def __init__(self) -> None:
        self._sight = _Sight((), ())

    def of(self, fleet: Sequence[NodeView]) -> _Sight:
        """What is known of just this fleet; other threads may look at another one meanwhile."""
        sight = self._sight
        if sight.fleet is not fleet:
            nodes = tuple(fleet)
            self._sight = sight = _Sight(nodes, tuple(map(attrgetter("facts"), nodes)))
        return sight


_SEEN = _LastSight()


def targets(spec: RolloutSpec, fleet: Sequence[NodeView], statement: RevisionStatement | None) -> Targets:
    """The nodes that the selector matches, split by whether a variant fits; without a statement none does."""
    sight = _SEEN.of(fleet)
    found = roster(spec.node_selector, sight.facts, statement)
    known = sight.found.get(id(found))
    if known is None:
        known = Targets(pick(found.eligible, sight.fleet), pick(found.incompatible, sight.fleet), found)
        sight.found[id(found)] = known
    return known


def count_strata(spec: RolloutSpec, fleet: Sequence[NodeView]) -> int:
    """How many strata the nodes that the selector matches fall into."""
    return everybody(spec.node_selector, _SEEN.of(fleet).facts).count_strata(spec.strategy.stratify_by)


def progress(report: NodeModelStatus | None, revision: str, attempt: int | None) -> Progress:
    """How far a node is with an attempt at a revision, as of its last report; `attempt` None is any.

    A failure in an earlier attempt says nothing about this one.
    """
    if _serves(report, revision):
        return Progress.UPDATED
    if failure(report, revision, attempt) in _OF_THE_MODEL:
        return Progress.FAILED
    return Progress.PENDING


def failure(report: NodeModelStatus | None, revision: str, attempt: int | None) -> Failure | None:
    """What the node's last attempt at the revision failed in; `attempt` None is any.

    A node that went back has the model at fault unless it says that the model never arrived.
    """
    if report is None or report.desired != revision or attempt not in (None, report.attempt):
        return None
    if report.state is ModelState.ACTIVE:
        return None
    delivery = _DELIVERY.get(report.result)
    if delivery is not None or report.state not in _FAILED:
        return delivery
    return Failure.PROBE if report.result is ModelResult.PROBE_FAILED else Failure.HEALTH


def view_step(
    found: Targets,
    keys: tuple[str, ...],
    bounds: Mapping[Stratum, int],
    *,
    salt: str,
    revision: str,
    attempt: int,
) -> StepView:
    """The eligible nodes whose rank is below their stratum's bound, by progress."""
    grouping = found.roster.grouping(keys)
    lines = grouping.strata.lines(salt)
    reached = {stratum: line.below(bounds.get(stratum, 0)) for stratum, line in lines.items()}
    if sum(reached.values()) == len(found.eligible):
        return found.whole(revision, attempt)
    inside: list[int] = []
    for stratum, number in reached.items():
        places = grouping.places[stratum]
        inside += [places[position] for position in lines[stratum].order[:number]]
    inside.sort()
    return view_nodes(pick(inside, found.eligible), revision, attempt)


def view_nodes(nodes: tuple[NodeView, ...], revision: str, attempt: int | None) -> StepView:
    """How far the nodes are with an attempt at a revision; `attempt` None is any."""
    settled = [_serves(node.report, revision) for node in nodes]
    missing = tuple(compress(nodes, map(not_, settled)))
    failed, pending, hindered = [], [], []
    failures: Counter[Failure] = Counter()
    for node in missing:
        kind = failure(node.report, revision, attempt)
        if kind is not None:
            failures[kind] += 1
        if kind in _OF_THE_MODEL:
            failed.append(node)
            continue
        if node.online:
            pending.append(node)
        if kind is not None:
            hindered.append(node)
    return StepView(
        nodes=nodes,
        updated=tuple(compress(nodes, settled)) if missing else nodes,
        failed=tuple(failed),
        pending=tuple(pending),
        missing=missing,
        hindered=tuple(hindered),
        failures=FailureCounts.model_validate(dict(failures)),
    )


def count(found: Targets, step: StepView | None, *, wanted: str | None) -> NodeCounts:
    """The fleet in numbers. `wanted` is the revision that counts as updated where nothing is rolling."""
    view = step or (found.settled(wanted) if wanted else view_nodes((), "", None))
    return NodeCounts(
        targeted=len(found.eligible),
        incompatible=len(found.incompatible),
        online=found.online,
        in_step=len(step.nodes) if step else 0,
        updated=len(view.updated),
        failed=len(view.failed),
        offline=len(found.eligible) - found.online,
        pending=len(step.pending) if step else 0,
        failures=view.failures,
        display=f"{len(view.updated)}/{len(found.eligible)}",
    )


def runs(node: NodeView, revision: str) -> bool:
    """Whether the node runs the revision as its settled one, as of its last report."""
    return _serves(node.report, revision)


def _serves(report: NodeModelStatus | None, revision: str) -> bool:
    return (
        report is not None
        and report.active == revision
        and report.desired == revision
        and report.state is ModelState.ACTIVE
    )


def names(nodes: Sequence[NodeView], *, limit: int = 3) -> str:
    """The nodes' names for a person: the first few and how many more."""
    more = len(nodes) - limit
    listed = ", ".join(node.facts.name for node in islice(nodes, limit))
    return listed + (f" and {more} more" if more > 0 else "")


def _online(nodes: Sequence[NodeView]) -> int:
    return sum(map(attrgetter("online"), nodes))
