"""Every Node joined with what its agent says of a model.

What did not change stays the same object: the planner then knows at a glance that nobody moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.base.memory import Memory
from edgecanary.controller.views import EdgeNodeRecord, NodeRecord, ObjectKey
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView

_KEPT_VIEWS = 400_000
"""How many views are remembered, of all models together."""

_SILENT = EdgeNodeRecord()


@dataclass(frozen=True)
class _Member:
    """One Node, and the reports of the agent that runs on it."""

    facts: NodeFacts
    online: bool
    reports: Mapping[ObjectKey, NodeModelStatus]

    def view(self, model: ObjectKey) -> NodeView:
        return NodeView(self.facts, online=self.online, report=self.reports.get(model))


@dataclass(frozen=True)
class _Views:
    """One model's views, each with the member that it was made from."""

    by_name: dict[str, tuple[_Member, NodeView]]
    whole: tuple[NodeView, ...]


class FleetViews:
    """The fleet by Node name. Not safe for threads: the cache guards it."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeRecord] = {}
        self._agents: dict[str, EdgeNodeRecord] = {}
        self._members: dict[str, _Member] = {}
        self._views: Memory[_Views] = Memory(_KEPT_VIEWS)

    def put_node(self, name: str, node: NodeRecord | None) -> None:
        """Takes in what a Node has become; None when it is gone."""
        if node is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        self._join(name)

    def put_agent(self, name: str, agent: EdgeNodeRecord | None) -> None:
        """Takes in what an EdgeNode has become; None when it is gone."""
        if agent is None:
            self._agents.pop(name, None)
        else:
            self._agents[name] = agent
        self._join(name)

    def of(self, model: ObjectKey) -> tuple[NodeView, ...]:
        """Every Node with what its agent says of the model."""
        known = self._views.get(model) or _Views({}, ())
        found, changed = {}, len(known.by_name) != len(self._members)
        for name, member in self._members.items():
            pair = known.by_name.get(name)
            if pair is None or pair[0] is not member:
                pair, changed = (member, member.view(model)), True
            found[name] = pair
        if not changed:
            return known.whole
        views = _Views(found, tuple([view for _, view in found.values()]))
        return self._views.put(model, views, size=len(found)).whole

    def _join(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            self._members.pop(name, None)
            return
        agent = self._agents.get(name, _SILENT)
        if agent.node_uid not in ("", node.uid):
            agent = _SILENT
        before, facts = self._members.get(name), _facts(name, node, agent)
        if before is not None and before.facts == facts:
            facts = before.facts
        self._members[name] = _Member(facts, node.ready, agent.models)


def _facts(name: str, node: NodeRecord, agent: EdgeNodeRecord) -> NodeFacts:
    """What decides the node's part in a rollout; its agent knows better than its kubelet."""
    told = agent.capabilities
    return NodeFacts(
        name=name,
        labels=node.labels,
        architecture=told.architecture if told else node.architecture,
        memory_bytes=told.memory_bytes if told else node.memory_bytes,
        accelerators=frozenset(told.accelerators) if told else frozenset(),
        runtimes=frozenset(told.runtimes) if told else None,
    )
