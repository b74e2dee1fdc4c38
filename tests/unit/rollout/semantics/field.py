"""A stage for nodes that come, go, change and fail, each in its own way."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from edgecanary.agent.timing import gate
from edgecanary.analysis.query import MetricQuery
from edgecanary.api.artifacts import Variant
from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.planner import due_queries
from edgecanary.rollout.rank import rank
from edgecanary.rollout.snapshot import NodeView, Snapshot
from tests.unit.rollout.fleet_play import Stage, model, rollout

V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)
LONG = 100_000
"""A bake that does not end while a test looks."""

Spec = dict[str, object]


def nodes_step(name: str, nodes: int, *, bake: int = 0) -> Spec:
    return {"name": name, "nodes": nodes, "bakeSeconds": bake}


def percent_step(name: str, percent: int, *, bake: int = 0) -> Spec:
    return {"name": name, "percent": percent, "bakeSeconds": bake}


def strategy(*steps: Spec, **more: object) -> Spec:
    return {"steps": [*steps], "stepDeadlineSeconds": 10 * LONG, **more}


def facts(name: str, labels: dict[str, str] | None = None) -> NodeFacts:
    return NodeFacts(name, labels or {}, "amd64", 2**30)


@dataclass
class Field(Stage):
    """A stage whose nodes have troubles of their own, keep update windows, and know what they have run."""

    troubles: dict[str, ModelResult] = field(default_factory=dict)
    """Nodes whose attempt at the canary ends so: delivery failures before they switch, HealthFailed after."""
    ran: dict[str, list[str]] = field(default_factory=dict)
    """By node, the revisions that it has run, one after the other."""

    def answer(self) -> None:
        super().answer()
        for name, node in self.nodes.items():
            active = node.report.active if node.report else None
            runs = self.ran.setdefault(name, [])
            if active and runs[-1:] != [active]:
                runs.append(active)

    def _act(self, node: NodeView) -> NodeModelStatus | None:
        told = super()._act(node)
        assert self.release is not None
        release = self.release.spec
        if told is None or assign(release, node.facts).role is not Role.CANARY:
            return told
        trouble = self.troubles.get(node.facts.name)
        if trouble is ModelResult.HEALTH_FAILED:
            back = release.stable.revision if release.stable else None
            return told.model_copy(update={"state": ModelState.REVERTED, "result": trouble, "active": back})
        before = node.report.active if node.report else None
        switches = before == told.active or gate(release.update_windows, self.now, None).open
        held_up = {"active": before, "state": ModelState.PENDING, "message": "tried again"}
        if trouble is not None:
            reason = "NoSpace" if trouble is ModelResult.PRECHECK_FAILED else "NoAnswer"
            return told.model_copy(update={**held_up, "result": trouble, "reason": reason})
        if not switches:
            return told.model_copy(update={**held_up, "result": ModelResult.NONE, "reason": "Window"})
        return told

    def join(self, name: str, labels: dict[str, str] | None = None, *, online: bool = True) -> None:
        """A node that nobody has heard of comes into the cluster."""
        self.nodes[name] = NodeView(facts(name, labels), online=online)

    def leave(self, name: str) -> NodeView:
        """A Node object is deleted; the node as it was."""
        return self.nodes.pop(name)

    def rebuild(self, name: str, *, architecture: str) -> None:
        """The node gets other hardware."""
        node = self.nodes[name]
        self.nodes[name] = replace(node, facts=replace(node.facts, architecture=architecture))

    def report(self, name: str, **changes: object) -> None:
        """The node's last report is another one."""
        node = self.nodes[name]
        assert node.report is not None
        self.nodes[name] = replace(node, report=node.report.model_copy(update=changes))

    def due(self, *, seconds: float) -> tuple[MetricQuery, ...]:
        """What Prometheus would be asked after so many seconds."""
        snapshot = Snapshot(self.rollout, self.model, self.release, tuple(self.nodes.values()))
        return due_queries(snapshot, self.now + timedelta(seconds=seconds))

    def rank(self, name: str) -> int:
        """The node's place in the current release's order."""
        assert self.release is not None
        return rank(self.release.spec.salt, name)

    def in_order(self, *names: str) -> list[str]:
        """The nodes (all when none is named) in the order in which they take the canary."""
        return sorted(names or self.nodes, key=self.rank)

    def active(self, name: str) -> str | None:
        """The revision that the node says it runs."""
        told = self.nodes[name].report
        return told.active if told else None

    def rolling(self, new: EdgeModel, *, seconds: float = 40) -> "Field":
        """The stage some time after the EdgeModel was changed."""
        self.model = new
        self.play(seconds)
        return self


def field_of(labels: dict[str, dict[str, str]] | int, **spec: object) -> Field:
    """A field whose online nodes all run version 1.0.0, which is stable there."""
    named = {f"node-{i:02}": {} for i in range(labels)} if isinstance(labels, int) else labels
    nodes = {name: NodeView(facts(name, found), online=True) for name, found in named.items()}
    stage = Field(rollout(**spec), V1, nodes)
    stage.promoted_at_once()
    stage.answer()
    return stage


def declared(version: str, variant: Variant) -> EdgeModel:
    """A checked EdgeModel with this one variant."""
    plain = model(version, generation=9)
    spec = plain.spec.model_copy(update={"variants": (variant,)})
    status = plain.status.model_copy(update={"revision": revision_digest(spec)})
    return plain.model_copy(update={"spec": spec, "status": status})


def revision(of: EdgeModel) -> str:
    """The digest that the EdgeModel asks for."""
    assert of.status.revision is not None
    return of.status.revision
