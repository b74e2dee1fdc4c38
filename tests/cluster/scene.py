"""A test's own model on the site: begin with a stable version, publish others, look."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.rollout import Rollout
from edgecanary.artifact.revision import revision_digest
from edgelab.api import JsonObject
from edgelab.fleet import Subject
from edgelab.modelzoo import edge_model, edge_model_spec
from edgelab.modelzoo.traffic import TrafficGenerator
from edgelab.site import Site

NAME = "file-type"
REQUESTS_PER_SECOND = 4.0
WAIT_SECONDS = 300.0
VALUES: JsonObject = {
    "operator": {},
    "agent": {
        # Applications outside of pods ask on the node's loopback interface.
        "profile": "k3s",
        "settings": {"downloadSpreadSeconds": 0, "retryCapSeconds": 2, "probeSandbox": "required"},
    },
}
FIRST_THEN_ALL = (
    {"name": "first", "nodes": 1, "bakeSeconds": 3},
    {"name": "all", "percent": 100, "bakeSeconds": 3},
)


@dataclass
class Scene:
    """One model in a namespace of its own; `stable` is the revision that every node begins with."""

    site: Site
    subject: Subject
    traffic: TrafficGenerator
    stable: str = ""

    @property
    def nodes(self) -> set[str]:
        """All nodes."""
        return set(self.site.agents)

    def publish(self, model: str) -> str:
        """Upload a model of the zoo and apply it as an EdgeModel; its revision."""
        self.site.upload(model, self.subject.namespace)
        place = f"s3://{self.site.bucket}/{self.subject.namespace}"
        spec = edge_model_spec(self.site.zoo[model], place, secret="model-bucket")
        self.site.apply(edge_model(NAME, self.subject.namespace, spec))
        return revision_digest(EdgeModelSpec.model_validate(spec))

    def roll_out(self, *, steps: tuple[JsonObject, ...] = FIRST_THEN_ALL, quorum: int = 100) -> None:
        """Apply the Rollout; the first version goes to every node at once."""
        spec: JsonObject = {
            "modelRef": {"name": NAME},
            "nodeSelector": {"matchLabels": {"edge": "true"}},
            "strategy": {"initial": "AllAtOnce", "steps": list(steps), "quorumPercent": quorum},
            "analysis": {
                "prometheus": {"url": self.site.prometheus.url, "timeoutSeconds": 5},
                "intervalSeconds": 1,
                "metrics": [
                    {
                        "name": "accuracy",
                        "preset": "Accuracy",
                        "threshold": {"min": "0.8"},
                        "failureLimit": 1,
                        "minSamples": 10,
                    }
                ],
            },
            "health": {"soakSeconds": 1},
        }
        metadata = {"name": NAME, "namespace": self.subject.namespace}
        self.site.apply(
            {"apiVersion": "edgecanary.dev/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}
        )

    def begin(self) -> None:
        """Bring a first version to every node, and send it traffic."""
        self.stable = self.publish("fp32")
        self.roll_out()
        self.everyone_runs(self.stable)
        for name, client in self.site.agents.items():
            self.traffic.add(name, client.url)
        self.subject.promoted(self.stable, seconds=WAIT_SECONDS)

    def everyone_runs(self, revision: str) -> None:
        """Wait until every node reports the revision as active and settled."""
        self.subject.wait(
            "every node runs it", lambda: self.subject.running(revision) == self.nodes, seconds=WAIT_SECONDS
        )

    def steps(self, revision: str) -> list[str]:
        """The steps that a revision was in so far, in order: a step that began anew is there twice."""
        begun: list[tuple[str, datetime]] = []
        for change in self.site.mirror.changes():
            found = change.found
            if not isinstance(found, Rollout) or found.metadata.namespace != self.subject.namespace:
                continue
            status = found.status
            if status.step and status.canary and status.canary.revision == revision:
                step = (status.step.name, status.step.start_time)
                if not begun or begun[-1] != step:
                    begun.append(step)
        return [name for name, _ in begun]

    def answers(self) -> dict[str, str]:
        """The revision that each node's agent answers with, asked just now on the node."""
        return self.subject.answering(self.nodes)


@contextmanager
def scene_on(site: Site) -> Iterator[Scene]:
    """A scene in a fresh namespace, with its first version; the namespace goes with it."""
    namespace = f"scene-{uuid.uuid4().hex[:8]}"
    site.create_namespace(namespace)
    subject = Subject(site, namespace, NAME)
    with site.traffic(f"{namespace}.{NAME}", requests_per_second=REQUESTS_PER_SECOND) as traffic:
        scene = Scene(site, subject, traffic)
        scene.begin()
        yield scene
    site.cluster.kubectl("delete", "namespace", namespace, "--wait=false")
