"""What one agent costs a node: resident memory while it serves, CPU while nobody asks it anything."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import NAME, Bench, bench_on
from benchmarks.machine import cpu_percent, resident_bytes
from edgelab.fleet import Agent, Fleet, FleetSettings, two_classes, wait_for
from edgelab.processes import Supervisor

REQUESTS = 100
IDLE_SECONDS = 30.0
SETTLE_SECONDS = 8.0
"""The agent gives memory back once requests have paused for five seconds."""

_MAIN = "import sys; from edgecanary.cli.main import main; sys.exit(main())"
_PLACE = "'edgecanary.dev', 'v1alpha1', 'modelreleases'"
CLIENTS = {
    "lightkube": (
        "import lightkube; from lightkube.generic_resource import create_global_resource; "
        "kind = create_global_resource('edgecanary.dev', 'v1alpha1', 'ModelRelease', 'modelreleases'); "
        "held = lightkube.Client(); list(held.list(kind)); "
    ),
    "kubernetes": (
        "import kubernetes; kubernetes.config.load_kube_config(); "
        f"held = kubernetes.client.CustomObjectsApi(); held.list_cluster_custom_object({_PLACE}); "
    ),
    "kubernetes.aio": (
        "import asyncio; from kubernetes.aio import client, config\n"
        "async def listed():\n"
        "    await config.load_kube_config()\n"
        "    async with client.ApiClient() as api:\n"
        f"        await client.CustomObjectsApi(api).list_cluster_custom_object({_PLACE})\n"
        "asyncio.run(listed())\n"
    ),
}
"""Client libraries that an agent could use instead of plain HTTP: each is imported and lists the releases."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of the agent's process, in bytes."""

    agent: str
    resident_bytes: int


@dataclass(frozen=True)
class Idle:
    """CPU use over half a minute, in percent of one core."""

    process: str
    percent: float


@dataclass(frozen=True)
class AgentCost:
    """All of it. `memory` begins with the agent as it is."""

    model_bytes: int
    memory: tuple[Memory, ...]
    idle: tuple[Idle, ...]


def measure_agent(supervisor: Supervisor, folder: Path) -> AgentCost:
    """Run a fleet of one node and measure its agent."""
    settings = FleetSettings(nodes=two_classes(1, 0), audit=False)
    with Fleet(supervisor, folder, settings) as fleet:
        bench = bench_on(fleet)
        bench.roll_out()
        bench.everybody_runs(bench.publish("fp32"))
        (agent,) = fleet.agents.values()
        memory = tuple(_memories(bench, agent))
        idle = tuple(_idle(fleet, agent))
        return AgentCost(fleet.zoo["fp32"].model.size_bytes, memory, idle)


def _memories(bench: Bench, agent: Agent) -> Iterator[Memory]:
    plain = agent.entry
    yield Memory("as it is, after a restart", _restarted(bench, agent))
    agent.kubeconfig = bench.fleet.control_plane.kubeconfig()
    for client, text in CLIENTS.items():
        agent.entry = ("-c", text + _MAIN)
        yield Memory(f"with {client}", _restarted(bench, agent))
    agent.entry = plain
    _restarted(bench, agent)
    bench.everybody_runs(bench.publish("lookup"))
    yield Memory("as it is, after an update", _served(bench, agent))


def _restarted(bench: Bench, agent: Agent) -> int:
    agent.stop()
    agent.start()
    wait_for("the agent serves the model", lambda: bench.subject.is_served(agent.node))
    return _served(bench, agent)


def _served(bench: Bench, agent: Agent) -> int:
    """Resident memory after some requests."""
    with bench.fleet.traffic(NAME, requests_per_second=50) as traffic:
        traffic.add(agent.node, agent.url)
        wait_for("requests are answered", lambda: traffic.report().answered >= REQUESTS)
    time.sleep(SETTLE_SECONDS)
    return resident_bytes(agent.process.pid)


def _idle(fleet: Fleet, agent: Agent) -> Iterator[Idle]:
    yield Idle("agent, scraped every second", cpu_percent(agent.process.pid, seconds=IDLE_SECONDS))
    fleet.prometheus.stop()
    yield Idle("agent", cpu_percent(agent.process.pid, seconds=IDLE_SECONDS))
    yield Idle("operator", cpu_percent(fleet.operator.process.pid, seconds=IDLE_SECONDS))
