"""Rollouts with a status, as an operator left them, for what explains them."""

from datetime import UTC, datetime
from typing import cast

from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
STABLE = "a" * 64
CANARY = "b" * 64
QUERY = 'sum(rate(edgecanary_requests_total{outcome="error"}[1h])) / sum(rate(edgecanary_requests_total[1h]))'

FAILED_METRIC: JsonObject = {
    "name": "errors",
    "verdict": "Fail",
    "reason": "RegressionFound",
    "message": "1.9 times as many errors as on stable nodes",
    "value": "0.051",
    "baseline": "0.0268",
    "samples": 12400,
    "method": "NegativeBinomial",
    "limit": "evidence 20",
    "evidence": {
        "value": "34.2",
        "limit": "20",
        "exposure": "18.1",
        "exposureNeeded": "33.3",
        "detectableRatio": "2.6",
        "canaryNodes": 5,
        "controlNodes": 95,
    },
    "worstNodes": [
        {"name": "edge-07", "bad": "212", "expected": "64.1", "total": "2480"},
        {"name": "edge-31", "bad": "160", "expected": "70", "total": "2511"},
        {"name": "edge-88", "bad": "131", "expected": "66.3", "total": "2390"},
    ],
    "since": "2026-01-05T11:58:00Z",
    "query": QUERY,
    "link": "http://prometheus:9090/graph?g0.expr=sum",
}
"""An ErrorRate that was compared and failed."""

TEMPERATURE: JsonObject = {
    "name": "temperature",
    "verdict": "Inconclusive",
    "reason": "NoData",
    "message": "Prometheus has no data for the query yet",
}


def condition(kind: str, status: str, reason: str, message: str, since: str) -> JsonObject:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def rollout(status: JsonObject, *, generation: int = 4, **spec: object) -> Rollout:
    """A Rollout of pump-anomaly to 100 nodes with two gates, in that status."""
    usual: JsonObject = {
        "modelRef": {"name": "pump-anomaly"},
        "strategy": {
            "stepDeadlineSeconds": 43_200,
            "steps": [
                {"name": "canary", "percent": 5, "bakeSeconds": 7200},
                {"name": "quarter", "percent": 25, "bakeSeconds": 7200, "approval": "Manual"},
                {"name": "all", "percent": 100, "bakeSeconds": 3600},
            ],
        },
        "analysis": {
            "prometheus": {"url": "http://prometheus:9090"},
            "metrics": [
                {"name": "errors", "preset": "ErrorRate", "comparison": {}},
                {"name": "temperature", "query": "max(t)", "threshold": {"max": "85"}, "mode": "DryRun"},
            ],
        },
    }
    metadata = {
        "name": "pump-anomaly",
        "namespace": "plant",
        "uid": "u-1",
        "generation": generation,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return Rollout.model_validate({"metadata": metadata, "spec": {**usual, **spec}, "status": status})


def in_step(ready: JsonObject, **more: object) -> JsonObject:
    """The status of a canary in its first step."""
    found = {
        "observedGeneration": 4,
        "conditions": [ready],
        "stable": {"revision": STABLE, "version": "2.3.0"},
        "canary": {"revision": CANARY, "version": "2.4.0"},
        "attempt": 1,
        "step": {
            "index": 0,
            "name": "canary",
            "display": "1/3 canary",
            "startTime": "2026-01-05T10:50:00Z",
            "bakeStartTime": "2026-01-05T11:00:00Z",
        },
        "nodes": {"targeted": 100, "online": 97, "inStep": 5, "updated": 5, "offline": 3},
        **more,
    }
    return cast("JsonObject", found)


def baking() -> Rollout:
    """Bakes for an hour, with an hour to go."""
    ready = condition(
        "Ready", "Unknown", "Baking", "step 1/3 canary: 5 of 5 nodes updated", "2026-01-05T10:50:00Z"
    )
    waiting = {
        "reason": "Baking",
        "since": "2026-01-05T11:00:00Z",
        "until": "2026-01-05T13:00:00Z",
        "endsWith": "the end of the bake, or edgecanary.dev/promote",
    }
    undecided = {
        **FAILED_METRIC,
        "verdict": "Inconclusive",
        "reason": "ExposureTooSmall",
        "message": "needs 412 more requests, about 3 h; a 2.6x increase would be found now",
        "value": "0.0271",
        "evidence": {**cast("JsonObject", FAILED_METRIC["evidence"]), "value": "1.3"},
        "worstNodes": [],
    }
    analysis = {"time": "2026-01-05T11:59:30Z", "metrics": [undecided, TEMPERATURE]}
    return rollout(in_step(ready, waiting=waiting, analysis=analysis))


def rolled_back() -> Rollout:
    """Taken back two minutes ago because of its errors."""
    message = f"2.4.0 ({CANARY[:12]}) is rejected: errors: 0.051; the fleet runs 2.3.0"
    ready = condition("Ready", "False", "RolledBack", message, "2026-01-05T11:58:00Z")
    rejected = {
        "revision": CANARY,
        "version": "2.4.0",
        "reason": "AnalysisFailed",
        "message": "step 1/3 canary: errors: 0.051, limit evidence 20",
        "time": "2026-01-05T11:58:00Z",
        "attempt": 2,
    }
    older = {**rejected, "revision": "c" * 64, "version": "2.2.9", "time": "2026-01-04T11:58:00Z"}
    waiting = {
        "reason": "RolledBack",
        "since": "2026-01-05T11:58:00Z",
        "endsWith": "a new revision, or edgecanary.dev/retry",
    }
    status = {
        "observedGeneration": 4,
        "conditions": [ready],
        "stable": {"revision": STABLE, "version": "2.3.0"},
        "nodes": {"targeted": 100, "online": 97, "updated": 95, "offline": 3},
        "waiting": waiting,
        "rejected": [older, rejected],
        "analysis": {"time": "2026-01-05T11:58:00Z", "metrics": [FAILED_METRIC, TEMPERATURE]},
    }
    return rollout(cast("JsonObject", status))


def report(**fields: object) -> NodeModelStatus:
    """What a node's agent says of pump-anomaly."""
    return NodeModelStatus.model_validate({"namespace": "plant", "name": "pump-anomaly", **fields})
