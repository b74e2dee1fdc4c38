"""The figures as docs/benchmarks.md."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks import delta_sizes, gate_speed, plan_speed, self_revert, simulator_speed, telemetry_cost
from benchmarks.agent_cost import IDLE_SECONDS, REQUESTS, AgentCost
from benchmarks.fleet_cost import MIN_SAMPLES, FleetCost
from benchmarks.machine import Machine
from benchmarks.self_revert import SelfRevert

MIB = 2**20


@dataclass(frozen=True)
class Pure:
    """What was measured in memory, without any other process."""

    plans: Sequence[plan_speed.PlanSpeed]
    gates: Sequence[gate_speed.GateSpeed]
    simulator: Sequence[simulator_speed.Speed]
    deltas: Sequence[delta_sizes.DeltaSize]


@dataclass(frozen=True)
class Node:
    """What one node takes."""

    agent: AgentCost
    telemetry: telemetry_cost.TelemetryCost
    reverting: SelfRevert


def page(machine: Machine, node: Node, fleets: Sequence[FleetCost], pure: Pure) -> str:
    """The whole page."""
    parts = (
        _head(machine),
        _memory(node.agent),
        _idle(node.agent),
        self_revert.section(node.reverting),
        telemetry_cost.section(node.telemetry),
        _writes(fleets),
        _taking_back(fleets),
        plan_speed.section(pure.plans),
        gate_speed.section(pure.gates),
        simulator_speed.section(pure.simulator),
        delta_sizes.section(pure.deltas),
    )
    return "\n".join(line for part in parts for line in part)


def with_section(text: str, lines: Iterable[str]) -> str:
    """The page with a section put in the place of the one of the same heading, or at the end."""
    new = list(lines)
    old = [*text.rstrip("\n").split("\n"), ""]
    if new[0] not in old:
        return "\n".join([*old, *new])
    begin = old.index(new[0])
    end = next((at for at in range(begin + 1, len(old)) if old[at].startswith("## ")), len(old))
    return "\n".join([*old[:begin], *new, *old[end:]])


def _head(machine: Machine) -> Iterable[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `make bench`; run it to measure on your machine. All parts are real (API server, etcd,"
    yield "Prometheus, S3 server, operator, agents, the 3 MB file-type model) and share one machine:"
    yield f"{machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB of memory, {machine.architecture},"
    yield f"{machine.system}, Python {machine.python}. The nodes of a real fleet have cores of their own."
    yield "How well the gates judge is measured by `make bench-gates`: [Quality of the gates](benchmarks-gates.md)."
    yield "The agent beside other servers, and its switches of revisions, by `make bench-agent`:"
    yield "[Benchmarks of the node agent](benchmarks-agent.md)."
    yield ""


def _memory(agent: AgentCost) -> Iterable[str]:
    plain = agent.memory[0].resident_bytes
    yield "## Memory of an agent"
    yield ""
    size = f"{agent.model_bytes / 1e6:.1f} MB"
    yield f"Resident memory of the process that serves a model of {size}, after {REQUESTS} requests."
    yield "The agent speaks to the API server by plain HTTP (urllib3); beside it, the same agent after it imported a"
    yield "client library and listed the releases with it."
    yield ""
    yield from _table(
        ("agent", "resident MiB", "ratio"),
        [
            (item.agent, f"{item.resident_bytes / MIB:.1f}", f"{item.resident_bytes / plain:.2f}")
            for item in agent.memory
        ],
    )


def _idle(agent: AgentCost) -> Iterable[str]:
    yield "## CPU while nothing happens"
    yield ""
    yield f"Over {IDLE_SECONDS:.0f} seconds without a request, one model active."
    yield ""
    yield from _table(
        ("process", "percent of one core"), [(item.process, f"{item.percent:.2f}") for item in agent.idle]
    )


def _writes(fleets: Sequence[FleetCost]) -> Iterable[str]:
    yield "## Writes to the API server for a version"
    yield ""
    yield "From its audit log, while one version goes to every node in four steps. The operator writes the release"
    yield "once for each step and once for the promotion, whatever the number of nodes; each node answers once."
    yield ""
    yield from _table(
        ("nodes", "by all nodes", "per node", "releases", "Rollout status", "other by the operator"),
        [
            (
                f"{item.nodes}",
                f"{item.writes.by_nodes}",
                f"{item.writes.by_nodes / item.nodes:.2f}",
                f"{item.writes.releases}",
                f"{item.writes.rollout_status}",
                f"{item.writes.other}",
            )
            for item in fleets
        ],
    )
    yield "Beside it the usual alternative, one object for each node, measured on the same API server: what it takes"
    yield "to tell every node of a step, one request after the other over one connection."
    yield ""
    yield from _table(
        ("nodes", "one release", "one object for each node", "ratio"),
        [
            (
                f"{item.nodes}",
                f"1 write, {item.alternative.release_seconds * 1000:.1f} ms",
                f"{item.alternative.objects} writes, {item.alternative.objects_seconds * 1000:.0f} ms",
                f"{item.alternative.objects_seconds / item.alternative.release_seconds:.0f}",
            )
            for item in fleets
        ],
    )


def _taking_back(fleets: Sequence[FleetCost]) -> Iterable[str]:
    yield "## Taking a bad version back"
    yield ""
    yield "The worst case: every node runs the bad version when the first request arrives. Seconds from the first"
    yield f"wrong answer until the gate ({MIN_SAMPLES} judged answers, looked at every second) withdraws the release,"
    yield "and from there until the bad version gives its last answer and until the last node has reported that it is"
    yield "back. No node downloads or probes anything for that."
    yield ""
    yield from _table(
        (
            "nodes",
            "first wrong answer to withdrawn",
            "withdrawn to last wrong answer",
            "withdrawn to last node reverted",
            "in all",
            "wrong answers",
        ),
        [
            (
                f"{item.nodes}",
                f"{item.taking_back.wrong_to_withdrawn:.2f}",
                f"{item.taking_back.withdrawn_to_last_answer:.2f}",
                f"{item.taking_back.withdrawn_to_reverted:.2f}",
                f"{item.taking_back.wrong_to_reverted:.2f}",
                f"{item.taking_back.wrong_answers}",
            )
            for item in fleets
        ],
    )
    yield "Seconds from publishing a good version until every node runs it, in four steps without bakes (download,"
    yield "check, probe and soak on each node; all probes share this machine's cores):"
    yield ""
    yield from _table(
        ("nodes", "seconds"), [(f"{item.nodes}", f"{item.roll_out_seconds:.1f}") for item in fleets]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""
