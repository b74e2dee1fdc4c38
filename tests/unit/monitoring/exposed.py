"""What operator and agents expose: every series' name and labels, out of the code that exposes them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from edgecanary.agent.credentials import CredentialSeries
from edgecanary.agent.installer import DownloadKind
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.push.metrics import PushMetrics
from edgecanary.agent.telemetry import (
    DriftReading,
    FeatureReading,
    Feedback,
    Identity,
    Outcome,
    Role,
    Shadowed,
    Telemetry,
)
from edgecanary.api.edgenode import ModelState
from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import NODES
from edgecanary.clients.validity import Credential, Validity
from edgecanary.controller.attendance import Attending, Roll
from edgecanary.controller.metrics import OperatorMetrics
from edgecanary.controller.series import Shown
from edgecanary.controller.sight import Sight
from edgecanary.controller.views import ObjectKey, read_rollout
from tests.unit.controller import objects

Labels = frozenset[str]

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARGET = frozenset({"job", "instance", "node", "pod"})
"""Labels that Prometheus or its configuration adds; `node` as docs/guides/operating.md says."""

OF_OTHERS: Mapping[str, Labels] = {
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
    "up": frozenset(),
}
"""What dashboards and alerts may name besides what these two expose."""


def labels_of(text: str) -> dict[str, Labels]:
    """The labels of each series' name in Prometheus's text format."""
    found: dict[str, Labels] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def operator_text() -> str:
    """An operator that has met everything."""
    metrics = OperatorMetrics()
    metrics.finished("rollout", "ok", 0.02)
    metrics.called("list", NODES, "ok")
    metrics.queried("ok")
    metrics.notified("taken")
    metrics.watch_restarted()
    metrics.set_load("rollout", waiting=2, working=1)
    metrics.set_overdue(NODES, 3.0)
    for kind in ("rollouts", "models"):
        metrics.set_reasons(kind, {"Ready": 1})
    key = ObjectKey("plant", "pump")
    sight = Sight(
        rollouts={key: read_rollout(objects.rollout("pump", 1, reason="Baking", status=rolling()))},
        expiries={key: NOW + timedelta(days=30)},
    )
    roll = Roll(
        agents=dict.fromkeys(Attending, 1),
        longest_silence=12.0,
        models=dict.fromkeys(ModelState, 1),
        pending={(key, False): 3.0},
    )
    metrics.show(Shown(NOW, sight, roll))
    return metrics.render().decode()


def rolling() -> JsonObject:
    """A Rollout's status in the middle of a step."""
    return {
        "stable": {"version": "2.3.0", "revision": objects.REVISION},
        "canary": {"version": "2.4.0", "revision": objects.REVISION},
        "step": {
            "index": 1,
            "name": "canary",
            "startTime": "2026-01-01T11:00:00Z",
            "bakeStartTime": "2026-01-01T11:05:00Z",
        },
        "waiting": {"reason": "Baking", "since": "2026-01-01T11:05:00Z", "endsWith": "time"},
        "nodes": {
            "targeted": 20,
            "incompatible": 2,
            "online": 18,
            "inStep": 10,
            "updated": 5,
            "failed": 1,
            "offline": 2,
            "pending": 3,
            "failures": {"probe": 1, "download": 2},
        },
        "analysis": {
            "metrics": [
                {"name": "errors", "verdict": "Pass"},
                {"name": "accuracy", "verdict": "Inconclusive", "noData": 4},
                {"name": "heat", "verdict": "Fail", "errors": 2},
            ]
        },
    }


class Drifting:
    """A model whose inputs are known."""

    def read(self) -> DriftReading:
        return DriftReading(200, (FeatureReading("confidence", 0.1, (("0.5", 3), ("+Inf", 1))),))


def agent_text() -> str:
    """An agent that has met everything."""
    telemetry = Telemetry(agent_version="1")
    identity = Identity(ModelKey("plant", "pump"), objects.REVISION, "2.4.0")
    telemetry.open(identity)
    telemetry.open_shadow(identity)
    telemetry.count_shadow(identity, Shadowed.AGREE)
    telemetry.count_request(identity, Outcome.OK, 0.01)
    telemetry.count_feedback(identity, Feedback.CORRECT)
    telemetry.set_role(identity, Role.ACTIVE)
    telemetry.set_memory(identity, 1)
    telemetry.set_drift(identity, Drifting())
    telemetry.count_refused(503)
    telemetry.set_sandbox(["Landlock"], [])
    telemetry.count_download(DownloadKind.FULL, 1)
    push = PushMetrics(telemetry.registry)
    push.count_failure()
    validity = dict.fromkeys(Credential, Validity(0, 1))
    telemetry.registry.register(CredentialSeries(lambda: validity))
    return telemetry.exposition().decode()


def catalog() -> dict[str, Labels]:
    """Every series that dashboards, alerts and runbooks may name, with its labels."""
    own = {**labels_of(operator_text()), **labels_of(agent_text()), **OF_OTHERS}
    return {name: labels | TARGET for name, labels in own.items()}
