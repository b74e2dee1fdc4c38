"""What comparisons are judged by: an attempt's counts in blocks, and the stable revision's counts before it."""

from dataclasses import dataclass, field

import numpy as np

from edgecanary.analysis.counts import (
    MAX_HISTORY_NODES,
    Blocks,
    ComparisonCounts,
    Flags,
    Floats,
    History,
)
from edgecanary.analysis.query import CountsQuery
from edgecanary.simulator.telemetry import Span, Tally, Telemetry
from edgecanary.simulator.traces import JUDGED, MOST_BAD, Channel

FIRST_BLOCK_SECONDS = 300.0
MOST_BLOCKS = 64
"""With more, two neighbours become one and new ones are twice as long."""


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
    """The counts since an attempt began. It is made at that moment and hears of every span."""

    telemetry: Telemetry
    canary: str
    stable: str
    begin: float
    blocks: list[_Block] = field(default_factory=list)
    length: float = FIRST_BLOCK_SECONDS
    _history: dict[tuple[Channel, int, int], History] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._drift = self.telemetry.traces.drift.copy()
        serves = self.telemetry.serving == self.telemetry.slot(self.stable)
        self._stable_since: Floats = np.where(serves, self.telemetry.since, np.inf)

    def hear(self, span: Span) -> None:
        """Adds a span to the last block, or begins another one."""
        new = self._block_of(span)
        self.blocks = [_padded(block, len(new.canary)) for block in self.blocks]
        if self.blocks and self.blocks[-1].end - self.blocks[-1].begin < self.length - 1e-6:
            self.blocks[-1] = _merged(self.blocks[-1], new)
        else:
            self.blocks.append(new)
        if len(self.blocks) > MOST_BLOCKS:
            self.length *= 2
            pairs = zip(self.blocks[::2], [*self.blocks[1::2], None], strict=False)
            self.blocks = [_merged(first, second) if second else first for first, second in pairs]

    def to_counts(self, query: CountsQuery, channel: Channel) -> ComparisonCounts:
        """What a query for the counts gives now: of nodes whose samples have not arrived, what came before."""
        return ComparisonCounts(
            nodes=tuple(node.name for node in self.telemetry.nodes),
            tick_seconds=float(query.tick_seconds),
            history=self._past(query, channel),
            since=self._since(query.tick_seconds, channel),
        )

    def _since(self, tick_seconds: int, channel: Channel) -> Blocks:
        nodes = len(self.telemetry.nodes)
        self.blocks = [_padded(block, nodes) for block in self.blocks]
        here = [self.telemetry.away_since >= block.end for block in self.blocks]

        def stack(columns: list[Floats]) -> Floats:
            return np.stack(columns, axis=-1) if columns else np.zeros((nodes, 0))

        flags = [block.canary for block in self.blocks]
        return Blocks(
            ticks=np.array([(block.end - block.begin) / tick_seconds for block in self.blocks]),
            canary=np.stack(flags, axis=-1) if flags else np.zeros((nodes, 0), dtype=np.bool_),
            total=stack([b.total[channel] * seen for b, seen in zip(self.blocks, here, strict=True)]),
            bad=stack([b.bad[channel] * seen for b, seen in zip(self.blocks, here, strict=True)]),
            active=stack([b.active * seen / tick_seconds for b, seen in zip(self.blocks, here, strict=True)]),
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

    def _past(self, query: CountsQuery, channel: Channel) -> History:
        """The stable revision's counts before the attempt, drawn once; a node counts since it has had it."""
        key = (channel, query.history_seconds, query.tick_seconds)
        if key not in self._history:
            self._history[key] = self._draw_past(query, channel)
        return self._history[key]

    def _draw_past(self, query: CountsQuery, channel: Channel) -> History:
        telemetry, tick = self.telemetry, float(query.tick_seconds)
        random, nodes = telemetry.traces.random, len(self._stable_since)
        ticks = int(query.history_seconds // tick)
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
