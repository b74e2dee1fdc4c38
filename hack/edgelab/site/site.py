"""The site: S3, Prometheus, the live copy and the clients around a cluster, and edgecanary on it."""

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgelab.api import ApiClient, JsonObject
from edgelab.fleet.layout import NodePlan
from edgelab.fleet.mirror import Mirror
from edgelab.fleet.waiting import wait_for
from edgelab.helm import NAMESPACE, Helm
from edgelab.modelzoo import Field, Zoo, bucket_files, collect, open_zoo
from edgelab.modelzoo.traffic import TrafficGenerator, TrafficSettings
from edgelab.processes import Supervisor
from edgelab.prometheus import Prometheus, Target
from edgelab.s3 import S3Server
from edgelab.site.contract import AnyCluster

READY_SECONDS = 300.0
_BUCKET = "edge-models"
_METRICS_PORT = 9011


@dataclass(frozen=True)
class Client:
    """An application on a node, as far as it asks the node's agent."""

    node: str
    serving_port: int
    running: bool = True

    @property
    def url(self) -> str:
        """The agent's address, from here."""
        return f"http://127.0.0.1:{self.serving_port}"


class Site:
    """What the tests of a whole cluster work on. Use it as a context manager.

    Args:
        supervisor: runs the servers.
        cluster: which runs already.
        data_dir: folder for all data; made when needed.
    """

    def __init__(self, supervisor: Supervisor, cluster: AnyCluster, data_dir: Path) -> None:
        self.cluster = cluster
        self.bucket = _BUCKET
        self.s3 = S3Server(supervisor, data_dir / "s3", place=cluster.place)
        self.prometheus = Prometheus(supervisor, data_dir / "prometheus", place=cluster.place)
        self.mirror = Mirror(cluster.admin)
        self.helm = Helm(data_dir / "helm", cluster.kubeconfig)
        self._agents: dict[str, Client] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.cluster.publish("s3-port", self.s3.port)
            self.cluster.publish("prometheus-port", self.prometheus.port)
            self.s3.start()
            stack.callback(self.s3.stop)
            self.s3.create_bucket(self.bucket)
            self.prometheus.set_targets([self._target(name) for name in self.plans])
            self.prometheus.start()
            stack.callback(self.prometheus.stop)
            for name, node in self.cluster.nodes.items():
                self._agents[name] = Client(name, node.serving_port())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""
        return self.cluster.admin

    @property
    def plans(self) -> Mapping[str, NodePlan]:
        """The nodes by name."""
        return self.cluster.plans

    @property
    def agents(self) -> Mapping[str, Client]:
        """A client on each node, which reaches the agent also while the node is cut off."""
        return self._agents

    @functools.cached_property
    def zoo(self) -> Zoo:
        """The models to roll out."""
        return open_zoo()

    @functools.cached_property
    def field(self) -> Field:
        """The files to ask the models about."""
        return collect(self.zoo.labels)

    def install(self, values: JsonObject) -> str:
        """Install the chart, and wait until the operator and every agent are ready; helm's notes.

        Raises:
            HelmError: helm refused it.
            NotReachedError: a pod is not ready.
        """
        notes = self.helm.install(values=values)
        self._stack.enter_context(self.mirror)
        self.wait_ready()
        return notes

    def wait_ready(self) -> None:
        """Wait until what is installed is rolled out.

        Raises:
            NotReachedError: a pod is not ready; the message lists the pods and what happened to them.
        """
        for path in ("deployments/edgecanary-operator", "daemonsets/edgecanary-agent"):
            wait_for(
                f"{path} is ready",
                functools.partial(self._is_rolled_out, path),
                got=self.pods,
                seconds=READY_SECONDS,
            )

    def pods(self) -> str:
        """The pods and the last events, for a failure."""
        kubectl = self.cluster.kubectl
        events = kubectl("get", "events", "-n", NAMESPACE, "--sort-by=.lastTimestamp").splitlines()
        return kubectl("get", "pods", "-n", NAMESPACE, "-o", "wide") + "\n".join(events[-25:])

    def create_namespace(self, name: str) -> None:
        """Create a namespace with the Secret `model-bucket`.

        Raises:
            ApiError: there is such a namespace already.
        """
        self.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        secret = {"metadata": {"name": "model-bucket"}, "stringData": self.s3.environment}
        self.admin.create(f"/api/v1/namespaces/{name}/secrets", secret)

    def upload(self, model: str, folder: str) -> None:
        """Put a model of the zoo and its golden file into a folder of the bucket."""
        for key, path in bucket_files(self.zoo[model]).items():
            self.s3.put(self.bucket, f"{folder}/{key}", path.read_bytes())

    def apply(self, *manifests: JsonObject) -> None:
        """Apply manifests with kubectl, as a person would.

        Raises:
            KubectlError: the API server refused one.
        """
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.cluster.kubectl("apply", "--server-side", "--filename=-", stdin=body)

    def traffic(self, model: str, *, requests_per_second: float) -> TrafficGenerator:
        """A traffic generator for a model, which asks no agent yet; use it as a context manager."""
        settings = TrafficSettings(model=model, requests_per_second=requests_per_second)
        return TrafficGenerator(self.field, settings)

    def _target(self, node: str) -> Target:
        """Where the node's agent is scraped, as docs/guides/operating.md has it."""
        addresses = self.admin.get(f"/api/v1/nodes/{node}")["status"]["addresses"]
        address = next(item["address"] for item in addresses if item["type"] == "InternalIP")
        return Target(f"{address}:{_METRICS_PORT}", {"node": node})

    def _is_rolled_out(self, path: str) -> bool:
        found = self.admin.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/{path}")
        status = found.get("status", {})
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return False
        if "replicas" in found["spec"]:
            wanted = found["spec"]["replicas"]
            names = ("replicas", "updatedReplicas", "availableReplicas")
        else:
            wanted = len(self.plans)
            names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        return all(status.get(name, 0) == wanted for name in names)
