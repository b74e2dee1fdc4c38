"""A real node: a kubelet and a containerd in namespaces of their own."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from edgelab.cluster import cgroups, kubelet, runtime
from edgelab.cluster.carrier import carry
from edgelab.cluster.network import Addresses, connect, set_cable
from edgelab.cluster.space import Space, node_space
from edgelab.controlplane import ControlPlane
from edgelab.errors import LabError
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor

SERVING_PORT = 9010
_READY_SECONDS = 120.0


class RealNode:
    """A node, made at once; `start` starts its programs.

    Args:
        supervisor: runs the processes.
        name: of the node.
        number: of the node, from 1.
        folder: for what is on its disk; must not exist.
        hub: the control plane's network.
    """

    def __init__(self, supervisor: Supervisor, name: str, number: int, folder: Path, hub: Space) -> None:
        self.name = name
        self.addresses = Addresses(number)
        self.folder = folder
        self._supervisor = supervisor
        self._hub = hub
        self.space = node_space(supervisor, name, folder)
        connect(hub, self.space, self.addresses)
        self._runtime: Process | None = None
        self._kubelet: Process | None = None
        self._commands: dict[str, list[str | Path]] = {}

    @property
    def runtime(self) -> Process:
        """containerd, for signals.

        Raises:
            LabError: it has not been started.
        """
        return _started(self._runtime, f"{self.name}'s containerd")

    @property
    def kubelet(self) -> Process:
        """The kubelet, for signals.

        Raises:
            LabError: it has not been started.
        """
        return _started(self._kubelet, f"{self.name}'s kubelet")

    def prepare(self, control_plane: ControlPlane, group: str, labels: Mapping[str, str]) -> None:
        """Write the configurations of its programs, and make its control groups under `group`.

        Raises:
            LabError: a controller is missing.
        """
        own = f"{group}/{self.name}"
        for path in cgroups.make(own):
            self._supervisor.leave_no_control_group(path)
        configuration = kubelet.write_configuration(self.folder, control_plane, self.name, own)
        self._commands["kubelet"] = kubelet.command(configuration, self.name, self.addresses, labels)
        self._commands["containerd"] = runtime.command(
            runtime.write_configuration(self.folder, self.addresses)
        )

    def start(self) -> None:
        """Start what does not run of containerd and the kubelet; errors as in the two."""
        self.start_runtime()
        self.start_kubelet()

    def start_runtime(self) -> None:
        """Start containerd, and wait until it answers.

        Raises:
            ProcessError: it died, or was not ready in time.
        """
        if self._runtime is None or not self._runtime.running:
            self._runtime = self._launch("containerd")
        self._runtime.wait_ready(lambda: runtime.answers(self.space), timeout=_READY_SECONDS)

    def start_kubelet(self) -> None:
        """Start the kubelet. Whether it gets on, the Node's condition Ready says."""
        if self._kubelet is None or not self._kubelet.running:
            self._kubelet = self._launch("kubelet")

    def kill_kubelet(self) -> None:
        """Kill the kubelet with signal 9."""
        self.kubelet.kill()

    def kill_runtime(self) -> None:
        """Kill containerd with signal 9; what it runs goes on."""
        self.runtime.kill()

    def serving_port(self) -> int:
        """A loopback port here that stands for port 9010 of the node's own loopback interface."""
        here = free_port()
        carry(self._supervisor, f"{self.name}-client", self.space, {here: SERVING_PORT})
        return here

    def stop(self) -> None:
        """Stop the kubelet and containerd; pods go on until the node is gone with the supervisor."""
        for process in (self._kubelet, self._runtime):
            if process is not None:
                process.stop()

    def import_images(self, archives: Iterable[Path]) -> None:
        """Import images from archives, and leave containerd stopped.

        Raises:
            ProcessError: containerd does not start.
            LabError: it refused an image.
        """
        self.start_runtime()
        for archive in archives:
            runtime.import_image(self.space, archive)
        self.runtime.stop()

    def take_images(self, other: "RealNode") -> None:
        """Have the images of another node too; errors as in `runtime.copy_images`."""
        runtime.copy_images(other.folder, self.folder)

    def pull_cable(self) -> None:
        """Cut the node off from everybody else."""
        set_cable(self._hub, self.addresses, plugged=False)

    def plug_cable(self) -> None:
        """Undo `pull_cable`."""
        set_cable(self._hub, self.addresses, plugged=True)

    def _launch(self, program: str) -> Process:
        return self._supervisor.start(f"{self.name}-{program}", [*self.space.enter, *self._commands[program]])


def _started(process: Process | None, what: str) -> Process:
    if process is None:
        raise LabError(f"{what} has not been started")
    return process
