"""What happened when, worked out from the live copy's log of changes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from edgecanary.api.edgenode import EdgeNode, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.base.quantities import parse_bytes
from edgecanary.rollout.assignment import assign, is_rejected, takes_canary
from edgecanary.rollout.eligibility import NodeFacts
from edgelab.fleet.layout import ARCHITECTURE, MEMORY, NodePlan
from edgelab.fleet.mirror import Change
from edgelab.modelzoo.counts import TrafficReport

AnsweredSince: TypeAlias = Callable[[str, str, float], int]
"""How many requests to a node, sent at a moment or later, a revision answered."""


@dataclass(frozen=True)
class ReleaseState:
    """The release as it was from `time` on."""

    time: float
    spec: ModelReleaseSpec


@dataclass(frozen=True)
class NodeReport:
    """What a node reported at `time`."""

    time: float
    node: str
    report: NodeModelStatus


class Timeline:
    """One model's releases and reports, the oldest first. Times are seconds since the epoch."""

    def __init__(
        self, changes: Iterable[Change], plans: Mapping[str, NodePlan], *, namespace: str, name: str
    ) -> None:
        self._facts = {plan.name: facts_of(plan) for plan in plans.values()}
        self.releases: list[ReleaseState] = []
        self.reports: list[NodeReport] = []
        for change in changes:
            found = change.found
            if isinstance(found, ModelRelease) and change.key[1:] == (namespace, name):
                self.releases.append(ReleaseState(change.time, found.spec))
            if isinstance(found, EdgeNode):
                self.reports += [
                    NodeReport(change.time, change.key[2], report)
                    for report in found.status.models
                    if (report.namespace, report.name) == (namespace, name)
                ]

    def cohorts(self, revision: str) -> list[frozenset[str]]:
        """The nodes that were to take the canary, step by step."""
        found: list[frozenset[str]] = []
        for state in self.releases:
            if state.spec.canary is None or state.spec.canary.revision != revision:
                continue
            cohort = frozenset(name for name, facts in self._facts.items() if takes_canary(state.spec, facts))
            if not found or cohort != found[-1]:
                found.append(cohort)
        return found

    def withdrawn(self, revision: str) -> float | None:
        """When a release first said that the revision must not run."""
        return next((state.time for state in self.releases if is_rejected(state.spec, revision)), None)

    def assigned(self, node: str, revision: str) -> float | None:
        """When a release first assigned the revision to the node."""
        facts = self._facts[node]
        return next(
            (state.time for state in self.releases if assign(state.spec, facts).revision == revision), None
        )

    def ran(self, revision: str) -> dict[str, float]:
        """The nodes that reported the revision as active, and when first."""
        found: dict[str, float] = {}
        for item in self.reports:
            if item.report.active == revision:
                found.setdefault(item.node, item.time)
        return found

    def left(self, revision: str) -> dict[str, float]:
        """The nodes that ran the revision and then reported another one, or none, and when first."""
        found: dict[str, float] = {}
        began = self.ran(revision)
        for item in self.reports:
            if item.node in began and item.time > began[item.node] and item.report.active != revision:
                found.setdefault(item.node, item.time)
        return found

    def wrong_answers(self, traffic: TrafficReport, answered_since: AnsweredSince) -> int:
        """Requests that a revision answered on a node that it was not, or no longer, meant for.

        A node has until its report that it went back; what was on its way then is not counted.
        """
        wrong = 0
        for node, count in traffic.agents.items():
            for revision, answers in count.revisions.items():
                assigned = self.assigned(node, revision)
                if assigned is None or (answers.first_answer or 0) < assigned:
                    wrong += answers.answered
                elif self.withdrawn(revision) and (left := self.left(revision).get(node)):
                    wrong += answered_since(node, revision, left)
        return wrong


def facts_of(plan: NodePlan) -> NodeFacts:
    """What decides the node's part in a rollout."""
    labels = {"kubernetes.io/hostname": plan.name, **plan.labels}
    memory = parse_bytes(MEMORY, field="capacity.memory")
    return NodeFacts(plan.name, labels, ARCHITECTURE, memory)
