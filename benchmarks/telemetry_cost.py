"""What telemetry costs an agent: memory and idle CPU with remote write, and time for each request with drift.

By itself: `python benchmarks/telemetry_cost.py`.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import NAME, bench_on
from benchmarks.machine import cpu_percent, resident_bytes
from edgecanary.agent.drift import DriftMeter
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.push.sampling import Sampler
from edgecanary.agent.telemetry import Identity, Outcome, Telemetry
from edgecanary.analysis.drift import make_profile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgelab.fleet import Agent, Fleet, FleetSettings, two_classes, wait_for
from edgelab.processes import Supervisor

REQUESTS = 100
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 8.0
MIB = 2**20


@dataclass(frozen=True)
class Way:
    """How an agent tells its metrics, and what it then takes."""

    name: str
    resident_bytes: int
    idle_percent: float


@dataclass(frozen=True)
class Step:
    """A piece of work, in microseconds."""

    name: str
    microseconds: float


@dataclass(frozen=True)
class TelemetryCost:
    """All of it."""

    ways: tuple[Way, ...]
    steps: tuple[Step, ...]
    entry_bytes: tuple[int, int]
    """Of one collection on disk, without and with a drift profile."""


def measure_telemetry(supervisor: Supervisor, folder: Path) -> TelemetryCost:
    """Run a fleet of one node, and time what happens in an agent's threads."""
    settings = FleetSettings(nodes=two_classes(1, 0), audit=False)
    with Fleet(supervisor, folder, settings) as fleet:
        bench = bench_on(fleet)
        bench.roll_out()
        bench.everybody_runs(bench.publish("fp32"))
        (agent,) = fleet.agents.values()
        ways = []
        for name, flags in (
            ("scraped only", ()),
            ("remote write every 30 s", (f"--remote-write={fleet.prometheus.remote_write_url}",)),
            ("remote write, nobody answers", ("--remote-write=http://127.0.0.1:9/write",)),
        ):
            agent.stop()
            agent.flags = flags
            agent.start()
            wait_for("the agent serves the model", lambda: bench.subject.is_served(agent.node))
            _serve(fleet, agent)
            idle = cpu_percent(agent.process.pid, seconds=IDLE_SECONDS)
            ways.append(Way(name, resident_bytes(agent.process.pid), idle))
    return TelemetryCost(tuple(ways), tuple(_steps()), _entries())


def _serve(fleet: Fleet, agent: Agent) -> None:
    with fleet.traffic(NAME, requests_per_second=50) as traffic:
        traffic.add(agent.node, agent.url)
        wait_for("requests are answered", lambda: traffic.report().answered >= REQUESTS)
    time.sleep(SETTLE_SECONDS)


def _steps() -> Iterator[Step]:
    rows, image = _watched((640,)), _watched((3, 224, 224))
    yield Step("for each request: is it to be measured?", _time(rows.meter.takes, 20_000))
    yield Step("measuring a row of 640 numbers", _time(rows.count, 2000))
    yield Step("measuring an image of 3 x 224 x 224", _time(image.count, 500))
    yield Step("scores of ten features, for each scrape or collection", _time(rows.meter.read, 500))
    telemetry = _telemetry(rows.meter)
    sampler = Sampler({"node": "n1", "instance": "n1", "job": "edgecanary-agent"})

    def collect() -> None:
        [sample for family in telemetry.registry.collect() for sample in family.samples]

    def encode() -> None:
        sampler.sample([s for family in telemetry.registry.collect() for s in family.samples], now_ms=1)

    yield Step("collecting one model with drift, in the event loop", _time(collect, 200))
    yield Step("the same with encoding, in a thread", _time(encode, 200))


@dataclass(frozen=True)
class _Watched:
    meter: DriftMeter
    count: Callable[[], None]


def _watched(shape: tuple[int, ...]) -> _Watched:
    random = np.random.default_rng(1)
    io = ModelIO(
        inputs=tuple(TensorSpec(name=name, dtype=DataType.FP32, shape=(-1, *shape)) for name in ("x", "z")),
        outputs=(TensorSpec(name="y", dtype=DataType.FP32, shape=(-1, 10)),),
    )
    inputs = {name: random.normal(size=(60, *shape)).astype(np.float32) for name in ("x", "z")}
    outputs = {"y": random.dirichlet([1] * 10, 60).astype(np.float32)}
    meter = DriftMeter(make_profile(inputs, outputs, io), io)
    feeds, answer = {"x": inputs["x"][:1], "z": inputs["z"][:1]}, {"y": outputs["y"][:1]}
    for _ in range(60):
        meter.count(feeds, answer)
    return _Watched(meter, lambda: meter.count(feeds, answer))


def _telemetry(meter: DriftMeter | None) -> Telemetry:
    telemetry, identity = Telemetry(agent_version="1"), Identity(ModelKey("plant", "pump"), "a" * 64, "2.4.0")
    telemetry.open(identity)
    telemetry.count_request(identity, Outcome.OK, 0.01)
    telemetry.set_drift(identity, meter)
    return telemetry


def _entries() -> tuple[int, int]:
    sizes = []
    for meter in (None, _watched((640,)).meter):
        samples = [s for family in _telemetry(meter).registry.collect() for s in family.samples]
        sizes.append(Sampler({"node": "n1", "instance": "n1", "job": "j"}).sample(samples, now_ms=1).size)
    return sizes[0], sizes[1]


def _time(work: Callable[[], object], times: int) -> float:
    """CPU time of one, in microseconds: the least of five rounds."""
    rounds = []
    for _ in range(5):
        begin = time.thread_time()
        for _ in range(times):
            work()
        rounds.append((time.thread_time() - begin) / times)
    return min(rounds) * 1e6


def section(found: TelemetryCost) -> Sequence[str]:
    """The figures for docs/benchmarks.md."""
    plain, watched = (size * 86_400 / 30 / MIB for size in found.entry_bytes)
    return (
        "## What telemetry costs an agent",
        "",
        f"Resident memory after {REQUESTS} requests, and CPU over {IDLE_SECONDS:.0f} seconds without one; Prometheus",
        "scrapes the agent every second meanwhile.",
        "",
        "| metrics are | resident MiB | percent of one core |",
        "| --- | --- | --- |",
        *(f"| {way.name} | {way.resident_bytes / MIB:.1f} | {way.idle_percent:.2f} |" for way in found.ways),
        "",
        f"A day offline takes {plain:.1f} MiB of disk for a model, {watched:.1f} MiB with a drift profile of ten",
        "features.",
        "",
        "Drift with ten features of two inputs and an output; at most two requests a second are measured, after their",
        "answer.",
        "",
        "| work | microseconds of CPU |",
        "| --- | --- |",
        *(f"| {step.name} | {step.microseconds:.1f} |" for step in found.steps),
        "",
    )


def main() -> int:
    """Measures and prints."""
    folder = Path(tempfile.mkdtemp(prefix="edgecanary-bench-"))
    with Supervisor(folder / "logs") as supervisor:
        sys.stdout.write("\n".join(section(measure_telemetry(supervisor, folder / "fleet"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
