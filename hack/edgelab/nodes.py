"""Node objects, and what the kubelet and the node lifecycle controller would say of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from edgelab.api import STRATEGIC_PATCH, ApiClient, JsonObject

Readiness = Literal["True", "False", "Unknown"]

_REASONS: Mapping[Readiness, tuple[str, str]] = {
    "True": ("KubeletReady", "kubelet is posting ready status"),
    "False": ("KubeletNotReady", "the container runtime is down"),
    "Unknown": ("NodeStatusUnknown", "Kubelet stopped posting node status."),
}


def create_node(
    api: ApiClient, name: str, *, labels: Mapping[str, str] | None = None, ready: Readiness = "True"
) -> JsonObject:
    """Create a Node and set its Ready condition.

    Raises:
        ApiError: there is a node of this name, or the name or a label is not valid.
    """
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
    }
    api.create("/api/v1/nodes", node)
    return set_ready(api, name, ready)


def set_ready(api: ApiClient, name: str, ready: Readiness) -> JsonObject:
    """Set the Ready condition: True as the kubelet does, Unknown as after 40 s of its silence.

    Raises:
        ApiError: there is no such node.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reason, message = _REASONS[ready]
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    patch = {"status": {"conditions": [condition]}}
    return api.patch(f"/api/v1/nodes/{name}/status", patch, content_type=STRATEGIC_PATCH)


def set_labels(api: ApiClient, name: str, labels: Mapping[str, str | None]) -> JsonObject:
    """Set labels; a label whose value is None goes away.

    Raises:
        ApiError: there is no such node.
    """
    return api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": dict(labels)}})


def delete_node(api: ApiClient, name: str) -> None:
    """Delete a Node.

    Raises:
        ApiError: there is no such node.
    """
    api.delete(f"/api/v1/nodes/{name}")
