"""What a site needs of a cluster: our own kind and Docker's kind give the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edgelab.api import ApiClient
from edgelab.fleet.layout import NodePlan
from edgelab.place import Place


class RunningNode(Protocol):
    """A node with a kubelet and a container runtime that can be cut off and killed."""

    def pull_cable(self) -> None:
        """Cut the node off from everybody else."""

    def plug_cable(self) -> None:
        """Undo `pull_cable`."""

    def kill_kubelet(self) -> None:
        """Kill the kubelet with signal 9."""

    def kill_runtime(self) -> None:
        """Kill the container runtime with signal 9."""

    def start(self) -> None:
        """Start what does not run, as the node's service manager would."""

    def serving_port(self) -> int:
        """A loopback port here that stands for port 9010 of the node's own loopback interface."""


class AnyCluster(Protocol):
    """A cluster that runs."""

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""

    @property
    def kubeconfig(self) -> Path:
        """The same for programs."""

    @property
    def place(self) -> Place:
        """Where servers run that nodes and pods are to reach."""

    @property
    def plans(self) -> Mapping[str, NodePlan]:
        """The worker nodes by name."""

    @property
    def nodes(self) -> Mapping[str, RunningNode]:
        """The same nodes, to be broken."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; raises KubectlError when it fails."""

    def publish(self, name: str, port: int) -> None:
        """Make a server's port in `place` answer at the same port of the loopback interface here."""
