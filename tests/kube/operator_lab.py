"""An operator process on the lab's control plane, and a fleet that is played by hand.

Each lab has a namespace of its own, which is also its system namespace; its Nodes carry a label that only its
own Rollouts select. The fleet's answers are written as agents write them, by the rule that agents follow.
"""

import base64
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edgecanary.api.artifacts import Format
from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, EVENTS, MODEL_RELEASES, ROLLOUTS, Resource
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.eligibility import NodeFacts
from edgelab import nodes
from edgelab.api import ApiClient
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.modelzoo import ZooModel, bucket_files, edge_model_spec
from edgelab.paths import ROOT
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor
from edgelab.s3 import S3Server

OPERATOR = "system:serviceaccount:edgecanary-system:edgecanary-operator"
DEADLINE = 60.0
SECRET = "model-bucket"


def until(what: str, condition: Callable[[], object], *, seconds: float = DEADLINE) -> None:
    """Waits until the condition holds; a server that is away counts as not yet."""
    end = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < end:
        try:
            seen = condition()
        except (ApiError, OSError) as error:
            seen = error
        else:
            if seen:
                return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {seen!r}")


@dataclass
class OperatorLab:
    """One namespace with an operator and a fleet."""

    control_plane: ControlPlane
    processes: Supervisor
    namespace: str
    metrics_port: int = field(default_factory=free_port)
    label: str = field(default_factory=lambda: f"lab-{uuid.uuid4().hex[:12]}")
    operator: Process | None = None
    system: str = ""
    """The system namespace; the lab's own when it is empty."""
    name: str = "operator"
    """Of the process and its log."""

    @property
    def api(self) -> ApiClient:
        return self.control_plane.admin

    def start(
        self, *flags: str, user: str = OPERATOR, ready: bool = True, everywhere: bool = False
    ) -> Process:
        """Starts the operator, or starts it again; `flags` win over the usual ones."""
        command: list[str | Path] = [sys.executable, "-m", "edgecanary", "operator"]
        command += ["--kubeconfig", self.control_plane.kubeconfig(user, ())]
        command += ["--system-namespace", self.system or self.namespace]
        command += [] if everywhere else ["--namespace", self.namespace]
        command += ["--metrics-address", f"127.0.0.1:{self.metrics_port}", *flags]
        self.operator = self.processes.start(self.name, command, env={"PYTHONPATH": str(ROOT / "operator")})
        if ready:
            self.operator.wait_ready(lambda: self.probe("/readyz")[0] == 200, timeout=DEADLINE)
        return self.operator

    @property
    def process(self) -> Process:
        assert self.operator is not None
        return self.operator

    def stop(self) -> int:
        return self.process.stop(grace=30)

    def log(self) -> str:
        """What the operator has written so far, all starts together."""
        return self.process.log_path.read_text()

    def probe(self, path: str) -> tuple[int, str]:
        """What the operator answers over HTTP; 0 when it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=20) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """The value of one series, spelt as in the text format; 0 when it is not there."""
        lines = (line.rpartition(" ") for line in self.probe("/metrics")[1].splitlines())
        return next((float(value) for series, _, value in lines if series == name), 0.0)

    def path(self, resource: Resource, name: str = "") -> str:
        own = self.system if resource == EDGE_NODES and self.system else self.namespace
        return resource.path(namespace=own, name=name)

    def get(self, resource: Resource, name: str = "pump") -> JsonObject:
        return self.api.get(self.path(resource, name))

    def find(self, resource: Resource, name: str = "pump") -> JsonObject | None:
        try:
            return self.get(resource, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, resource: Resource, spec: Mapping[str, object], name: str = "pump") -> JsonObject:
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        return self.api.create(self.path(resource), body)

    def change(self, resource: Resource, patch: Mapping[str, object], name: str = "pump") -> JsonObject:
        return self.api.patch(self.path(resource, name), patch)

    def annotate(self, key: str, value: str, name: str = "pump") -> None:
        self.change(ROLLOUTS, {"metadata": {"annotations": {f"edgecanary.dev/{key}": value}}}, name)

    def secret(self, data: Mapping[str, str], name: str = SECRET) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.api.create(
            f"/api/v1/namespaces/{self.namespace}/secrets", {"metadata": {"name": name}, "data": encoded}
        )

    def upload(self, s3: S3Server, bucket: str, model: ZooModel) -> JsonObject:
        """Puts the model's files into the bucket; the EdgeModel's spec."""
        for key, file in bucket_files(model).items():
            s3.put(bucket, key, file.read_bytes())
        return cast("JsonObject", edge_model_spec(model, f"s3://{bucket}", secret=SECRET))

    def rollout_spec(self, *steps: JsonObject, **more: object) -> JsonObject:
        """A Rollout of the EdgeModel `pump` to this lab's nodes, by default in two quick steps."""
        usual: list[JsonObject] = [
            {"name": "one", "nodes": 1, "bakeSeconds": 0},
            {"name": "all", "percent": 100, "bakeSeconds": 0},
        ]
        selector: JsonObject = {"matchLabels": {"lab": self.label}}
        spec = {
            "modelRef": {"name": "pump"},
            "nodeSelector": selector,
            "strategy": {"steps": [*steps] or usual},
        }
        return cast("JsonObject", {**spec, **more})

    def add_nodes(self, *names: str) -> None:
        for name in names:
            nodes.create_node(self.api, self.node(name), labels={"lab": self.label})

    def node(self, name: str) -> str:
        return f"{name}.{self.namespace}"

    def remove_nodes(self) -> None:
        for body in self.api.get(f"/api/v1/nodes?labelSelector=lab={self.label}")["items"]:
            nodes.delete_node(self.api, body["metadata"]["name"])

    def ready(self, resource: Resource, name: str = "pump") -> tuple[str, str]:
        """Status and reason of the Ready condition; empty before there is one."""
        condition = self.condition(resource, "Ready", name)
        return (str(condition["status"]), str(condition["reason"])) if condition else ("", "")

    def condition(self, resource: Resource, kind: str, name: str = "pump") -> JsonObject | None:
        status = cast("JsonObject", self.get(resource, name).get("status") or {})
        conditions = cast("list[JsonObject]", status.get("conditions") or [])
        return next((condition for condition in conditions if condition["type"] == kind), None)

    def message(self, resource: Resource, name: str = "pump") -> str:
        return str((self.condition(resource, "Ready", name) or {}).get("message"))

    def until_ready(self, resource: Resource, status: str, reason: str, name: str = "pump") -> None:
        until(f"Ready {status} ({reason})", lambda: self.ready(resource, name) == (status, reason))

    def events(self, reason: str | None = None) -> list[JsonObject]:
        found = self.api.get(self.path(EVENTS))["items"]
        return [event for event in found if reason in (None, event["reason"])]

    def release(self, name: str = "pump") -> ModelRelease:
        return ModelRelease.model_validate(self.get(MODEL_RELEASES, name))

    def writes(self) -> float:
        """How many writes the operator has made since it started."""
        text = self.probe("/metrics")[1]
        lines = [
            line for line in text.splitlines() if line.startswith("edgecanary_operator_api_calls_total{")
        ]
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if any(f'verb="{v}"' in line for v in WRITES)
        )


