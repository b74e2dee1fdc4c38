"""A test's own model on the shared fleet: publish, roll out, look, and leave no trace."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.artifact.revision import revision_digest
from edgelab.api import JsonObject
from edgelab.errors import ApiError
from edgelab.fleet import Fleet, Subject
from edgelab.modelzoo import VariantOf, bucket_files, edge_model, edge_model_spec
from edgelab.modelzoo.traffic import TrafficGenerator

NAME = "file-type"
REQUESTS_PER_SECOND = 5.0
STEPS = (
    {"name": "first", "nodes": 1, "bakeSeconds": 2},
    {"name": "all", "percent": 100, "bakeSeconds": 2},
)


@dataclass
class Scene:
    """One model in a namespace of its own, with traffic once the first version is served."""

    fleet: Fleet
    subject: Subject
    traffic: TrafficGenerator

    @property
    def nodes(self) -> set[str]:
        """All nodes."""
        return set(self.fleet.agents)

    def publish(self, model: str, *, fallback: str | None = None) -> str:
        """Upload a model of the zoo and apply it as an EdgeModel; its revision.

        With `fallback` the model is for nodes with the label hardware=vnni, and the fallback for the others.
        """
        return self.declare(model, fallback=fallback, upload=True)

    def declare(self, model: str, *, fallback: str | None = None, upload: bool = False) -> str:
        """Apply an EdgeModel whose files are in the bucket already, unless they are to be uploaded."""
        zoo = self.fleet.zoo
        variants = None
        if fallback is not None:
            variants = [
                VariantOf(model, zoo[model], {"hardware": "vnni"}),
                VariantOf(fallback, zoo[fallback]),
            ]
        for name in [model, *([fallback] if fallback else [])] if upload else []:
            self.fleet.upload(name, self.subject.namespace)
        spec = edge_model_spec(
            zoo[model],
            f"s3://{self.fleet.bucket}/{self.subject.namespace}",
            secret="model-bucket",
            variants=variants,
        )
        self.fleet.apply(edge_model(NAME, self.subject.namespace, spec))
        return revision_digest(EdgeModelSpec.model_validate(spec))

    def key(self, model: str) -> str:
        """Where in the bucket a model's file lies."""
        keys = bucket_files(self.fleet.zoo[model])
        return f"{self.subject.namespace}/{next(key for key in keys if key.endswith('.onnx'))}"

    def roll_out(
        self,
        *,
        strategy: JsonObject | None = None,
        health: JsonObject | None = None,
        metrics: Sequence[str] = ("accuracy", "errors"),
    ) -> None:
        """Apply the Rollout; `strategy` and `health` replace single fields."""
        gates: dict[str, JsonObject] = {
            "accuracy": {"preset": "Accuracy", "threshold": {"min": "0.8"}, "failureLimit": 1},
            "errors": {"preset": "ErrorRate", "threshold": {"max": "0.05"}},
        }
        spec: JsonObject = {
            "modelRef": {"name": NAME},
            "nodeSelector": {"matchLabels": {"edge": "true"}},
            "strategy": {
                "initial": "AllAtOnce",
                "stratifyBy": ["hardware"],
                "steps": list(STEPS),
                "quorumPercent": 100,
                **(strategy or {}),
            },
            "analysis": {
                "prometheus": {"url": self.fleet.prometheus.url, "timeoutSeconds": 2},
                "intervalSeconds": 1,
                "metrics": [{"name": name, "minSamples": 10, **gates[name]} for name in metrics],
            },
            "health": {"soakSeconds": 1, **(health or {})},
        }
        metadata = {"name": NAME, "namespace": self.subject.namespace}
        self.fleet.apply(
            {"apiVersion": "edgecanary.dev/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}
        )

    def begin(self, model: str = "fp32") -> str:
        """Roll a first version out to every node, and send it traffic until it is promoted; its revision."""
        revision = self.publish(model)
        self.roll_out()
        self.serve(revision)
        self.subject.promoted(revision)
        return revision

    def serve(self, revision: str) -> None:
        """Wait until every node runs the revision, and begin the traffic."""
        self.subject.wait(
            "every node runs the first version", lambda: self.subject.running(revision) == self.nodes
        )
        for name, agent in self.fleet.agents.items():
            self.traffic.add(name, agent.url)

    def everyone_answers_with(self, revision: str) -> bool:
        """Whether each agent, asked just now, answers with the revision."""
        return self.subject.answering(self.nodes) == dict.fromkeys(self.nodes, revision)

    def refused(self) -> dict[str, int]:
        """Requests that an agent refused or broke off, by kind; a late answer may be the machine's fault."""
        failed = self.traffic.report().failed_by_kind()
        return {kind: count for kind, count in failed.items() if kind != "timeout"}

    def withdraw(self) -> None:
        """Take the model from every node and delete all of it, as far as it was made."""
        admin, subject = self.fleet.control_plane.admin, self.subject
        for plural in ("rollouts", "edgemodels"):
            _delete(self.fleet, subject.path(plural))
        try:
            sequence = subject.release().sequence
        except ApiError:
            return
        empty = {"spec": {"stable": None, "canary": None, "sequence": sequence + 1}}
        admin.patch(subject.path("modelreleases"), empty)
        subject.wait("no node serves the model", lambda: not _served(subject))
        admin.delete(subject.path("modelreleases"))


@contextmanager
def scene_on(fleet: Fleet) -> Iterator[Scene]:
    """A scene in a fresh namespace; at the end the fleet is whole again and the model is gone."""
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    fleet.create_namespace(namespace)
    with fleet.traffic(f"{namespace}.{NAME}", requests_per_second=REQUESTS_PER_SECOND) as traffic:
        scene = Scene(fleet, Subject(fleet, namespace, NAME), traffic)
        yield scene
    fleet.mend()
    scene.withdraw()


def _served(subject: Subject) -> set[str]:
    return {node for node, report in subject.reports().items() if report.active is not None}


def _delete(fleet: Fleet, path: str) -> None:
    try:
        fleet.control_plane.admin.delete(path)
    except ApiError as error:
        if error.status != 404:
            raise
