"""A cluster of Docker's kind, from kind-config.yaml, with the means to break its nodes."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from edgelab import tools
from edgelab.api import ApiClient, Credentials, JsonObject
from edgelab.cluster.carrier import carry
from edgelab.cluster.space import Space
from edgelab.errors import KubectlError, LabError, MissingToolError
from edgelab.fleet.layout import NodePlan
from edgelab.paths import ROOT
from edgelab.place import Place
from edgelab.ports import free_port
from edgelab.processes import Supervisor
from edgelab.tools.progress import reporting

CONFIG = ROOT / "kind-config.yaml"
NETWORK = "kind"
SERVING_PORT = 9010


class KindNode:
    """A worker of the cluster: a container of Docker's."""

    def __init__(self, supervisor: Supervisor, name: str) -> None:
        self.name = name
        self._supervisor = supervisor
        self._address = _docker(
            "inspect", f"--format={{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}", name
        )

    def pull_cable(self) -> None:
        """Cut the node off from everybody else."""
        _docker("network", "disconnect", NETWORK, self.name)

    def plug_cable(self) -> None:
        """Undo `pull_cable`: the node has the address that it had."""
        _docker("network", "connect", f"--ip={self._address}", NETWORK, self.name)

    def kill_kubelet(self) -> None:
        """Kill the kubelet with signal 9, and keep it from being started again."""
        self._end("kubelet")

    def kill_runtime(self) -> None:
        """Kill containerd the same way; what it runs goes on."""
        self._end("containerd")

    def start(self) -> None:
        """Start what does not run."""
        _docker("exec", self.name, "systemctl", "start", "containerd", "kubelet")

    def serving_port(self) -> int:
        """A loopback port here that stands for port 9010 of the node's own loopback interface."""
        here = free_port()
        pid = int(_docker("inspect", "--format={{.State.Pid}}", self.name))
        carry(
            self._supervisor, f"{self.name}-client", Space(self.name, pid, ("--net",)), {here: SERVING_PORT}
        )
        return here

    def _end(self, unit: str) -> None:
        _docker("exec", self.name, "systemctl", "kill", "--signal=KILL", unit)
        _docker("exec", self.name, "systemctl", "stop", unit)


class KindCluster:
    """The cluster. Use it as a context manager: entering makes it, leaving deletes it.

    Args:
        supervisor: runs what carries connections into the nodes; that needs root.
        data_dir: folder for kubeconfig and keys; made when needed.
        images: archives of the images that every node has.

    Raises:
        MissingToolError: Docker does not answer.
        LabError: this is not root.
    """

    def __init__(self, supervisor: Supervisor, data_dir: Path, images: Sequence[Path]) -> None:
        if shutil.which("docker") is None:
            raise MissingToolError("docker is not on PATH: kind makes its nodes with it")
        if os.geteuid() != 0:
            raise LabError("the clients on the nodes need root: run this with sudo")
        data_dir.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load(CONFIG.read_text())
        self.plans = _plans(config)
        self.kubeconfig = data_dir / "kubeconfig"
        self.nodes: dict[str, KindNode] = {}
        self._name = str(config["name"])
        self._supervisor = supervisor
        self._data_dir = data_dir
        self._images = images
        self._admin: ApiClient | None = None

    def __enter__(self) -> Self:
        with reporting("making a cluster with kind"):
            self._kind(
                "create", "cluster", f"--config={CONFIG}", f"--kubeconfig={self.kubeconfig}", "--wait=180s"
            )
        try:
            for archive in self._images:
                self._kind("load", "image-archive", f"--name={self._name}", str(archive))
            self._admin = _client(self.kubeconfig, self._data_dir)
            self.nodes = {name: KindNode(self._supervisor, name) for name in self.plans}
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delete()

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything.

        Raises:
            LabError: the cluster has not been made.
        """
        if self._admin is None:
            raise LabError("the cluster has not been made")
        return self._admin

    @property
    def place(self) -> Place:
        """This machine, at the address by which Docker's containers reach it."""
        found = json.loads(_docker("network", "inspect", NETWORK))[0]["IPAM"]["Config"]
        gateway = next(item["Gateway"] for item in found if "." in item.get("Gateway", ""))
        return Place((), "0.0.0.0", gateway)  # noqa: S104 (the containers have to reach it)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; raises KubectlError when it fails."""
        command = [str(tools.kubectl()), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, input=stdin or "", capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise KubectlError(arguments, result.returncode, result.stderr)
        return result.stdout

    def publish(self, name: str, port: int) -> None:
        """Nothing is to be done: servers run on this machine."""

    def _kind(self, *arguments: str) -> None:
        _run([str(tools.kind()), *arguments])

    def _delete(self) -> None:
        self._kind("delete", "cluster", f"--name={self._name}", f"--kubeconfig={self.kubeconfig}")


def _plans(config: JsonObject) -> dict[str, NodePlan]:
    """The workers, by the names that kind gives them."""
    workers = [node for node in config["nodes"] if node["role"] == "worker"]
    names = [
        f"{config['name']}-worker{number if number > 1 else ''}" for number in range(1, len(workers) + 1)
    ]
    return {name: NodePlan(name, node.get("labels", {})) for name, node in zip(names, workers, strict=True)}


def _client(kubeconfig: Path, folder: Path) -> ApiClient:
    """A client with the certificate in a kubeconfig."""
    found = yaml.safe_load(kubeconfig.read_text())
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    files = []
    for name, text in (
        ("ca.crt", cluster["certificate-authority-data"]),
        ("admin.crt", user["client-certificate-data"]),
        ("admin.key", user["client-key-data"]),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(text))
        files.append(path)
    return ApiClient(cluster["server"], Credentials(*files))


def _docker(*arguments: str) -> str:
    return _run(["docker", *arguments])


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(
            f"`{' '.join(command)}` ended with exit code {result.returncode}: {result.stderr.strip()}"
        )
    return result.stdout.strip()
