"""What the chart renders, shown to a real API server: strict dry runs of single objects."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgelab.api import APPLY_PATCH, ApiClient, JsonObject

_PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Service": "services",
    "ConfigMap": "configmaps",
    "Pod": "pods",
    "Deployment": "deployments",
    "DaemonSet": "daemonsets",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "CustomResourceDefinition": "customresourcedefinitions",
}
_STRICT = "dryRun=All&fieldValidation=Strict&fieldManager=chart&force=true"


@dataclass
class Examiner:
    """Asks the API server about objects, each only once."""

    client: ApiClient
    seen: set[str] = field(default_factory=set)

    def examine(self, items: Iterable[JsonObject]) -> None:
        """Dry-runs each object that was not asked about before. Raises ApiError for one that is refused."""
        for item in items:
            key = json.dumps(item, sort_keys=True)
            if key not in self.seen:
                self.client.patch(f"{path(item)}?{_STRICT}", item, content_type=APPLY_PATCH)
                self.seen.add(key)


def path(item: JsonObject) -> str:
    """The API path of an object."""
    version, metadata = item["apiVersion"], item["metadata"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = metadata.get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{group}{place}/{_PLURALS[item['kind']]}/{metadata['name']}"


def one(items: Iterable[JsonObject], kind: str, name: str = "") -> JsonObject:
    """The only object of a kind, or the one of that name."""
    found = [item for item in items if item["kind"] == kind and name in ("", item["metadata"]["name"])]
    assert len(found) == 1, [item["metadata"]["name"] for item in found]
    return found[0]


def pod_of(workload: JsonObject, namespace: str) -> JsonObject:
    """The pod that a Deployment or a DaemonSet would make."""
    template = workload["spec"]["template"]
    head = {"name": f"{workload['metadata']['name']}-pod", "namespace": namespace}
    spec = {name: value for name, value in template["spec"].items() if name != "priorityClassName"}
    metadata = {**template["metadata"], **head}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def variables(workload: JsonObject) -> Mapping[str, str]:
    """The plain variables of the only container."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
