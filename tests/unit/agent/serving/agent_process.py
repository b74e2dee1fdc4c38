"""The real agent as a process without a cluster: it serves what its data directory holds."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.store import Store
from edgecanary.api.artifacts import ModelIO
from edgelab.nodestore import install_active
from edgelab.paths import ROOT
from edgelab.ports import free_port, release_port

START_SECONDS = 90.0


@dataclass(frozen=True)
class Model:
    """A model to serve."""

    content: bytes
    io: ModelIO


@dataclass
class AgentProcess:
    """A running agent."""

    process: "subprocess.Popen[bytes]"
    port: int
    metrics_port: int
    log: Path
    revisions: dict[str, str] = field(default_factory=dict)
    """By the model's name."""

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(60)

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()


@contextlib.contextmanager
def running_agent(
    folder: Path, models: Mapping[str, Model], *flags: str, namespace: str = "plant"
) -> Iterator[AgentProcess]:
    """An agent with these models, ready to answer; killed in the end if it still runs."""
    data, log = folder / "data", folder / "agent.log"
    store = Store(data)
    revisions = {
        name: install_active(store, ModelKey(namespace, name), model.content, model.io)
        for name, model in models.items()
    }
    port, metrics = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "edgecanary", "agent", "--node", "edge", "--data-dir", str(data)),
        *("--listen", f"127.0.0.1:{port}", "--metrics-address", f"127.0.0.1:{metrics}"),
        *("--server", "http://127.0.0.1:9", *flags),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    agent = AgentProcess(process, port, metrics, log, revisions)
    try:
        _wait_until_ready(agent)
        yield agent
    finally:
        process.kill()
        process.wait()
        release_port(port)
        release_port(metrics)


def _wait_until_ready(agent: AgentProcess) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert agent.process.poll() is None, agent.log.read_text()
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = agent.connect()
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the agent was not ready in {START_SECONDS:g} s: {agent.log.read_text()}")
