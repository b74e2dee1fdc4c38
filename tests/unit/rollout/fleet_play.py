"""A pure stage for planner specifications: objects by hand, nodes that answer at once, time that a test moves."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from edgecanary.analysis.query import Answer, QueryError, Sample, Vector
from edgecanary.api.edgemodel import EdgeModel, EdgeModelStatus
from edgecanary.api.edgenode import ModelResult, ModelState, NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import Condition, ConditionType, ObjectMeta
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.planner import due_queries, plan
from edgecanary.rollout.snapshot import NodeView, Plan, Rival, Snapshot

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
GOOD = Vector((Sample((), 0.97),))
BAD = Vector((Sample((), 0.31),))
MANY = Vector((Sample((), 500.0),))
DOWN = QueryError("PrometheusUnavailable", "http://prometheus:9090 did not answer within 10 s")


def model(version: str, *, generation: int = 1) -> EdgeModel:
    """A checked EdgeModel whose bytes differ by version."""
    digest = version.encode().hex().ljust(64, "0")[:64]
    parsed = EdgeModel.model_validate(
        {
            "metadata": {"name": "pump", "namespace": "plant", "generation": generation},
            "spec": {
                "version": version,
                "io": {
                    "inputs": [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}],
                    "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 1]}],
                },
                "variants": [
                    {
                        "name": "fp32",
                        "format": "ONNX",
                        "entrypoint": "m.onnx",
                        "files": [
                            {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": digest, "sizeBytes": 9}
                        ],
                    }
                ],
            },
        }
    )
    ready = Condition(type=ConditionType.READY, status="True", reason="Accepted", last_transition_time=START)
    status = EdgeModelStatus(
        observed_generation=generation,
        revision=revision_digest(parsed.spec),
        version=version,
        conditions=(ready,),
    )
    return parsed.model_copy(update={"status": status})


def rollout(**spec: object) -> Rollout:
    """A Rollout with three steps and one accuracy gate; `spec` replaces top-level fields."""
    base: JsonObject = {
        "modelRef": {"name": "pump"},
        "strategy": {
            "steps": [
                {"name": "first", "nodes": 1, "bakeSeconds": 60},
                {"name": "quarter", "percent": 25, "bakeSeconds": 60},
                {"name": "all", "percent": 100, "bakeSeconds": 0},
            ]
        },
        "analysis": {
            "prometheus": {"url": "http://prometheus:9090"},
            "intervalSeconds": 20,
            "metrics": [
                {"name": "accuracy", "preset": "Accuracy", "threshold": {"min": "0.9"}, "minSamples": 100}
            ],
        },
    }
    metadata = {"name": "pump", "namespace": "plant", "uid": "uid-1", "generation": 1}
    return Rollout.model_validate({"metadata": metadata, "spec": {**base, **spec}})


@dataclass
class Stage:
    """Plays operator and fleet: plan, write, let the nodes answer, move the clock."""

    rollout: Rollout
    model: EdgeModel | None
    nodes: dict[str, NodeView]
    release: ModelRelease | None = None
    now: datetime = START
    accuracy: Vector | QueryError = GOOD
    samples: Vector | QueryError = MANY
    rivals: tuple[Rival, ...] = ()
    failing: set[str] = field(default_factory=set)
    """Nodes on which every canary fails its probe."""
    silent: set[str] = field(default_factory=set)
    """Nodes whose agent does not act."""
    events: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    writes: int = 0

    @classmethod
    def with_nodes(cls, count: int, labels: dict[str, str] | None = None, **spec: object) -> "Stage":
        """A stage with `count` online nodes."""
        facts = [NodeFacts(f"node-{i:02}", labels or {}, "amd64", 2**30) for i in range(count)]
        return cls(rollout(**spec), model("1.0.0"), {f.name: NodeView(f, online=True) for f in facts})

    @property
    def status(self) -> RolloutStatus:
        return self.rollout.status

    @property
    def reason(self) -> str:
        """The reason of the Ready condition."""
        condition = find_condition(self.status.conditions, ConditionType.READY)
        return condition.reason if condition else ""

    @property
    def message(self) -> str:
        condition = find_condition(self.status.conditions, ConditionType.READY)
        return condition.message if condition else ""

    def running(self, version_model: EdgeModel) -> list[str]:
        """The names of the nodes that run the model's revision."""
        revision = revision_digest(version_model.spec)
        return [name for name, n in self.nodes.items() if n.report and n.report.active == revision]

    def relabel(self, name: str, labels: dict[str, str]) -> None:
        view = self.nodes[name]
        self.nodes[name] = replace(view, facts=replace(view.facts, labels=labels))

    def forget_report(self, name: str) -> None:
        """The node's EdgeNode says nothing of the model."""
        self.nodes[name] = replace(self.nodes[name], report=None)

    def set_online(self, name: str, online: bool) -> None:
        self.nodes[name] = replace(self.nodes[name], online=online)

    def lose_release(self) -> None:
        """Somebody deletes the ModelRelease."""
        self.release = None

    def apply_again(self, uid: str = "uid-2") -> None:
        """The Rollout was deleted, its release went with it, and the same manifest is applied again."""
        metadata = ObjectMeta(name="pump", namespace="plant", uid=uid, generation=1)
        self.rollout = self.rollout.model_copy(update={"metadata": metadata, "status": RolloutStatus()})
        self.release = None

    def preload(self, version_model: EdgeModel, *names: str, attempt: int = 0) -> None:
        """The nodes (all when none is named) run the model's revision from an earlier life."""
        revision = revision_digest(version_model.spec)
        for name in names or tuple(self.nodes):
            self.nodes[name] = replace(self.nodes[name], report=_report(revision, attempt=attempt))

    def step(self) -> str:
        """The name of the current step; empty when nothing is rolling."""
        return self.status.step.name if self.status.step else ""

    def covered(self) -> list[str]:
        """The names of the nodes that the release assigns the canary to."""
        spec = self.release.spec if self.release else None
        return [n for n, node in self.nodes.items() if spec and assign(spec, node.facts).role is Role.CANARY]

    def annotate(self, action: str, token: str) -> None:
        annotations = {**self.rollout.metadata.annotations, f"edgecanary.dev/{action}": token}
        metadata = self.rollout.metadata.model_copy(update={"annotations": annotations})
        self.rollout = self.rollout.model_copy(update={"metadata": metadata})

    def edit(self, changed: Rollout) -> None:
        metadata = self.rollout.metadata.model_copy(
            update={"generation": self.rollout.metadata.generation + 1}
        )
        self.rollout = changed.model_copy(update={"metadata": metadata, "status": self.status})

    def plan(self) -> Plan:
        """One reconcile without writing."""
        snapshot = Snapshot(
            self.rollout, self.model, self.release, tuple(self.nodes.values()), rivals=self.rivals
        )
        answers = {
            query.metric: Answer(query, self.accuracy, self.samples)
            for query in due_queries(snapshot, self.now)
        }
        return plan(replace(snapshot, answers=answers), self.now)

    def reconcile(self, *, lose_status: bool = False) -> Plan:
        """One reconcile: plan, tell, write the release, then the status (unless the operator dies between).

        A plan with a warning is told after the release, as the operator does it: dying then tells nobody.
        """
        made = self.plan()
        if made.release is not None and (self.release is None or self.release.spec != made.release):
            sequence = self.release.spec.sequence + 1 if self.release else 1
            self.release = ModelRelease(spec=made.release.model_copy(update={"sequence": sequence}))
            self.writes += 1
        if not lose_status or not any(event.warning for event in made.events):
            self.events += [event.reason for event in made.events]
        if not lose_status:
            self.rollout = self.rollout.model_copy(update={"status": made.status})
        return made

    def answer(self) -> None:
        """Every online node does what the release says and reports it."""
        for name, node in self.nodes.items():
            if node.online and name not in self.silent and self.release is not None:
                self.nodes[name] = replace(node, report=self._act(node))

    def _act(self, node: NodeView) -> NodeModelStatus | None:
        assert self.release is not None
        asked = assign(self.release.spec, node.facts)
        before = node.report
        if asked.role in (Role.KEPT, Role.NOT_TARGETED):
            return self._keep(before)
        if asked.role is Role.NONE:
            return _report(None) if before else None
        if asked.revision is None:
            return before
        canary = self.release.spec.canary
        attempt = canary.attempt if canary and asked.role is Role.CANARY else 1
        active, state, result = asked.revision, ModelState.ACTIVE, ModelResult.SUCCEEDED
        if asked.role is Role.CANARY and node.facts.name in self.failing:
            state, result = ModelState.REVERTED, ModelResult.PROBE_FAILED
            active = before.active if before and before.active else ""
        return NodeModelStatus(
            namespace="plant",
            name="pump",
            active=active or None,
            desired=asked.revision,
            state=state,
            result=result,
            attempt=attempt,
            message="output y differs" if result is ModelResult.PROBE_FAILED else "",
        )

    def _keep(self, before: NodeModelStatus | None) -> NodeModelStatus | None:
        """A node that nothing is assigned to keeps what it runs, unless the release rejects that."""
        assert self.release is not None
        if before is None or before.active is None:
            return before
        if any(entry.revision == before.active for entry in self.release.spec.rejected):
            stable = self.release.spec.stable
            return _report(stable.revision if stable else None)
        return _report(before.active, attempt=before.attempt)

    def play(self, seconds: float = 3600, *, tick: float = 20) -> None:
        """Reconciles and lets the nodes answer until `seconds` have passed."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            for _ in range(4):
                before = (self.release, self.status, dict(self.nodes))
                self.reconcile()
                self.answer()
                if before == (self.release, self.status, self.nodes):
                    break
            line = f"{self.reason} {self.status.step.display if self.status.step else '-'} {self.status.nodes.display}"
            if not self.log or self.log[-1] != line:
                self.log.append(line)
            self.now += timedelta(seconds=tick)

    def promoted_at_once(self) -> "Stage":
        """The stage whose nodes all run the first model, which was adopted: any steps will do."""
        self.preload(self.model or model("1.0.0"))
        self.reconcile()
        assert self.reason == "Promoted", self.message
        self.events.clear()
        return self

    def promoted(self) -> "Stage":
        """The stage after the first model was promoted on every node."""
        self.play(600)
        assert self.reason == "Promoted", self.message
        self.events.clear()
        self.log.clear()
        return self


def _report(active: str | None, *, attempt: int = 1) -> NodeModelStatus:
    """What a settled node says."""
    return NodeModelStatus(
        namespace="plant",
        name="pump",
        active=active,
        desired=active,
        state=ModelState.ACTIVE if active else ModelState.WITHDRAWN,
        result=ModelResult.SUCCEEDED if active else ModelResult.NONE,
        attempt=attempt if active else 0,
    )
