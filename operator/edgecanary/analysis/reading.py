"""From what Prometheus says of single stretches of time to the counts that a comparison is judged by."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecanary.analysis.counts import MAX_HISTORY_NODES, Blocks, ComparisonCounts, Floats, History
from edgecanary.analysis.timeline import Rhythm, Timeline


@dataclass(frozen=True)
class Side:
    """One revision's events in a stretch, per node; `present` is in how many samples it was seen."""

    total: Floats
    bad: Floats
    present: Floats


@dataclass(frozen=True)
class Reading:
    """What was counted in one stretch. `first` is the time of each node's first canary sample, else infinite."""

    canary: Side
    stable: Side
    first: Floats


@dataclass(frozen=True)
class HistoryReading:
    """The stable revision's events before the attempt: sums of all nodes, ticks of some (nodes, ticks)."""

    total: Floats
    bad: Floats
    sample: tuple[int, ...]
    ticks_total: Floats
    ticks_bad: Floats


def assemble(
    nodes: Sequence[str],
    timeline: Timeline,
    readings: Sequence[Reading],
    history: HistoryReading,
    rhythm: Rhythm,
) -> ComparisonCounts:
    """The counts of all nodes, in the order of their names.

    A node counts for the canary from the first edge after its warm-up on; what it did between its switch and
    that edge counts for nobody.
    """
    order = in_order(nodes)
    size = len(nodes)
    starts = np.array(timeline.edges[:-1], dtype=np.float64)
    first = np.full(size, np.inf)
    for reading in readings:
        first = np.minimum(first, padded(reading.first, size, np.inf))
    begin = _next_edge(first + rhythm.warmup, starts)
    place = np.searchsorted(np.array(timeline.blocks), starts, side="right") - 1
    ends = np.array(timeline.blocks[1:], dtype=np.float64)
    canary = first[:, None] < ends
    total, bad, active = (np.zeros((size, len(ends))) for _ in range(3))
    for number, reading in enumerate(readings):
        block = int(place[number])
        length = (timeline.edges[number + 1] - timeline.edges[number]) / rhythm.tick
        most = max(reading.canary.present.max(initial=0.0), reading.stable.present.max(initial=0.0))
        for side, counted in (
            (reading.canary, canary[:, block] & (starts[number] >= begin)),
            (reading.stable, ~canary[:, block]),
        ):
            total[:, block] += np.where(counted, padded(side.total, size), 0.0)
            bad[:, block] += np.where(counted, padded(side.bad, size), 0.0)
            present = np.where(counted, padded(side.present, size), 0.0)
            active[:, block] += length * present / most if most > 0 else 0.0
    active = np.minimum(active, np.ceil(total))
    since = Blocks(
        ticks=np.diff(np.array(timeline.blocks, dtype=np.float64)) / rhythm.tick,
        canary=canary[order],
        total=total[order],
        bad=bad[order],
        active=active[order],
    )
    names = tuple(nodes[position] for position in order)
    return ComparisonCounts(names, float(rhythm.tick), to_history(history, order), since)


def choose_sample(nodes: Sequence[str], seed: str) -> tuple[int, ...]:
    """Positions of the nodes whose history is kept tick by tick: all, or a part that the seed alone decides."""
    if len(nodes) <= MAX_HISTORY_NODES:
        return tuple(range(len(nodes)))
    ranked = sorted(range(len(nodes)), key=lambda number: _rank(seed, nodes[number]))
    return tuple(sorted(ranked[:MAX_HISTORY_NODES]))


def padded(values: Floats, size: int, filler: float = 0.0) -> Floats:
    """The values, with the filler for nodes that were not known yet when they were read."""
    if len(values) >= size:
        return values
    return np.concatenate([values, np.full(size - len(values), filler)])


def _next_edge(moments: Floats, starts: Floats) -> Floats:
    """The first begin of a stretch that is not before each moment; infinite where there is none yet."""
    place = np.searchsorted(starts, moments, side="left")
    return np.append(starts, np.inf)[place]


def in_order(nodes: Sequence[str]) -> list[int]:
    """The nodes' positions in the order of their names."""
    return sorted(range(len(nodes)), key=nodes.__getitem__)


def to_history(history: HistoryReading, order: Sequence[int]) -> History:
    """What was read as the history of nodes in that order of their positions."""
    size = len(order)
    total, bad = padded(history.total, size).copy(), padded(history.bad, size).copy()
    sample = list(history.sample)
    if history.ticks_total.shape[-1]:
        # One way of counting for both: increases of long and of short windows differ a little.
        total[sample] = history.ticks_total.sum(-1)
        bad[sample] = history.ticks_bad.sum(-1)
    moved = np.empty(size, dtype=np.int64)
    moved[list(order)] = np.arange(size)
    rows = np.argsort(moved[sample])
    return History(
        total[order], bad[order], moved[sample][rows], history.ticks_total[rows], history.ticks_bad[rows]
    )


def _rank(seed: str, node: str) -> bytes:
    return hashlib.sha256(f"{seed}/{node}".encode()).digest()
