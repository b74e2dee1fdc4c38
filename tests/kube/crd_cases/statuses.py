"""Statuses as the operator and the agents write them."""

from edgecanary.api.fields import JsonObject

STABLE = "a" * 64
CANARY = "b" * 64
_NOON = "2026-08-21T12:00:00Z"

ROLLING = "step 2/4 canary: errors at 0.004 of 0.02 allowed (412 samples on 3 nodes), bakes for 42 min more"

EDGE_MODEL_STATUS: JsonObject = {
    "observedGeneration": 1,
    "revision": CANARY,
    "version": "2.4.0",
    "variants": [
        {
            "name": "int8-vnni",
            "verdict": "Accepted",
            "reason": "Verified",
            "message": "1 file, size and SHA-256 as declared",
            "loadMilliseconds": 41,
            "latencyP95Milliseconds": 2,
            "peakMemoryBytes": 48234496,
        },
        {"name": "fp32", "verdict": "Unknown"},
    ],
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Accepted",
            "message": "2 variants and 32 golden cases are as declared",
            "lastTransitionTime": _NOON,
            "observedGeneration": 1,
        }
    ],
}
ROLLOUT_STATUS: JsonObject = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Progressing",
            "message": ROLLING,
            "lastTransitionTime": _NOON,
            "observedGeneration": 1,
        },
        {
            "type": "Reconciling",
            "status": "True",
            "reason": "Progressing",
            "message": ROLLING,
            "lastTransitionTime": "2026-08-21T12:00:00.250000Z",
        },
    ],
    "stable": {"revision": STABLE, "version": "2.3.1"},
    "canary": {"revision": CANARY, "version": "2.4.0"},
    "attempt": 1,
    "startTime": _NOON,
    "step": {
        "index": 1,
        "name": "canary",
        "startTime": _NOON,
        "bakeStartTime": "2026-08-21T12:00:30Z",
        "display": "2/4 canary",
    },
    "nodes": {
        "targeted": 12,
        "incompatible": 1,
        "online": 11,
        "inStep": 3,
        "updated": 3,
        "failed": 0,
        "offline": 1,
        "pending": 0,
        "display": "3/12",
    },
    "analysis": {
        "time": "2026-08-21T12:18:00Z",
        "display": "1/2 Pass",
        "metrics": [
            {
                "name": "errors",
                "verdict": "Pass",
                "reason": "Within",
                "message": "0.004 is within max 0.02 (412 samples on 3 nodes)",
                "value": "0.004",
                "baseline": "0.005",
                "samples": 412,
                "query": "sum(rate(edgecanary_requests_total[5m]))",
                "measurements": [
                    {"time": "2026-08-21T12:18:00Z", "outcome": "Within", "value": "0.004", "samples": 412}
                ],
            },
            {"name": "temperature", "verdict": "Inconclusive", "noData": 2},
        ],
    },
    "rejected": [
        {
            "revision": "c" * 64,
            "version": "2.3.2",
            "reason": "AnalysisFailed",
            "message": "accuracy: 0.71 is below min 0.9 (412 samples on 3 nodes)",
            "time": _NOON,
            "attempt": 1,
        }
    ],
    "history": [
        {
            "revision": "c" * 64,
            "version": "2.3.2",
            "outcome": "RolledBack",
            "reason": "AnalysisFailed",
            "attempt": 1,
            "startTime": _NOON,
            "endTime": _NOON,
        }
    ],
    "actions": {"promote": "2026-08-20"},
    "notified": ["0123456789abcdef" * 2],
}
