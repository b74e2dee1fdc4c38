"""The operator and the agents as processes that can be stopped, killed, frozen and started again."""

import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgelab.errors import LabError
from edgelab.paths import ROOT
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor

READY_SECONDS = 120.0


@dataclass
class Program:
    """One `edgecanary` subcommand under a name; `start` again goes on where it stopped.

    `health_port` answers /healthz when the program is ready. `entry` is how Python comes to the program; a
    benchmark may put something in front of it.
    """

    name: str
    supervisor: Supervisor
    arguments: Sequence[str]
    health_port: int
    flags: Sequence[str] = ()
    kubeconfig: Path | None = None
    entry: Sequence[str] = ("-m", "edgecanary")
    _process: Process | None = None

    @property
    def process(self) -> Process:
        """The process.

        Raises:
            LabError: it was never started.
        """
        if self._process is None:
            raise LabError(f"{self.name} has not been started")
        return self._process

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.running

    def launch(self) -> None:
        """Start the process, or wake it when it is frozen, without waiting for it."""
        if not self.running:
            environment = {"PYTHONPATH": str(ROOT / "operator"), "PYTHONUNBUFFERED": "1"}
            if self.kubeconfig:
                environment["KUBECONFIG"] = str(self.kubeconfig)
            command = [sys.executable, *self.entry, *self.arguments, *self.flags]
            self._process = self.supervisor.start(self.name, command, env=environment)
        self.process.resume()

    def wait_ready(self) -> None:
        """Wait until it answers /healthz.

        Raises:
            ProcessError: it died or was not ready in time.
        """
        self.process.wait_ready(lambda: answers(self.health_port, "/healthz"), timeout=READY_SECONDS)

    def start(self) -> None:
        """Start it and wait until it is ready; errors as in `wait_ready`."""
        self.launch()
        self.wait_ready()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        return self.process.stop(grace=20)

    def kill(self) -> int:
        """Kill it with signal 9; its exit code."""
        return self.process.kill()


@dataclass
class Agent(Program):
    """A node's agent."""

    node: str = ""
    data_dir: Path = field(default_factory=Path)
    serving_port: int = 0

    @property
    def url(self) -> str:
        """Where it answers inference requests."""
        return f"http://127.0.0.1:{self.serving_port}"

    @property
    def metrics_address(self) -> str:
        """Where Prometheus scrapes it."""
        return f"127.0.0.1:{self.health_port}"


def make_operator(supervisor: Supervisor, kubeconfig: Path, system_namespace: str) -> Program:
    """The operator, not started yet."""
    port = free_port()
    arguments = [
        "operator",
        f"--metrics-address=127.0.0.1:{port}",
        f"--system-namespace={system_namespace}",
    ]
    return Program("operator", supervisor, arguments, port, kubeconfig=kubeconfig)


def make_agent(
    supervisor: Supervisor, node: str, data_dir: Path, kubeconfig: Path, system_namespace: str
) -> Agent:
    """A node's agent, not started yet."""
    serving, metrics = free_port(), free_port()
    arguments = [
        "agent",
        f"--node={node}",
        f"--data-dir={data_dir}",
        f"--listen=127.0.0.1:{serving}",
        f"--metrics-address=127.0.0.1:{metrics}",
        f"--kubeconfig={kubeconfig}",
        f"--system-namespace={system_namespace}",
        # A handful of nodes cannot crowd the store.
        "--download-spread-seconds=0",
    ]
    return Agent(node, supervisor, arguments, metrics, node=node, data_dir=data_dir, serving_port=serving)


def answers(port: int, path: str) -> bool:
    """Whether a GET on the loopback port is answered with 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
