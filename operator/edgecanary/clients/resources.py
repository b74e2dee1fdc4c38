"""The kinds of the API server that edgecanary reads and writes, and their paths."""

from dataclasses import dataclass
from urllib.parse import quote

from edgecanary.api import GROUP, VERSION


@dataclass(frozen=True)
class Resource:
    """One kind: `plural` as paths and RBAC rules spell it, `group` empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of the kind's objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, *, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a subresource; `namespace` None means all namespaces."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


EDGE_MODELS = Resource(GROUP, VERSION, "edgemodels", "EdgeModel")
ROLLOUTS = Resource(GROUP, VERSION, "rollouts", "Rollout")
MODEL_RELEASES = Resource(GROUP, VERSION, "modelreleases", "ModelRelease")
EDGE_NODES = Resource(GROUP, VERSION, "edgenodes", "EdgeNode")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
SECRETS = Resource("", "v1", "secrets", "Secret")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
