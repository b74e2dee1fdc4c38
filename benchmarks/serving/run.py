"""Measures the agent's serving beside other servers, and writes docs/benchmarks-agent.md: `make bench-agent`."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.machine import this_machine
from benchmarks.serving import plots
from benchmarks.serving.compare import Cores, compare
from benchmarks.serving.life import measure_life, measure_several
from benchmarks.serving.models import make_models
from benchmarks.serving.page import Figures, page
from benchmarks.serving.servers import environment_of
from benchmarks.serving.swap import measure_swaps
from edgelab.paths import ROOT


def main() -> int:
    """Measures everything; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks/serving/run.py", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks-agent.md", help="the page")
    parser.add_argument("--models", nargs="+", help="only these models")
    options = parser.parse_args()
    # So that the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    models = [model for model in make_models() if model.name in (options.models or [model.name])]
    for peer in ("mlserver", "kserve"):
        environment_of(peer)
    available = sorted(os.sched_getaffinity(0))
    cores = Cores(available[0], available[-1])
    before = os.getloadavg()[0]
    _say("the servers side by side …")
    comparison = compare(models, cores)
    _say("starts and rest …")
    lives, several = measure_life(models[0], cores), measure_several(models[0], cores)
    _say("switches …")
    swaps = measure_swaps(models, cores)
    figures = Figures(comparison, lives, several, swaps, before, os.getloadavg()[0])
    images = options.output.parent / "images"
    images.mkdir(exist_ok=True)
    drawn = (images / "agent-latency.svg", images / "agent-memory.svg")
    plots.latency(comparison, drawn[0])
    plots.memory(comparison, drawn[1])
    relative = [path.relative_to(options.output.parent) for path in drawn]
    options.output.write_text(page(this_machine(), models, figures, relative))
    _say(f"written: {options.output}")
    return 0


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
