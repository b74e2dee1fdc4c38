"""The stretches of time that counts are asked for: pure, so that a restart asks for the same ones again.

All moments are Unix seconds by Prometheus's clock. Counts of closed stretches do not change (but for late
samples) and can be kept; the last stretch ends now.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from edgecanary.analysis.grid import block_edges, look_edges

SAMPLES_PER_STRETCH = 4
"""Samples of a counter that a stretch must be long enough for: an increase needs two, and loses one at an edge."""

MIN_STRETCH_SECONDS = 5
HISTORY_PART_TICKS = 96

_RECENT_STEPS = 2


@dataclass(frozen=True)
class Rhythm:
    """How time is cut: the tick, the shortest stretch and the warm-up, in seconds."""

    tick: int
    shortest: int
    warmup: int


@dataclass(frozen=True)
class Timeline:
    """Edges of the blocks that evidence is weighed in, and of the stretches that are asked for.

    Every block is one stretch or several: nodes that switch within a block count from the next edge after their
    warm-up.
    """

    blocks: tuple[int, ...]
    edges: tuple[int, ...]

    @property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """Begin and end of each stretch."""
        return tuple(zip(self.edges, self.edges[1:], strict=False))


def make_rhythm(tick: int, interval: int, warmup: int, spacing: int) -> Rhythm:
    """Ticks and stretches that are long enough for samples that are `spacing` seconds apart (0: unknown)."""
    needed = max(1, SAMPLES_PER_STRETCH * spacing)
    shortest = max(MIN_STRETCH_SECONDS, min(interval, 60), needed)
    return Rhythm(tick * -(-needed // tick), shortest, warmup)


def sample_spacing(window: int, samples: float) -> int:
    """How far apart samples are when a series has that many in the window, in whole seconds."""
    return max(1, round(window / samples)) if samples > 1 else 0


def cut(start: int, now: int, steps: Sequence[int], rhythm: Rhythm) -> Timeline:
    """The timeline from the attempt's start to now; `steps` are the begins of its later steps."""
    tick = rhythm.tick
    later = [(step - start) / tick for step in steps if start < step < now]
    edges = [start + round(edge * tick) for edge in block_edges((now - start) / tick, later)]
    blocks = [start, *(edge for edge in edges[1:-1] if edge <= now - rhythm.shortest), now]
    return Timeline(tuple(blocks), _with_warm_ups(blocks, steps, rhythm))


def cut_looks(start: int, now: int, steps: Sequence[int], rhythm: Rhythm) -> Timeline:
    """The timeline of looks that stay the same for ever; it ends with the last one. Empty before the first."""
    blocks = [start + round(edge * rhythm.tick) for edge in look_edges((now - start) / rhythm.tick)]
    return Timeline(tuple(blocks), _with_warm_ups(blocks, steps, rhythm))


def history_parts(start: int, seconds: int, tick: int) -> tuple[tuple[int, int], ...]:
    """The history before `start` in parts of whole ticks, the oldest first."""
    ticks = seconds // tick
    parts = []
    end = start
    while ticks > 0:
        length = min(ticks, HISTORY_PART_TICKS)
        parts.append((end - length * tick, end))
        end -= length * tick
        ticks -= length
    return tuple(reversed(parts))


def _with_warm_ups(blocks: Sequence[int], steps: Sequence[int], rhythm: Rhythm) -> tuple[int, ...]:
    """The blocks' edges, and between them moments at which nodes come out of their warm-up."""
    start, end = blocks[0], blocks[-1]
    ordered = list(blocks)
    for edge in _after_steps((start, *(step for step in steps if start < step < end)), end, rhythm):
        place = bisect_left(ordered, edge)
        below, above = ordered[place - 1], ordered[min(place, len(ordered) - 1)]
        if edge - below >= rhythm.shortest and above - edge >= rhythm.shortest:
            ordered.insert(place, edge)
    return tuple(ordered)


def _after_steps(begun: Sequence[int], end: int, rhythm: Rhythm) -> list[int]:
    """Moments after each step, dense at first, then ever rarer."""
    found = []
    for position, step in enumerate(begun):
        until = begun[position + 1] if position + 1 < len(begun) else end
        growth = 1.5 if position >= len(begun) - _RECENT_STEPS else 4.0
        span = float(rhythm.shortest)
        while (edge := step + rhythm.warmup + round(span)) < until:
            found.append(edge)
            span *= growth
    return found
