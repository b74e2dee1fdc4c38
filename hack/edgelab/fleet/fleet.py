"""The fleet: everything that edgecanary needs around it, started, stopped and broken on demand."""

import contextlib
import functools
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgelab.api import ApiClient, JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import LabError
from edgelab.fleet.access import SYSTEM_NAMESPACE, agent_access, operator_access
from edgelab.fleet.layout import NodePlan, create_nodes
from edgelab.fleet.mirror import Mirror
from edgelab.fleet.programs import Agent, Program, make_agent, make_operator
from edgelab.fleet.waiting import wait_for
from edgelab.install import apply_rights
from edgelab.modelzoo import Field, Zoo, bucket_files, collect, open_zoo
from edgelab.modelzoo.traffic import TrafficGenerator, TrafficSettings
from edgelab.nodes import set_ready
from edgelab.paths import ROOT
from edgelab.processes import Supervisor
from edgelab.prometheus import Prometheus, Target
from edgelab.s3 import S3Server


@dataclass(frozen=True)
class FleetSettings:
    """What the fleet consists of."""

    nodes: tuple[NodePlan, ...]
    bucket: str = "edge-models"
    operator_flags: Sequence[str] = ()
    agent_flags: Sequence[str] = ()
    audit: bool = True
    pushing: frozenset[str] = frozenset()
    """Nodes whose agents push their metrics; Prometheus does not reach them."""
    rules: Sequence[Path] = ()
    """Files with rules that Prometheus evaluates."""


