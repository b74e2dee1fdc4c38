"""Objects as the API server spells them, for tests of the cache."""

from edgecanary.api.fields import JsonObject

REVISION = "ab" * 32


def node(
    name: str,
    version: int,
    *,
    labels: dict[str, str] | None = None,
    ready: bool = True,
    memory: str = "2097152Ki",
    uid: str = "",
) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version),
            "labels": {**(labels or {})},
        },
        "status": {
            "capacity": {"cpu": "4", "memory": memory},
            "conditions": [
                {
                    "type": "MemoryPressure",
                    "status": "False",
                    "lastHeartbeatTime": f"2026-01-01T00:00:{version % 60:02}Z",
                },
                {"type": "Ready", "status": "True" if ready else "Unknown"},
            ],
            "nodeInfo": {"architecture": "arm64", "kubeletVersion": "v1.37.2"},
            "images": [{"names": ["registry/large"], "sizeBytes": 1}],
        },
    }


def edge_node(
    name: str,
    version: int,
    *,
    models: list[JsonObject] | None = None,
    heartbeat: str = "2026-01-01T00:00:00Z",
    memory: int = 2**31,
    namespace: str = "edgecanary-system",
    node_uid: str = "",
) -> JsonObject:
    return {
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)},
        "status": {
            "agentVersion": "0.1.0",
            "heartbeatTime": heartbeat,
            "nodeUID": node_uid,
            "capabilities": {"architecture": "amd64", "memoryBytes": memory, "runtimes": ["ONNX"]},
            "models": [*(models or [])],
        },
    }


def report(name: str = "pump", *, state: str = "Active", probe: JsonObject | None = None) -> JsonObject:
    found: JsonObject = {
        "namespace": "plant",
        "name": name,
        "state": state,
        "active": REVISION,
        "desired": REVISION,
    }
    return {**found, "probe": probe} if probe else found


def probe(*, load: int = 10, p95: int = 5, peak: int = 1000, variant: str = "fp32") -> JsonObject:
    return {
        "variant": variant,
        "loadMilliseconds": load,
        "latencyP95Milliseconds": p95,
        "peakMemoryBytes": peak,
    }


def rollout(
    name: str,
    version: int,
    *,
    model: str = "pump",
    selector: dict[str, str] | None = None,
    reason: str = "",
    status: JsonObject | None = None,
) -> JsonObject:
    conditions: list[JsonObject] = [{"type": "Ready", "status": "True", "reason": reason}] if reason else []
    return {
        "metadata": {"name": name, "namespace": "plant", "resourceVersion": str(version)},
        "spec": {"modelRef": {"name": model}, "nodeSelector": {"matchLabels": {**(selector or {})}}},
        "status": {**(status or {}), "conditions": [*conditions]},
    }


def plain(name: str, version: int) -> JsonObject:
    return {"metadata": {"name": name, "namespace": "plant", "resourceVersion": str(version)}}
