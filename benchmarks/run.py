"""Measures, and writes docs/benchmarks.md: `make bench`, or with other sizes `make bench ARGS="--nodes 12 50"`.

`make bench ARGS="--only deltas"` measures one section and leaves the rest of the page as it is.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import delta_sizes, gate_speed, plan_speed, simulator_speed
from benchmarks.agent_cost import measure_agent
from benchmarks.fleet_cost import measure_fleet
from benchmarks.machine import this_machine
from benchmarks.page import Node, Pure, page, with_section
from benchmarks.self_revert import measure_self_revert
from benchmarks.telemetry_cost import measure_telemetry
from edgelab.paths import ROOT
from edgelab.processes import Supervisor

NODES = (12, 50, 100)


SECTIONS: dict[str, Callable[[], Iterable[str]]] = {
    "deltas": lambda: delta_sizes.section(delta_sizes.measure_deltas()),
    "gates": lambda: gate_speed.section(gate_speed.measure_gates()),
    "plans": lambda: plan_speed.section(plan_speed.measure_plans()),
    "simulator": lambda: simulator_speed.section(simulator_speed.measure_simulator()),
}
"""Sections that need nothing but themselves."""


def main() -> int:
    """Measures everything; the exit code. The logs stay when something goes wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES, help="sizes of the fleets")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md", help="the page")
    parser.add_argument("--only", choices=sorted(SECTIONS), help="measure and write this section alone")
    options = parser.parse_args()
    if options.only:
        lines = SECTIONS[options.only]()
        options.output.write_text(with_section(options.output.read_text(), lines))
        return 0
    # Without compiled files every process compiles its modules anew, which costs memory and time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = Path(tempfile.mkdtemp(prefix="edgecanary-bench-"))
    print(f"logs: {folder}", flush=True)
    with Supervisor(folder / "agent-logs") as supervisor:
        _say("one agent: memory and idle CPU")
        agent = measure_agent(supervisor, folder / "agent")
    _say("one agent without a network: how fast it goes back")
    reverting = measure_self_revert(folder / "revert")
    with Supervisor(folder / "telemetry-logs") as supervisor:
        _say("one agent: remote write and drift")
        telemetry = measure_telemetry(supervisor, folder / "telemetry")
    fleets = []
    for nodes in options.nodes:
        with Supervisor(folder / f"{nodes}-logs") as supervisor:
            _say(f"a fleet of {nodes}: writes and taking back")
            fleets.append(measure_fleet(supervisor, folder / f"{nodes}", nodes))
    _say("plans, verdicts, the simulator and deltas")
    pure = Pure(
        plan_speed.measure_plans(),
        gate_speed.measure_gates(),
        simulator_speed.measure_simulator(),
        delta_sizes.measure_deltas(),
    )
    options.output.write_text(page(this_machine(), Node(agent, telemetry, reverting), fleets, pure))
    shutil.rmtree(folder, ignore_errors=True)
    _say(f"written: {options.output}")
    return 0


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
