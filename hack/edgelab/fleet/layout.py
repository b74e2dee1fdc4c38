"""Which nodes a fleet has, and their Node objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgelab.api import STRATEGIC_PATCH, ApiClient
from edgelab.nodes import create_node

MEMORY = "2Gi"
ARCHITECTURE = "amd64"


@dataclass(frozen=True)
class NodePlan:
    """A node: its name and labels."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def hardware(self) -> str:
        """Its hardware class, empty when it has none."""
        return self.labels.get("hardware", "")


def two_classes(vnni: int, generic: int) -> tuple[NodePlan, ...]:
    """Nodes `edge-01` and on: the first `vnni` have int8 instructions, the other `generic` ones have not."""
    classes = ["vnni"] * vnni + ["generic"] * generic
    return tuple(
        NodePlan(f"edge-{number:02}", {"edge": "true", "hardware": hardware})
        for number, hardware in enumerate(classes, start=1)
    )


def create_nodes(api: ApiClient, plans: Iterable[NodePlan]) -> None:
    """Create the Node objects, Ready, with the memory and architecture that a kubelet would report.

    Raises:
        ApiError: one of them exists, or a name or label is not valid.
    """
    for plan in plans:
        create_node(api, plan.name, labels=plan.labels)
        status = {
            "capacity": {"memory": MEMORY, "cpu": "1"},
            "allocatable": {"memory": MEMORY, "cpu": "1"},
            "nodeInfo": {"architecture": ARCHITECTURE, "operatingSystem": "linux"},
        }
        api.patch(f"/api/v1/nodes/{plan.name}/status", {"status": status}, content_type=STRATEGIC_PATCH)
