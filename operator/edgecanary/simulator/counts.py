"""What comparisons are judged by: an attempt's counts in blocks, and the stable revision's counts before it."""

import math
from dataclasses import dataclass, field

import numpy as np

from edgecanary.analysis.counting import tick_seconds
from edgecanary.analysis.counts import (
    MAX_HISTORY_NODES,
    Blocks,
    ComparisonCounts,
    Flags,
    Floats,
    History,
)
from edgecanary.analysis.grid import block_edges, look_edges
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.analysis.timeline import Rhythm, Timeline, cut, cut_looks, make_rhythm
from edgecanary.api.analysis import Analysis
from edgecanary.simulator.clockwork import seconds_at
from edgecanary.simulator.telemetry import Span, Tally, Telemetry
from edgecanary.simulator.traces import JUDGED, MOST_BAD, Channel

SCRAPE_SECONDS = 15
"""How far apart the samples of a node are."""

_SAME = 1e-6
_LATEST_TICKS = 2
"""Boundaries that are kept in any case: a step that begins now has one at the last whole tick."""


def tick_of(analysis: Analysis) -> float:
    """The tick that comparisons of this analysis are counted on, in seconds."""
    asked = tick_seconds(analysis.history_seconds, analysis.interval_seconds)
    return float(make_rhythm(asked, analysis.interval_seconds, 0, SCRAPE_SECONDS).tick)


@dataclass
class _Block:
    begin: float
    end: float
    canary: Flags
    total: dict[Channel, Floats]
    bad: dict[Channel, Floats]
    active: Floats
    """Seconds in which the node had events."""