class Fleet:
    """A fleet on the loopback interface. Use it as a context manager; entering it starts everything.

    Args:
        supervisor: runs the processes.
        data_dir: folder for all data; made when needed.
        settings: what the fleet consists of.
    """

    def __init__(self, supervisor: Supervisor, data_dir: Path, settings: FleetSettings) -> None:
        self.settings = settings
        self.data_dir = data_dir
        self.bucket = settings.bucket
        self.control_plane = ControlPlane(supervisor, data_dir / "control-plane", audit=settings.audit)
        self.prometheus = Prometheus(supervisor, data_dir / "prometheus", rules=settings.rules)
        self.s3 = S3Server(supervisor, data_dir / "s3")
        self.mirror = Mirror(self.control_plane.admin)
        self._supervisor = supervisor
        self._operator: Program | None = None
        self._agents: dict[str, Agent] = {}
        self._offline: set[str] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start_surroundings(stack)
            self._start_programs(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def operator(self) -> Program:
        """The operator.

        Raises:
            LabError: the fleet has not been started.
        """
        if self._operator is None:
            raise LabError("the fleet has not been started")
        return self._operator

    @property
    def admin(self) -> ApiClient:
        """A client that may do everything."""
        return self.control_plane.admin

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents by node."""
        return self._agents

    @property
    def plans(self) -> Mapping[str, NodePlan]:
        """The nodes by name."""
        return {plan.name: plan for plan in self.settings.nodes}

    @functools.cached_property
    def zoo(self) -> Zoo:
        """The models to roll out."""
        return open_zoo()

    @functools.cached_property
    def field(self) -> Field:
        """The files to ask the models about."""
        return collect(self.zoo.labels)

    def take_offline(self, node: str) -> None:
        """Stop the node's agent and say what the cluster would say of its Node after 40 s."""
        self.agents[node].stop()
        set_ready(self.control_plane.admin, node, "Unknown")
        self._offline.add(node)

    def bring_online(self, node: str) -> None:
        """Start the node's agent again and report its Node Ready."""
        self.agents[node].start()
        set_ready(self.control_plane.admin, node, "True")
        self._offline.discard(node)

    def create_namespace(self, name: str) -> None:
        """Create a namespace with the Secret `model-bucket`.

        Raises:
            ApiError: there is such a namespace already.
        """
        self.control_plane.create_namespace(name)
        secret = {"metadata": {"name": "model-bucket"}, "stringData": self.s3.environment}
        self.control_plane.admin.create(f"/api/v1/namespaces/{name}/secrets", secret)

    def upload(self, model: str, folder: str = "") -> None:
        """Put a model of the zoo and its golden file into the bucket, where `edge_model_spec` looks for them.

        Args:
            model: its name in the zoo.
            folder: of the bucket, when the base URI is `s3://<bucket>/<folder>`.
        """
        for key, path in bucket_files(self.zoo[model]).items():
            self.s3.put(self.bucket, f"{folder}/{key}".lstrip("/"), path.read_bytes())

    def apply(self, *manifests: JsonObject) -> None:
        """Apply manifests with kubectl, as a person would.

        Raises:
            KubectlError: the API server refused one.
        """
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=body)

    def traffic(self, model: str, *, requests_per_second: float = 3.0) -> TrafficGenerator:
        """A traffic generator for a model, which asks no agent yet; use it as a context manager."""
        settings = TrafficSettings(model=model, requests_per_second=requests_per_second)
        return TrafficGenerator(self.field, settings)

    def mend(self) -> None:
        """Bring everything back that was stopped, killed, frozen or started with other flags.

        Raises:
            ProcessError: something does not start any more.
        """
        self.control_plane.start()
        self.s3.start()
        self.prometheus.start()
        if self.operator.flags != self.settings.operator_flags:
            self.restart_operator(self.settings.operator_flags)
        for program in (self.operator, *self.agents.values()):
            program.start()
        for node in self._offline.copy():
            self.bring_online(node)

    def restart_agents(self, flags: Sequence[str]) -> None:
        """Starts all agents anew with these flags; ends when all are ready."""
        agents = list(self.agents.values())
        for agent in agents:
            agent.stop()
            agent.flags = flags
            agent.launch()
        for agent in agents:
            agent.wait_ready()

    def restart_operator(self, flags: Sequence[str]) -> None:
        """Stop the operator and start it with these flags."""
        if self.operator.running:
            self.operator.stop()
        self.operator.flags = flags
        self.operator.start()

    def _start_surroundings(self, stack: contextlib.ExitStack) -> None:
        self.control_plane.start()
        stack.callback(self.control_plane.stop)
        self.control_plane.apply_crds(ROOT / "crds")
        apply_rights(self.control_plane)
        self.s3.start()
        stack.callback(self.s3.stop)
        self.s3.create_bucket(self.bucket)
        create_nodes(self.control_plane.admin, self.settings.nodes)
        stack.enter_context(self.mirror)

    def _start_programs(self, stack: contextlib.ExitStack) -> None:
        """Start Prometheus, the operator and the agents; all processes first, then wait for each."""
        self._operator = make_operator(
            self._supervisor, operator_access(self.control_plane), SYSTEM_NAMESPACE
        )
        self._operator.flags = self.settings.operator_flags
        for plan in self.settings.nodes:
            agent = make_agent(
                self._supervisor,
                plan.name,
                self.data_dir / "nodes" / plan.name,
                agent_access(self.control_plane, plan.name),
                SYSTEM_NAMESPACE,
            )
            agent.flags = [*self.settings.agent_flags, *self._push_flags(plan.name)]
            self._agents[plan.name] = agent
        programs: list[Program] = [self._operator, *self._agents.values()]
        stack.callback(_stop_all, programs)
        for program in programs:
            program.launch()
        self.prometheus.set_targets(self._targets())
        self.prometheus.start()
        stack.callback(self.prometheus.stop)
        for program in programs:
            program.wait_ready()
        addresses = [target.address for target in self._targets()]
        wait_for("Prometheus scrapes every program", lambda: self.prometheus.scrapes(addresses))

    def _push_flags(self, node: str) -> Sequence[str]:
        if node not in self.settings.pushing:
            return ()
        return (f"--remote-write={self.prometheus.remote_write_url}", "--remote-write-seconds=1")

    def _targets(self) -> list[Target]:
        """What Prometheus scrapes: the operator, and the agents that do not push."""
        scraped = {n: agent for n, agent in self._agents.items() if n not in self.settings.pushing}
        agents = [
            Target(agent.metrics_address, {"node": name, "job": "edgecanary-agent"})
            for name, agent in scraped.items()
        ]
        operator = Target(f"127.0.0.1:{self.operator.health_port}", {"job": "edgecanary-operator"})
        return [operator, *agents]


def _stop_all(programs: Sequence[Program]) -> None:
    """Stop the programs that run, all at once."""
    running = [program for program in programs if program.running]
    for program in running:
        program.process.signal(signal.SIGTERM)
    for program in running:
        program.stop()
