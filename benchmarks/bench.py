"""A model on a fleet, as the benchmarks roll it out: no gates until they are asked for."""

from dataclasses import dataclass

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.artifact.revision import revision_digest
from edgelab.api import JsonObject
from edgelab.fleet import Fleet, Subject
from edgelab.modelzoo import edge_model, edge_model_spec

NAMESPACE, NAME = "bench", "file-type"
KEYS = "model-bucket"
WAIT_SECONDS = 900.0
STEPS = (
    {"name": "tenth", "percent": 10},
    {"name": "third", "percent": 30},
    {"name": "two-thirds", "percent": 60},
)
"""All nodes share this machine: in steps, so that not all probe a model at the same time."""


@dataclass(frozen=True)
class Bench:
    """The model and its Rollout on a fleet."""

    fleet: Fleet
    subject: Subject

    @property
    def nodes(self) -> set[str]:
        """All nodes."""
        return set(self.fleet.agents)

    def publish(self, model: str) -> str:
        """Upload a model of the zoo and apply its EdgeModel; its revision."""
        self.fleet.upload(model)
        spec = edge_model_spec(self.fleet.zoo[model], f"s3://{self.fleet.bucket}", secret=KEYS)
        self.fleet.apply(edge_model(NAME, NAMESPACE, spec))
        return revision_digest(EdgeModelSpec.model_validate(spec))

    def roll_out(self, *, hold_last: bool = False, analysis: JsonObject | None = None) -> None:
        """Apply the Rollout; with `hold_last` the last step waits for a person."""
        last = {"name": "all", "percent": 100, "approval": "Manual" if hold_last else "Automatic"}
        spec: JsonObject = {
            "modelRef": {"name": NAME},
            "nodeSelector": {"matchLabels": {"edge": "true"}},
            "strategy": {
                "steps": [{**step, "bakeSeconds": 0} for step in (*STEPS, last)],
                "quorumPercent": 100,
            },
            "health": {"soakSeconds": 1},
        }
        if analysis is not None:
            spec["analysis"] = analysis
        metadata = {"name": NAME, "namespace": NAMESPACE}
        self.fleet.apply(
            {"apiVersion": "edgecanary.dev/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}
        )

    def everybody_runs(self, revision: str) -> None:
        """Wait until every node runs the revision."""
        self.subject.wait(
            "every node runs it",
            lambda: self.subject.running(revision) == self.nodes,
            unless_rejected=revision,
            seconds=WAIT_SECONDS,
        )


def bench_on(fleet: Fleet) -> Bench:
    """The model's place on a fleet that was just started."""
    fleet.create_namespace(NAMESPACE)
    return Bench(fleet, Subject(fleet, NAMESPACE, NAME))
