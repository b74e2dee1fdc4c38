"""The network of the cluster: a switch in the control plane's network, and a cable to each node.

Nothing of it is in the machine's own network, and no packet leaves it.
"""

from dataclasses import dataclass

from edgelab.cluster.space import Space
from edgelab.controlplane import SERVICE_ADDRESS

HUB_ADDRESS = "10.77.0.1"
"""The control plane's address, and every node's gateway."""

_SWITCH = "switch"
_NODE_INTERFACE = "eth0"


@dataclass(frozen=True)
class Addresses:
    """A node's addresses. `number` counts the nodes from 1."""

    number: int

    @property
    def node(self) -> str:
        """The node's own."""
        return f"10.77.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The subnet of its pods."""
        return f"10.77.{10 + self.number}.0/24"

    @property
    def cable(self) -> str:
        """The interface of its cable at the switch."""
        return f"cable{self.number}"


def make_switch(hub: Space) -> None:
    """Make the switch. The API server's Service address is the control plane's own: no proxy is needed.

    Raises:
        LabError: the kernel refused it.
    """
    for command in (
        "link set lo up",
        f"link add {_SWITCH} type bridge",
        f"address add {HUB_ADDRESS}/24 dev {_SWITCH}",
        f"address add {SERVICE_ADDRESS}/32 dev {_SWITCH}",
        f"link set {_SWITCH} up",
    ):
        hub.run("ip", *command.split())


def connect(hub: Space, node: Space, own: Addresses) -> None:
    """Put a cable between a node and the switch, and tell both the ways to the pods; errors as above."""
    for command in (
        f"link add {own.cable} type veth peer name {_NODE_INTERFACE} netns {node.pid}",
        f"link set {own.cable} master {_SWITCH}",
        f"link set {own.cable} up",
    ):
        hub.run("ip", *command.split())
    for command in (
        "link set lo up",
        f"address add {own.node}/24 dev {_NODE_INTERFACE}",
        f"link set {_NODE_INTERFACE} up",
        f"route add default via {HUB_ADDRESS}",
    ):
        node.run("ip", *command.split())
    hub.run("ip", *f"route add {own.pods} via {own.node}".split())


def add_routes(node: Space, others: list[Addresses]) -> None:
    """Tell a node the ways to the other nodes' pods; errors as above."""
    for other in others:
        node.run("ip", *f"route add {other.pods} via {other.node}".split())


def set_cable(hub: Space, own: Addresses, *, plugged: bool) -> None:
    """Plug a node's cable in, or pull it; errors as above."""
    hub.run("ip", "link", "set", own.cable, "up" if plugged else "down")
