"""Counts of events per node, which comparisons judge: what was before the rollout, and what was since.

The last two axes are nodes and time. Further axes in front are allowed everywhere and mean independent
fleets, so that thousands of them can be judged at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

MAX_HISTORY_NODES = 500
"""Nodes whose history is kept tick by tick to learn the dispersion from; of all others only sums are kept."""


@dataclass(frozen=True)
class History:
    """Events of the stable revision before the rollout.

    `total` and `bad` are sums per node, shape (..., nodes). `ticks_total` and `ticks_bad` are the same tick
    by tick, oldest first, for the nodes in `sample` (positions in the nodes' order), shape (..., sample,
    ticks); a tick without samples counts as 0 of 0.
    """

    total: Floats
    bad: Floats
    sample: Indices
    ticks_total: Floats
    ticks_bad: Floats


@dataclass(frozen=True)
class Blocks:
    """Events since the rollout began, summed over consecutive blocks of time, oldest first.

    `ticks` is each block's length in ticks, shape (blocks,); it need not be whole. `canary` says whose block
    counts for the canary revision: from the node's switch on, warm-up left out; a block in which a node
    switched holds its canary counts only. All others count for the stable revision. Shapes (..., nodes,
    blocks). `active` is in how many ticks of the block the node had events.
    """

    ticks: Floats
    canary: Flags
    total: Floats
    bad: Floats
    active: Floats


@dataclass(frozen=True)
class ComparisonCounts:
    """All that a comparison of one metric is judged by. `nodes` gives the order of the node axis."""

    nodes: tuple[str, ...]
    tick_seconds: float
    history: History
    since: Blocks
