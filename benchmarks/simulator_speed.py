"""How long the simulator takes for a fleet and a number of simulated days.

By itself: `python benchmarks/simulator_speed.py [--nodes 100 1000 10000] [--days 30]`.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgecanary.api.rollout import Rollout
from edgecanary.simulator.fleet import draw_fleet
from edgecanary.simulator.runs import Case, play
from edgecanary.simulator.settings import FleetSettings, Version

SIZES = (100, 1_000, 10_000)
DAYS = 30.0
SPEC = {
    "modelRef": {"name": "pump"},
    "strategy": {
        "stratifyBy": ["hardware"],
        "maxFailedNodes": 1000,
        "stepDeadlineSeconds": 604_800,
        "steps": [
            {"name": "first", "percent": 1, "bakeSeconds": 43_200},
            {"name": "tenth", "percent": 10, "bakeSeconds": 43_200},
            {"name": "half", "percent": 50, "bakeSeconds": 43_200},
            {"name": "all", "percent": 100, "bakeSeconds": 43_200},
        ],
    },
    "analysis": {
        "prometheus": {"url": "http://prometheus.monitoring:9090"},
        "intervalSeconds": 1800,
        "metrics": [
            {"name": "errors", "preset": "ErrorRate", "comparison": {"method": "NegativeBinomial"}},
            {"name": "accuracy", "preset": "Accuracy", "threshold": {"min": "0.8"}, "minSamples": 200},
        ],
    },
}


@dataclass(frozen=True)
class Speed:
    """What one run took. `looks` is how often the operator planned."""

    nodes: int
    days: float
    seconds: float
    looks: int
    outcome: str


def measure(nodes: int, days: float = DAYS, seed: int = 1) -> Speed:
    """One rollout of a good version, and what is left of the days with nodes that come and go."""
    settings = FleetSettings(nodes=nodes)
    rollout = Rollout.model_validate({"metadata": {"name": "pump", "namespace": "plant"}, "spec": SPEC})
    case = Case(rollout, draw_fleet(settings, seed), settings, Version("2.0.0"), days)
    begin = time.perf_counter()
    result, simulation = play(case, seed, whole=True)
    seconds = time.perf_counter() - begin
    return Speed(nodes, days, seconds, simulation.operator.looks, f"{result.outcome} ({result.reason})")


def measure_simulator(sizes: Sequence[int] = SIZES) -> list[Speed]:
    """Each size, the smallest first."""
    return [measure(nodes) for nodes in sorted(sizes)]


def section(found: Sequence[Speed]) -> Iterator[str]:
    """The figures for the page."""
    yield "## The simulator"
    yield ""
    yield f"Seconds for {DAYS:.0f} simulated days: a good version in four steps, two gates, nodes that come and go."
    yield ""
    yield "| nodes | seconds | looks | outcome |"
    yield f"|{' --- |' * 4}"
    for one in found:
        yield f"| {one.nodes:,} | {one.seconds:.1f} | {one.looks:,} | {one.outcome} |"
    yield ""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, help="sizes of the fleets")
    parser.add_argument("--days", type=float, default=DAYS, help="simulated days")
    options = parser.parse_args()
    for nodes in options.nodes:
        found = measure(nodes, options.days)
        print(
            f"{nodes:>7} nodes, {found.days:g} days: {found.seconds:6.1f} s, {found.looks} looks, {found.outcome}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
