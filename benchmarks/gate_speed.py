"""What one verdict of NegativeBinomial costs, by the size of the fleet: `benchmarks/gate_speed.py [--nodes N …]`.

A rollout after 240 ticks with four steps, the last of half of the nodes, and a history of 576 ticks. All in
memory and in one process: fetching the counts is not part of it.
"""

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgecanary.analysis.baseline import Baseline, learn
from edgecanary.analysis.counts import MAX_HISTORY_NODES, Blocks, Floats, History
from edgecanary.analysis.grid import block_edges
from edgecanary.analysis.negative_binomial import AS_WRITTEN, weigh

SIZES = (100, 1_000, 10_000, 100_000)
STEPS = ((0.0, 0.01), (60.0, 0.1), (120.0, 0.25), (180.0, 0.5))
"""Begin of each step in ticks, and its share of the nodes."""

HISTORY_TICKS = 576
TICKS = 240.0
MIB = 2**20
_TIMES = 9


@dataclass(frozen=True)
class GateSpeed:
    """One size. Milliseconds, the median of several: learning the baseline, and one verdict by all its parts.

    `plain` is the plain statistic alone, without restarts; `peak_bytes` the most memory that a look takes
    beside the counts.
    """

    nodes: int
    learn: float
    verdict: float
    plain: float
    peak_bytes: int


def measure_gates(sizes: Sequence[int] = SIZES) -> list[GateSpeed]:
    """Each size, the smallest first."""
    return [_measure(nodes) for nodes in sorted(sizes)]


def section(found: Sequence[GateSpeed]) -> Iterator[str]:
    """The figures for the page."""
    yield "## One verdict of a comparison"
    yield ""
    yield f"NegativeBinomial after {TICKS:.0f} ticks of a rollout in four steps, with a history of {HISTORY_TICKS}"
    yield "ticks, which at most 500 nodes keep tick by tick. The baseline is learned once for an attempt, a verdict is"
    yield "given at every look. In memory: asking Prometheus is not part of it."
    yield ""
    yield "| nodes | learn, ms | verdict, ms | without restarts, ms | memory of a look, MiB |"
    yield f"|{' --- |' * 5}"
    for one in found:
        cells = (f"{one.nodes:,}", *(f"{value:.1f}" for value in (one.learn, one.verdict, one.plain)))
        yield f"| {' | '.join(cells)} | {one.peak_bytes / MIB:.1f} |"
    yield ""


def _measure(nodes: int) -> GateSpeed:
    random = np.random.Generator(np.random.PCG64(nodes))
    rate, volume = 0.01 * random.gamma(4.0, 0.25, nodes), 100 * np.exp(random.normal(0.0, 0.7, nodes))
    history, blocks = _history(random, rate, volume), _blocks(random, rate, volume)
    baseline = learn(history)
    return GateSpeed(
        nodes,
        _median(lambda: learn(history)),
        _median(lambda: weigh(baseline, blocks)),
        _median(lambda: weigh(baseline, blocks, AS_WRITTEN)),
        _peak(baseline, blocks),
    )


def _history(
    random: np.random.Generator,
    rate: Floats,
    volume: Floats,
) -> History:
    sample = np.arange(min(len(rate), MAX_HISTORY_NODES))
    ticks_total = random.poisson(np.tile(volume[sample, None], HISTORY_TICKS)).astype(np.float64)
    ticks_bad = random.poisson(ticks_total * rate[sample, None]).astype(np.float64)
    total = random.poisson(volume * HISTORY_TICKS).astype(np.float64)
    bad = random.poisson(total * rate).astype(np.float64)
    total[sample], bad[sample] = ticks_total.sum(-1), ticks_bad.sum(-1)
    return History(total, bad, sample, ticks_total, ticks_bad)


def _blocks(
    random: np.random.Generator,
    rate: Floats,
    volume: Floats,
) -> Blocks:
    edges = np.array(block_edges(TICKS, [begin for begin, _ in STEPS[1:]]))
    ticks = np.diff(edges)
    total = random.poisson(volume[:, None] * ticks).astype(np.float64)
    canary = np.zeros(total.shape, np.bool_)
    for begin, share in STEPS:
        canary[: max(1, round(share * len(rate))), np.searchsorted(edges, begin) :] = True
    bad = random.poisson(total * rate[:, None]).astype(np.float64)
    return Blocks(ticks, canary, total, bad, np.minimum(total, ticks))


def _median(run: Callable[[], object]) -> float:
    """Milliseconds."""
    times = []
    for _ in range(_TIMES):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times)


def _peak(baseline: Baseline, blocks: Blocks) -> int:
    tracemalloc.start()
    weigh(baseline, blocks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="benchmarks/gate_speed.py", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, help="sizes of the fleets")
    print("\n".join(section(measure_gates(parser.parse_args().nodes))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
