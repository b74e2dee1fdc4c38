"""The whole cluster: a control plane, and real nodes."""

import os
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgelab import tools
from edgelab.api import ApiClient
from edgelab.cluster.carrier import carry
from edgelab.cluster.controllers import start_controllers
from edgelab.cluster.machine import why_not
from edgelab.cluster.network import HUB_ADDRESS, add_routes, make_switch
from edgelab.cluster.node import RealNode
from edgelab.cluster.pause import write_pause_image
from edgelab.cluster.space import Space, network_space
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError, LabError
from edgelab.fleet.layout import NodePlan
from edgelab.fleet.waiting import wait_for
from edgelab.place import Place
from edgelab.processes import Process, Supervisor

_READY_SECONDS = 180.0


@dataclass(frozen=True)
class ClusterSettings:
    """What the cluster consists of.

    Attributes:
        nodes: names and labels.
        images: archives of the images that every node has.
        audit: whether the API server keeps an audit log.
    """

    nodes: tuple[NodePlan, ...]
    images: Sequence[Path] = ()
    audit: bool = False


class Cluster:
    """A Kubernetes cluster. Use it as a context manager; entering it starts everything.

    Args:
        supervisor: runs the processes; what the cluster leaves goes with it.
        data_dir: folder for all data, made when needed; removed when the supervisor ends.
        settings: what it consists of.

    Raises:
        LabError: this machine cannot have one; the message says why.
    """

    def __init__(self, supervisor: Supervisor, data_dir: Path, settings: ClusterSettings) -> None:
        if reasons := why_not():
            raise LabError("this machine cannot have a real node: " + "; ".join(reasons))
        data_dir.mkdir(parents=True, exist_ok=True)
        supervisor.leave_no_folder(data_dir)
        self.data_dir = data_dir
        self.settings = settings
        self.group = f"edgelab-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        """The control group of everything that runs on the nodes."""
        self._supervisor = supervisor
        self.hub: Space = network_space(supervisor, "hub")
        """The control plane's network, with the switch."""
        make_switch(self.hub)
        self.place = Place(self.hub.enter, "0.0.0.0", HUB_ADDRESS)  # noqa: S104 (a network of its own)
        """Where servers that the nodes are to reach run."""
        arguments = (
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self.control_plane = ControlPlane(
            supervisor,
            data_dir / "control-plane",
            audit=settings.audit,
            api_server_args=arguments,
            place=self.place,
        )
        self.nodes: dict[str, RealNode] = {}
        self._controllers: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """How the administrator reaches it from this machine."""
        return self.control_plane.kubeconfig()

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""
        return self.control_plane.admin

    @property
    def plans(self) -> dict[str, NodePlan]:
        """The nodes' names and labels."""
        return {plan.name: plan for plan in self.settings.nodes}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; its standard output.

        Raises:
            KubectlError: its exit code was not 0.
        """
        return self.control_plane.kubectl(*arguments, stdin=stdin)

    def publish(self, name: str, port: int) -> None:
        """Make a server's port in `place` answer at the same port of the loopback interface here."""
        carry(self._supervisor, name, self.hub, {port: port})

    def is_ready(self, node: str) -> bool:
        """Whether the Node's condition Ready is True, asked just now."""
        try:
            found = self.control_plane.admin.get(f"/api/v1/nodes/{node}")
        except ApiError:
            return False
        conditions = found.get("status", {}).get("conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    def wait_ready(self, nodes: Sequence[str] = ()) -> None:
        """Wait until nodes, or all, are Ready.

        Raises:
            NotReachedError: one is not; the logs say why.
        """
        wanted = nodes or list(self.nodes)
        wait_for(
            f"nodes {', '.join(wanted)} are Ready",
            lambda: all(self.is_ready(name) for name in wanted),
            got=lambda: self.control_plane.kubectl("get", "nodes", "-o", "wide"),
            seconds=_READY_SECONDS,
        )

    def stop(self) -> None:
        """Stop everything. The supervisor's end removes what is left on the disk."""
        for node in self.nodes.values():
            node.stop()
        for process in self._controllers:
            process.stop()
        self.control_plane.stop()

    def _start(self) -> None:
        _get_programs()
        carry(self._supervisor, "control-plane-ports", self.hub, self.control_plane.forwards)
        with ThreadPoolExecutor(max_workers=len(self.settings.nodes) + 1) as pool:
            starting = pool.submit(self.control_plane.start)
            self._make_nodes()
            self._give_images()
            starting.result()
            self._controllers = start_controllers(self._supervisor, self.control_plane, self.hub.enter)
            for started in [pool.submit(node.start_runtime) for node in self.nodes.values()]:
                started.result()
        for node in self.nodes.values():
            node.start_kubelet()
        self.wait_ready()

    def _give_images(self) -> None:
        """Import the images on one node; the others get them from there."""
        first, *others = self.nodes.values()
        first.import_images([write_pause_image(self.data_dir / "pause.tar"), *self.settings.images])
        for other in others:
            other.take_images(first)

    def _make_nodes(self) -> None:
        for number, plan in enumerate(self.settings.nodes, start=1):
            folder = self.data_dir / "nodes" / plan.name
            node = RealNode(self._supervisor, plan.name, number, folder, self.hub)
            self.nodes[plan.name] = node
            node.prepare(self.control_plane, self.group, plan.labels)
        for node in self.nodes.values():
            others = [other.addresses for other in self.nodes.values() if other is not node]
            add_routes(node.space, others)


def _get_programs() -> None:
    programs: Sequence[Callable[[], object]] = (
        tools.etcd,
        tools.kube_apiserver,
        tools.kube_controller_manager,
        tools.kube_scheduler,
        tools.kubelet,
        tools.kubectl,
        tools.pause,
        tools.container_runtime,
    )
    for program in programs:
        program()
