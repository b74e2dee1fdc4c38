"""A fleet on the API server whose Rollout the real planner takes forward, and the program that looks at it."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edgecanary import __version__
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.cli.main import main
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, MODEL_RELEASES, ROLLOUTS, Resource
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView
from edgelab import nodes
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.paths import ROOT
from tests.unit.rollout.fleet_play import Stage, model, rollout

NAME = "pump"
BIN = Path(sys.executable).parent
STEPS: list[JsonObject] = [
    {"name": "first", "nodes": 1, "bakeSeconds": 60},
    {"name": "quarter", "percent": 25, "bakeSeconds": 60, "approval": "Manual"},
    {"name": "all", "percent": 100, "bakeSeconds": 0},
]


@dataclass(frozen=True)
class Told:
    """What the program said and how it ended."""

    code: int
    out: str
    err: str


def tell(*arguments: str | Path, config: Path, environ: Mapping[str, str] | None = None) -> Told:
    """The program in this process, as a person runs it whose standard output is a file."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before = dict(os.environ)
    os.environ.update({"KUBECONFIG": str(config), **(environ or {})})
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as error:
                code = int(error.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    found = []
    for stream in (out, err):
        stream.flush()
        found.append(stream.buffer.getvalue().decode())
    return Told(code, *found)


def environment(config: Path, **more: str) -> dict[str, str]:
    """What a child process needs to run the program, kubectl and the plugin."""
    return {
        "KUBECONFIG": str(config),
        "PATH": f"{BIN}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "operator"),
        "HOME": str(config.parent),
        "LANG": "C.UTF-8",
        **more,
    }


@dataclass
class Site:
    """One namespace with a Rollout, its EdgeModel, its ModelRelease and the fleet, as the stage has them."""

    plane: ControlPlane
    namespace: str
    stage: Stage
    made: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, plane: ControlPlane, namespace: str, *, count: int = 6) -> "Site":
        """A fleet of two kinds of hardware whose first model is stable."""
        strategy: JsonObject = {"steps": [*STEPS], "stratifyBy": ["hardware"]}
        selector: JsonObject = {"matchLabels": {"fleet": namespace}}
        found = {}
        for place in range(count):
            labels = {"fleet": namespace, "hardware": "npu" if place < 2 else "cpu"}
            facts = NodeFacts(f"edge-{place}.{namespace}", labels, "amd64", 2**30)
            found[facts.name] = NodeView(facts, online=True)
        stage = Stage(rollout(strategy=strategy, nodeSelector=selector), model("1.0.0"), found)
        return cls(plane, namespace, stage.promoted_at_once())

    def release(self, version: str, *, seconds: float = 20) -> None:
        """A new version, and what came of it after so long."""
        self.stage.model = model(version, generation=2)
        self.stage.play(seconds)

    def publish(self) -> None:
        """Writes everything as operator and agents would have."""
        for name, view in self.stage.nodes.items():
            if name not in self.made:
                nodes.create_node(self.plane.admin, name, labels=dict(view.facts.labels))
                self.put(EDGE_NODES, name, {})
                self.made.add(name)
            nodes.set_ready(self.plane.admin, name, "True" if view.online else "Unknown")
            self.status(EDGE_NODES, name, self._agent(view))
        found = self.stage
        assert found.model is not None
        assert found.release is not None
        self.put(EDGE_MODELS, NAME, found.model.spec.to_json())
        generation = self.generation(EDGE_MODELS)
        self.status(EDGE_MODELS, NAME, {**found.model.status.to_json(), "observedGeneration": generation})
        self.put(MODEL_RELEASES, NAME, found.release.spec.to_json())
        self.put(ROLLOUTS, NAME, found.rollout.spec.to_json())
        self.publish_status()

    def publish_status(self) -> None:
        """Writes the Rollout's status, as seen at its generation."""
        body = {**self.stage.status.to_json(), "observedGeneration": self.generation(ROLLOUTS)}
        self.status(ROLLOUTS, NAME, body)

    def act(self) -> None:
        """The operator takes in the annotations and the pause that were written, plans, and writes its status."""
        stored = self.stored()
        metadata = self.stage.rollout.metadata.model_copy(update={"annotations": stored.metadata.annotations})
        spec = self.stage.rollout.spec.model_copy(update={"paused": stored.spec.paused})
        self.stage.rollout = self.stage.rollout.model_copy(update={"metadata": metadata, "spec": spec})
        self.stage.reconcile()
        self.publish_status()

    def stored(self) -> Rollout:
        """The Rollout as the server has it."""
        return Rollout.model_validate(self.plane.admin.get(self.path(ROLLOUTS, NAME)))

    def generation(self, resource: Resource) -> int:
        found = self.plane.admin.get(self.path(resource, NAME))
        return int(found["metadata"]["generation"])

    def path(self, resource: Resource, name: str = "", subresource: str = "") -> str:
        return resource.path(namespace=self.namespace, name=name, subresource=subresource)

    def path_of(self) -> str:
        """The Rollout's path."""
        return self.path(ROLLOUTS, NAME)

    def put(self, resource: Resource, name: str, spec: JsonObject) -> None:
        """Creates the object, or gives it this spec."""
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "labels": {"line": "a"}},
            "spec": spec,
        }
        try:
            self.plane.admin.create(self.path(resource), body)
        except ApiError as error:
            if error.status != 409:
                raise
            current = self.plane.admin.get(self.path(resource, name))
            version = current["metadata"]["resourceVersion"]
            metadata = {**current["metadata"], "resourceVersion": version}
            self.plane.admin.replace(self.path(resource, name), {**body, "metadata": metadata})

    def status(self, resource: Resource, name: str, status: Mapping[str, object]) -> None:
        """Replaces the object's status."""
        current = self.plane.admin.get(self.path(resource, name))
        self.plane.admin.replace(self.path(resource, name, "status"), {**current, "status": status})

    def annotate(self, key: str, value: str) -> None:
        patch = {"metadata": {"annotations": {f"edgecanary.dev/{key}": value}}}
        self.plane.admin.patch(self.path(ROLLOUTS, NAME), patch)

    def remove_nodes(self) -> None:
        for name in self.made:
            nodes.delete_node(self.plane.admin, name)

    def _agent(self, view: NodeView) -> JsonObject:
        """What the node's agent would have reported."""
        report = view.report or NodeModelStatus(namespace=self.namespace, name=NAME)
        entry = report.model_copy(update={"namespace": self.namespace})
        capabilities = {"architecture": "amd64", "memoryBytes": 2**30, "runtimes": ["ONNX"]}
        found = {
            "agentVersion": __version__,
            "heartbeatTime": "2026-01-05T08:00:00Z",
            "capabilities": capabilities,
            "models": [entry.to_json()],
        }
        return cast("JsonObject", found)


@contextlib.contextmanager
def site_on(plane: ControlPlane, namespace: str) -> Iterator[Site]:
    """A published site whose Nodes are removed in the end."""
    site = Site.of(plane, namespace)
    try:
        site.publish()
        yield site
    finally:
        plane.start()
        site.remove_nodes()


def bind(plane: ControlPlane, user: str, role: str, *, namespace: str | None = None) -> None:
    """Gives a user a ClusterRole, in one namespace or everywhere."""
    api = "/apis/rbac.authorization.k8s.io/v1"
    where = f"{api}/namespaces/{namespace}/rolebindings" if namespace else f"{api}/clusterrolebindings"
    binding = {
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    plane.admin.create(where, binding)
