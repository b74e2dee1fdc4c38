"""A fleet with everything that can be watched: gates, drift, a shadow, a signature, an agent that pushes."""

import contextlib
import http.client
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgecanary.analysis.drift import make_profile
from edgecanary.api.artifacts import ModelIO
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.artifact.revision import revision_digest
from edgecanary.artifact.signed import SignedModel, seal
from edgelab.api import APPLY_PATCH, JsonObject
from edgelab.fleet import Fleet, FleetSettings, Subject, two_classes
from edgelab.modelzoo import edge_model, edge_model_spec
from edgelab.modelzoo.manifests import model_io
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME
from edgelab.modelzoo.runtime import Model
from edgelab.modelzoo.traffic import TrafficGenerator
from edgelab.paths import ROOT
from edgelab.processes import Supervisor

NAMESPACE, NAME = "scan", "file-type"
ALERTS = tuple(sorted((ROOT / "charts/edgecanary/files/alerts").glob("*.yaml")))
PROFILED = 200
"""Files that the drift profile is made of."""

GATES: Sequence[JsonObject] = (
    {"name": "errors", "preset": "ErrorRate", "threshold": {"max": "0.05"}, "minSamples": 10},
    {
        "name": "accuracy",
        "preset": "Accuracy",
        "threshold": {"min": "0.8"},
        "failureLimit": 1,
        "minSamples": 10,
    },
    {"name": "latency", "preset": "LatencyP95", "threshold": {"max": "10"}, "minSamples": 10},
    {
        "name": "temperature",
        "query": 'max(device_temperature_celsius{node=~"{{ nodes }}"})',
        "threshold": {"max": "85"},
        "mode": "DryRun",
    },
)
"""The last one is about a metric that nobody has: it never gets a value."""


@dataclass
class Stage:
    """The fleet, its model and its traffic."""

    fleet: Fleet
    subject: Subject
    traffic: TrafficGenerator

    def publish(self, model: str) -> str:
        """Apply a model of the zoo with a profile and a signature; its revision."""
        self.fleet.upload(model)
        base = f"s3://{self.fleet.bucket}"
        spec = edge_model_spec(self.fleet.zoo[model], base, secret="model-bucket")
        body = self._profile(model)
        self.fleet.s3.put(self.fleet.bucket, f"{model}/profile.json", body)
        spec["profile"] = {
            "uri": f"{base}/{model}/profile.json",
            "sha256": sha256(body).hexdigest(),
            "sizeBytes": len(body),
        }
        known = EdgeModelSpec.model_validate(spec)
        spec["signature"] = _sign(known)
        self._apply("edgemodels", edge_model(NAME, NAMESPACE, spec))
        return revision_digest(known)

    def roll_out(self, *steps: JsonObject) -> None:
        """Apply the Rollout with these steps."""
        spec: JsonObject = {
            "modelRef": {"name": NAME},
            "nodeSelector": {"matchLabels": {"edge": "true"}},
            "strategy": {"initial": "AllAtOnce", "stratifyBy": ["hardware"], "steps": [*steps]},
            "analysis": {
                "prometheus": {"url": self.fleet.prometheus.url, "timeoutSeconds": 2},
                "intervalSeconds": 1,
                "metrics": [*GATES],
            },
            "health": {"soakSeconds": 1},
        }
        metadata = {"name": NAME, "namespace": NAMESPACE}
        body = {
            "apiVersion": "edgecanary.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": metadata,
            "spec": spec,
        }
        self._apply("rollouts", body)

    def begin(self, model: str, *steps: JsonObject) -> str:
        """A first version on every node, with traffic; its revision. Later ones take these steps."""
        revision = self.publish(model)
        self.roll_out(*steps)
        everyone = set(self.fleet.agents)
        self.subject.wait(
            "every node runs it", lambda: self.subject.running(revision) == everyone, seconds=300
        )
        for name, agent in self.fleet.agents.items():
            self.traffic.add(name, agent.url)
            _ask_for_nothing(agent.serving_port)
        self.subject.promoted(revision, seconds=300)
        return revision

    def _apply(self, plural: str, body: JsonObject) -> None:
        """Apply the object without kubectl, which reads all definitions for it."""
        path = f"{self.subject.path(plural)}?fieldManager=lab&force=true"
        self.fleet.control_plane.admin.patch(path, body, content_type=APPLY_PATCH)

    def _profile(self, model: str) -> bytes:
        """The reference of this model, from real files."""
        loaded = Model(self.fleet.zoo[model].model.path)
        files = np.stack([sample.features for sample in self.fleet.field.samples[:PROFILED]])
        scores = np.concatenate([loaded.run({INPUT_NAME: row[None]})[OUTPUT_NAME] for row in files])
        io = ModelIO.model_validate(model_io())
        profile = make_profile({INPUT_NAME: files}, {OUTPUT_NAME: scores}, io)
        return profile.model_dump_json(by_alias=True, exclude_none=True).encode()


@contextlib.contextmanager
def stage_on(supervisor: Supervisor, folder: Path, *, vnni: int, generic: int) -> Iterator[Stage]:
    """A fleet whose last node pushes its metrics; the others are scraped."""
    nodes = two_classes(vnni, generic)
    # Prometheus shows where its rules lie: a copy has the same place on every machine but for the folder's name.
    rules = folder / "alerts"
    rules.mkdir(parents=True)
    settings = FleetSettings(
        nodes=nodes,
        agent_flags=("--shadow-percent=50", "--retry-cap-seconds=2"),
        audit=False,
        pushing=frozenset({nodes[-1].name}),
        rules=[Path(shutil.copy(path, rules)) for path in ALERTS],
    )
    with Fleet(supervisor, folder, settings) as fleet:
        fleet.create_namespace(NAMESPACE)
        with fleet.traffic(f"{NAMESPACE}.{NAME}", requests_per_second=5.0) as traffic:
            yield Stage(fleet, Subject(fleet, NAMESPACE, NAME), traffic)


def _sign(spec: EdgeModelSpec) -> str:
    """A signature by a key that no node knows; without trust roots nobody asks."""
    now = datetime.now(UTC)
    envelope = seal(
        spec,
        SignedModel(namespace=NAMESPACE, name=NAME),
        sequence=int(now.timestamp()),
        issued=now,
        expires=now + timedelta(days=365),
    )
    return envelope.signed_by(Ed25519PrivateKey.generate()).to_text()


def _ask_for_nothing(port: int) -> None:
    """One request that no model sees."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/v2/models/nobody/infer", b"{}")
        connection.getresponse().read()
