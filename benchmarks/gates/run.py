"""How good are the gates? `make bench-gates`: judges seeded traces by all methods and writes docs/benchmarks-gates.md.

What was finished is kept in the work folder: a run that was stopped goes on where it was. Results of other
code, seeds or settings are never taken.
"""

import argparse
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gates import cells, harness, page
from benchmarks.gates.cells import RUNS, Cell
from edgelab.paths import ROOT


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks/gates/run.py", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / ".logs" / "bench-gates", help="finished cells")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of a cell; the page has {RUNS}")
    parser.add_argument("--cells", default="", help="only cells whose name has this; no page is written")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="folder of the page and its images"
    )
    options = parser.parse_args()
    chosen = [replace(cell, runs=options.runs) for cell in cells.everything() if options.cells in cell.name]
    _judge(chosen, options.work, options.processes)
    if options.cells:
        return 0
    results = {cell.name: harness.results_of(cell, options.work) for cell in chosen}
    page.write(options.output, chosen, results)
    _say(f"written: {options.output / 'benchmarks-gates.md'}")
    return 0


def _judge(chosen: list[Cell], work: Path, processes: int) -> None:
    """Judge what is not finished, the largest cells first."""
    todo = sorted((cell for cell in chosen if not harness.is_done(cell, work)), key=cells.cost, reverse=True)
    _say(f"{len(chosen)} cells, {len(todo)} of them to judge; kept in {work}")
    whole, done, begin = sum(map(cells.cost, todo)), 0.0, time.monotonic()
    # A new process for each few cells gives its memory back.
    with get_context("spawn").Pool(processes, maxtasksperchild=4) as pool:
        for number, cell in enumerate(pool.imap_unordered(_Job(work), todo), 1):
            done += cells.cost(cell)
            left = (time.monotonic() - begin) * (whole - done) / done
            _say(f"[{number}/{len(todo)}] {cell.name}; about {left / 60:.0f} min left")


class _Job:
    """Judges a cell in a process of its own."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._code = harness.CODE

    def __call__(self, cell: Cell) -> Cell:
        if self._code != harness.CODE:
            raise RuntimeError(
                "the gates' code was changed meanwhile; start again: what is not affected stays"
            )
        harness.results_of(cell, self._work)
        return cell


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