WRITES = ("create", "update", "patch")


@dataclass
class Fleet:
    """Agents played by hand: each reads the release and reports what it would have come to."""

    lab: OperatorLab
    names: Sequence[str]

    def obey(self, *, fails: Sequence[str] = (), probe: Mapping[str, int] | None = None) -> None:
        """Every node takes what the release assigns to it; those in `fails` go back and say so."""
        release = self.lab.release()
        for name in self.names:
            self.report(name, release, failed=name in fails, probe=probe)

    def report(
        self,
        name: str,
        release: ModelRelease,
        *,
        failed: bool = False,
        probe: Mapping[str, int] | None = None,
    ) -> None:
        labels = {"lab": self.lab.label, "kubernetes.io/hostname": self.lab.node(name)}
        facts = NodeFacts(self.lab.node(name), labels, "amd64", 2**33, runtimes=frozenset({Format.ONNX}))
        assignment = assign(release.spec, facts)
        revision = assignment.revision
        canary = release.spec.canary
        stable = release.spec.stable.revision if release.spec.stable else None
        failed = failed and assignment.role is Role.CANARY
        entry: dict[str, object] = {
            "namespace": self.lab.namespace,
            "name": release.spec.model,
            "desired": revision,
            "active": stable if failed else revision,
            "state": "Reverted" if failed else "Active" if revision else "Withdrawn",
            "result": "ProbeFailed" if failed else "Succeeded" if revision else "None",
            "message": "the model did not load" if failed else "",
            "attempt": canary.attempt if canary else 0,
            "sequence": release.spec.sequence,
        }
        if probe is not None and assignment.variant is not None:
            entry["probe"] = {"variant": assignment.variant.name, **probe}
        self.write(name, [{key: value for key, value in entry.items() if value is not None}])

    def write(self, name: str, models: Sequence[Mapping[str, object]]) -> None:
        path = self.lab.path(EDGE_NODES, self.lab.node(name))
        if self.lab.find(EDGE_NODES, self.lab.node(name)) is None:
            self.lab.create(EDGE_NODES, {}, self.lab.node(name))
        capabilities = {"architecture": "amd64", "memoryBytes": 2**33, "runtimes": ["ONNX"]}
        self.lab.api.patch(f"{path}/status", {"status": {"capabilities": capabilities, "models": [*models]}})

    def obey_until(self, reason: str, *, fails: Sequence[str] = (), seconds: float = DEADLINE) -> None:
        """The fleet answers each release until the Rollout's Ready condition has the reason."""

        def answered() -> bool:
            if self.lab.find(MODEL_RELEASES) is not None:
                self.obey(fails=fails)
            return self.lab.ready(ROLLOUTS)[1] == reason

        until(f"Rollout {reason}", answered, seconds=seconds)


def model_is_verified(lab: OperatorLab) -> None:
    lab.until_ready(EDGE_MODELS, "True", "Verified")
