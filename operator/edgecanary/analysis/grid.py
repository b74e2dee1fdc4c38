"""Which moments since the rollout began stay boundaries of blocks: many near the present, few long ago.

The choice depends on the elapsed time and the steps alone, so it is the same after a restart, and a boundary
that was dropped is never wanted again.
"""

import math
from collections.abc import Sequence

MAX_BLOCKS = 24
"""The most blocks that are kept, whatever the length of the rollout."""

EARLY_TICKS = 4
"""Ticks after a step's begin that are a boundary, so that nodes' first answers can be doubted."""

_RECENT_STEPS = 2
_LONGEST = 2**14
_FEWER_LOOKS = 512
_FINE_UNTIL = {1: 32, 2: 64}


def block_edges(elapsed: float, steps: Sequence[float] = ()) -> tuple[float, ...]:
    """Edges of the blocks in ticks since the first step began, from 0 to `elapsed`; at most MAX_BLOCKS blocks.

    `steps` are the begins of later steps on the same clock. All inner edges are whole ticks, so that sums up to
    a closed tick can be kept; only the last block has an open end. A boundary at s stays for a time that grows
    with the power of two that divides s.
    """
    if elapsed <= 0:
        return (0.0,)
    kept = _dyadic(elapsed) | {0.0} | _around_steps(elapsed, steps)
    inner = sorted(edge for edge in kept if edge < elapsed)
    return (*inner, float(elapsed))


def look_edges(elapsed: float) -> tuple[float, ...]:
    """Looks for tests that keep what earlier looks found: 0, 1, 2, 3, 4, 6, 8, 12, 16 … and never dropped.

    From 512 ticks on only powers of two, so that a year of ticks of five minutes has 24 blocks at most. The
    last edge is the last look that is over, so that every look is on a whole tick and the same ever after.
    """
    edges = [0.0]
    power = 1
    while power <= elapsed:
        edges.append(float(power))
        if 2 <= power < _FEWER_LOOKS and 1.5 * power <= elapsed:
            edges.append(1.5 * power)
        power *= 2
    return tuple(edges)


def _dyadic(elapsed: float) -> set[float]:
    """For each power of two its odd multiples within the last few lengths, where so fine a boundary is wanted."""
    kept: set[float] = set()
    power = 1
    while power < elapsed and power <= _LONGEST:
        ages = 4 if power < 16 else 2
        multiple = max(1, math.ceil((elapsed - ages * power) / power))
        while multiple * power < elapsed and multiple * power < _FINE_UNTIL.get(power, math.inf):
            if multiple % 2:
                kept.add(float(multiple * power))
            multiple += 1
        power *= 2
    return kept


def _around_steps(elapsed: float, steps: Sequence[float]) -> set[float]:
    """The first step's early ticks, and begin and early ticks of the last steps."""
    begun = [float(int(step)) for step in sorted(steps) if 0 < step < elapsed]
    last = begun[-_RECENT_STEPS:]
    return {float(EARLY_TICKS), *last, *(step + EARLY_TICKS for step in last)}
