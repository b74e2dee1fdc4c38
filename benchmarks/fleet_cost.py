"""What a version costs the API server, and how fast a bad one leaves a fleet of a given size."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.alternative import StepWrites, measure_step
from benchmarks.bench import NAME, NAMESPACE, WAIT_SECONDS, Bench, bench_on
from edgelab.api import JsonObject
from edgelab.demo.timeline import Timeline
from edgelab.errors import LabError
from edgelab.fleet import Fleet, FleetSettings, two_classes
from edgelab.fleet.access import OPERATOR_USER
from edgelab.modelzoo.counts import RevisionCount
from edgelab.modelzoo.traffic import TrafficGenerator
from edgelab.processes import Supervisor

MIN_SAMPLES = 50
ANSWERS_PER_SECOND = 60.0
"""Over the whole fleet, as far as this machine's cores carry; for a small fleet 2 for each node."""


@dataclass(frozen=True)
class Writes:
    """Requests that asked the API server for a change while one version went to every node in four steps."""

    by_nodes: int
    releases: int
    rollout_status: int
    other: int


@dataclass(frozen=True)
class TakingBack:
    """A bad version on every node is taken back. Times in seconds.

    `last_answer` is the last answer of the bad version, `reverted` the last node's report.
    """

    wrong_to_withdrawn: float
    withdrawn_to_last_answer: float
    withdrawn_to_reverted: float
    wrong_to_reverted: float
    wrong_answers: int


@dataclass(frozen=True)
class FleetCost:
    """One fleet. `roll_out_seconds` is from publishing a good version until every node runs it."""

    nodes: int
    roll_out_seconds: float
    writes: Writes
    alternative: StepWrites
    taking_back: TakingBack


def measure_fleet(supervisor: Supervisor, folder: Path, nodes: int) -> FleetCost:
    """Run a fleet, roll a good version out, then a bad one to every node, and have a gate take it back."""
    with Fleet(supervisor, folder, FleetSettings(nodes=two_classes(nodes, 0))) as fleet:
        bench = bench_on(fleet)
        bench.roll_out()
        first = bench.publish("fp32")
        bench.everybody_runs(first)
        bench.subject.promoted(first)
        begin = time.time()
        good = bench.publish("int8")
        bench.everybody_runs(good)
        seconds = time.time() - begin
        bench.subject.promoted(good)
        writes = _writes(fleet, begin)
        alternative = measure_step(fleet, NAMESPACE)
        bench.roll_out(hold_last=True)
        bad = bench.publish("int8-careless")
        bench.everybody_runs(bad)
        rate = min(2.0, ANSWERS_PER_SECOND / nodes)
        with fleet.traffic(NAME, requests_per_second=rate) as traffic:
            taking_back = _take_back(bench, traffic, bad, good)
    return FleetCost(nodes, seconds, writes, alternative, taking_back)


def _writes(fleet: Fleet, since: float) -> Writes:
    requests = [r for r in fleet.control_plane.audit_log.writes() if r.time.timestamp() >= since]
    operator = Counter(request.resource for request in requests if request.user == OPERATOR_USER)
    releases, status = operator["modelreleases"], operator["rollouts/status"]
    return Writes(
        by_nodes=sum(request.node in fleet.agents for request in requests),
        releases=releases,
        rollout_status=status,
        other=operator.total() - releases - status,
    )


def _take_back(bench: Bench, traffic: TrafficGenerator, bad: str, good: str) -> TakingBack:
    """Begin traffic and analysis on a fleet that runs the bad version; wait until it runs the good one."""
    for name, agent in bench.fleet.agents.items():
        traffic.add(name, agent.url)
    bench.roll_out(hold_last=True, analysis=_analysis(bench.fleet))
    bench.subject.rolled_back(bad, seconds=WAIT_SECONDS)
    bench.everybody_runs(good)
    timeline = Timeline(bench.fleet.mirror.changes(), bench.fleet.plans, namespace=NAMESPACE, name=NAME)
    answers = traffic.report().revisions().get(bad, RevisionCount())
    withdrawn, left = timeline.withdrawn(bad), timeline.left(bad)
    if withdrawn is None or answers.first_incorrect is None or answers.last_answer is None:
        raise LabError("the bad version was not taken back for what it answered")
    reverted = max(left.values())
    return TakingBack(
        wrong_to_withdrawn=withdrawn - answers.first_incorrect,
        withdrawn_to_last_answer=answers.last_answer - withdrawn,
        withdrawn_to_reverted=reverted - withdrawn,
        wrong_to_reverted=reverted - answers.first_incorrect,
        wrong_answers=answers.incorrect,
    )


def _analysis(fleet: Fleet) -> JsonObject:
    gate = {"name": "accuracy", "preset": "Accuracy", "threshold": {"min": "0.8"}, "minSamples": MIN_SAMPLES}
    return {"prometheus": {"url": fleet.prometheus.url}, "intervalSeconds": 1, "metrics": [gate]}