@dataclass
class AttemptCounts:
    """The counts since an attempt began. It is made at that moment and hears of every span.

    Time is cut as the product cuts it: into ticks of `tick` seconds, of which `analysis.grid` says which stay
    boundaries of blocks.
    """

    telemetry: Telemetry
    canary: str
    stable: str
    begin: float
    tick: float
    blocks: list[_Block] = field(default_factory=list)
    _steps: list[tuple[int, float]] = field(default_factory=list)
    """Later steps: the index, and the begin in ticks."""
    _history: dict[tuple[Channel, int, int], History] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._drift = self.telemetry.traces.drift.copy()
        serves = self.telemetry.serving == self.telemetry.slot(self.stable)
        self._stable_since: Floats = np.where(serves, self.telemetry.since, np.inf)

    def begin_step(self, index: int, now: float) -> None:
        """A step begins, unless it had begun before."""
        if index > max((known for known, _ in self._steps), default=0):
            self._steps.append((index, self._ticks(now)))

    def next_edge(self, now: float) -> float:
        """The next moment at which a span must end."""
        return self.begin + (math.floor(self._ticks(now) + _SAME) + 1) * self.tick

    def hear(self, span: Span) -> None:
        """Adds a span; boundaries that are not wanted any more go."""
        self.blocks = [_padded(block, len(self.telemetry.nodes)) for block in self.blocks]
        blocks, kept = [self._block_of(span)], self._kept(span.end)
        for block in reversed(self.blocks):
            if self._is_one_of(kept, block.end):
                blocks.append(block)
            else:
                blocks[-1] = _merged(block, blocks[-1])
        self.blocks = blocks[::-1]

    def to_counts(self, query: CountsQuery, channel: Channel) -> ComparisonCounts | QueryError:
        """What a query for the counts gives now: of nodes whose samples have not arrived, what came before."""
        rhythm = make_rhythm(query.tick_seconds, query.interval_seconds, query.warmup_seconds, SCRAPE_SECONDS)
        timeline = self._timeline(query, rhythm)
        if not timeline.stretches:
            return QueryError("CountsIncomplete", "the first look of this method is still to come")
        return ComparisonCounts(
            nodes=tuple(node.name for node in self.telemetry.nodes),
            tick_seconds=float(rhythm.tick),
            history=self._past(channel, query.history_seconds, rhythm.tick),
            since=self._since(timeline, rhythm.tick, channel),
        )

    def _ticks(self, moment: float) -> float:
        return (moment - self.begin) / self.tick

    def _kept(self, now: float) -> set[int]:
        """The ticks that stay boundaries, for both kinds of methods."""
        elapsed = self._ticks(now)
        edges = {*block_edges(elapsed, [begin for _, begin in self._steps])[:-1], *look_edges(elapsed)}
        last = math.floor(elapsed + _SAME)
        return {*map(int, edges), *range(last - _LATEST_TICKS, last + 1)}

    def _is_one_of(self, kept: set[int], moment: float) -> bool:
        ticks = self._ticks(moment)
        return abs(ticks - round(ticks)) < _SAME and round(ticks) in kept

    def _timeline(self, query: CountsQuery, rhythm: Rhythm) -> Timeline:
        """The blocks that the product would ask for now, in seconds since the attempt began."""
        now = int(self.telemetry.done - self.begin)
        if now <= 0:
            return Timeline((0,), (0,))
        steps = [int(seconds_at(step) - self.begin) for step in query.step_times[1:]]
        return (cut_looks if query.fixed_looks else cut)(0, now, steps, rhythm)

    def _since(self, timeline: Timeline, tick_seconds: int, channel: Channel) -> Blocks:
        """The counts in the timeline's blocks; of a node that switched within one only the canary's stay."""
        nodes = len(self.telemetry.nodes)
        blocks = [_padded(block, nodes) for block in self.blocks]
        ends = np.array([block.end for block in blocks]) - self.begin
        inner = np.searchsorted(ends, np.array(timeline.blocks[1:]) - _SAME)
        last = min(int(inner[-1]), len(blocks) - 1)
        firsts = np.unique(np.array([0, *(place + 1 for place in inner[:-1] if place < last)]))
        blocks = blocks[: last + 1]
        here = np.stack([self.telemetry.away_since >= block.end for block in blocks], axis=-1)
        flags = np.stack([block.canary for block in blocks], axis=-1)
        canary = np.logical_or.reduceat(flags, firsts, axis=-1)
        of_block = np.repeat(canary, np.diff([*firsts, len(blocks)]), axis=-1)
        counted = here & (flags | ~of_block)

        def summed(columns: list[Floats]) -> Floats:
            found: Floats = np.add.reduceat(np.stack(columns, axis=-1) * counted, firsts, axis=-1)
            return found

        begins = np.array([block.begin for block in blocks])[firsts]
        return Blocks(
            ticks=np.diff(np.append(begins, blocks[-1].end)) / tick_seconds,
            canary=canary,
            total=summed([block.total[channel] for block in blocks]),
            bad=summed([block.bad[channel] for block in blocks]),
            active=summed([block.active / tick_seconds for block in blocks]),
        )

    def _block_of(self, span: Span) -> _Block:
        """A span as a block: a node that had the canary in it counts for the canary alone, warm-up left out."""
        telemetry, zeros = self.telemetry, np.zeros(len(self.telemetry.nodes))
        new, old = telemetry.slot(self.canary), telemetry.slot(self.stable)
        empty = {channel: Tally(zeros, zeros) for channel in telemetry.channels}
        canary, warm = span.all.get(new, empty), span.warm.get(new, empty)
        stable, stable_warm = span.all.get(old, empty), span.warm.get(old, empty)
        switched = telemetry.serving == new
        flags = switched | (canary[telemetry.channels[0]].total > 0)
        total, bad = {}, {}
        for channel in telemetry.channels:
            total[channel] = np.where(
                flags, canary[channel].total - warm[channel].total,
                stable[channel].total - stable_warm[channel].total,
            )  # fmt: skip
            bad[channel] = np.where(
                flags, canary[channel].bad - warm[channel].bad, stable[channel].bad - stable_warm[channel].bad
            )
        active = np.where(total[telemetry.channels[0]] > 0, span.end - span.begin, 0.0)
        return _Block(span.begin, span.end, flags, total, bad, active)

    def _past(self, channel: Channel, seconds: int, tick: int) -> History:
        """The stable revision's counts before the attempt, drawn once; a node counts since it has had it."""
        key = (channel, seconds, tick)
        if key not in self._history:
            self._history[key] = self._draw_past(channel, int(seconds // tick), float(tick))
        return self._history[key]

    def _draw_past(self, channel: Channel, ticks: int, tick: float) -> History:
        telemetry = self.telemetry
        random, nodes = telemetry.traces.random, len(self._stable_since)
        sample = np.sort(random.permutation(nodes)[:MAX_HISTORY_NODES]).astype(np.int64)
        total, bad = np.zeros(nodes), np.zeros(nodes)
        ticks_total, ticks_bad = np.zeros((len(sample), ticks)), np.zeros((len(sample), ticks))
        base = telemetry.chance(telemetry.slot(self.stable), channel, self.begin)[:nodes]
        for back, weather in enumerate(telemetry.traces.past(self._drift, self.begin, ticks, tick)):
            served = self._stable_since <= self.begin - (back + 1) * tick
            count = random.poisson(weather.volume[:nodes] * tick * served)
            if channel in JUDGED:
                count = random.binomial(count, telemetry.traffic.feedback)
            wrong = random.binomial(count, np.minimum(base * weather.factor[:nodes], MOST_BAD))
            total += count
            bad += wrong
            ticks_total[:, ticks - 1 - back], ticks_bad[:, ticks - 1 - back] = count[sample], wrong[sample]
        missing = len(telemetry.nodes) - nodes
        pad = np.zeros(missing)
        return History(
            total=np.append(total, pad),
            bad=np.append(bad, pad),
            sample=sample,
            ticks_total=ticks_total,
            ticks_bad=ticks_bad,
        )


def _padded(block: _Block, nodes: int) -> _Block:
    """The block with zeros for nodes that joined after it."""
    missing = nodes - len(block.canary)
    if missing == 0:
        return block
    zeros = np.zeros(missing)
    return _Block(
        begin=block.begin,
        end=block.end,
        canary=np.append(block.canary, zeros.astype(np.bool_)),
        total={channel: np.append(item, zeros) for channel, item in block.total.items()},
        bad={channel: np.append(item, zeros) for channel, item in block.bad.items()},
        active=np.append(block.active, zeros),
    )


def _merged(first: _Block, second: _Block) -> _Block:
    """Two neighbours as one; of a node that switched between them only the canary's counts stay."""
    flags, none = first.canary | second.canary, np.zeros(len(first.canary))
    keep_first, keep_second = ~flags | first.canary, ~flags | second.canary

    def both(one: Floats, other: Floats) -> Floats:
        return np.asarray(one * keep_first + other * keep_second, dtype=np.float64)

    return _Block(
        begin=first.begin,
        end=second.end,
        canary=flags,
        total={name: both(first.total.get(name, none), item) for name, item in second.total.items()},
        bad={name: both(first.bad.get(name, none), item) for name, item in second.bad.items()},
        active=both(first.active, second.active),
    )
