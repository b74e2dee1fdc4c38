"""What the nodes count, and what of it has arrived: spans of time in which each node answered with a revision."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from edgecanary.analysis.counts import Floats, Indices
from edgecanary.simulator.fleet import NodeTraits
from edgecanary.simulator.settings import HOUR, Traffic, Version
from edgecanary.simulator.traces import JUDGED, MOST_BAD, Channel, Traces, Weather

NOTHING = -1
WINDOW_SECONDS = 3600.0
"""For how long single spans are kept: the longest window that a query looks back on."""

MOST_SPANS = 120
"""With more of them, the older half is joined two by two."""

SPAN_SECONDS = 900.0
LONG_SECONDS = 6 * HOUR
"""A span is at most so long; a long time in which nobody looked is passed in longer ones."""


@dataclass(frozen=True)
class Tally:
    """What one revision's nodes counted in a span: answers that count for a channel, and the bad ones."""

    total: Floats
    bad: Floats

    @cached_property
    def sums(self) -> tuple[float, float]:
        """Both over all nodes."""
        return float(self.total.sum()), float(self.bad.sum())


@dataclass(frozen=True)
class Span:
    """One span of time. `warm` tallies are those of nodes that have just switched; `all` has them too."""

    begin: float
    end: float
    all: dict[int, dict[Channel, Tally]]
    warm: dict[int, dict[Channel, Tally]]


@dataclass
class Harm:
    """What a revision did in all: bad answers, and how many the one before would have given."""

    bad: float = 0.0
    expected: float = 0.0
    answers: float = 0.0


@dataclass
class _Behaviour:
    times: Floats
    onset: float


@dataclass
class Telemetry:
    """The counts of a fleet. `channels` are those that are counted."""

    traffic: Traffic
    nodes: list[NodeTraits]
    traces: Traces
    channels: tuple[Channel, ...] = (Channel.ERROR,)
    warmup_seconds: float = 0.0
    harm: dict[str, Harm] = field(default_factory=dict)
    spans: deque[Span] = field(default_factory=deque)
    _slots: dict[str, int] = field(default_factory=dict)
    _behaviours: list[_Behaviour] = field(default_factory=list)
    _changes: list[tuple[float, int, int]] = field(default_factory=list)
    _follower: "SpanListener | None" = None
    _windows: dict[tuple[str, Channel, float], tuple[float, float]] = field(default_factory=dict)
    """Sums that were asked for since the last span or the last node that went or came."""

    def __post_init__(self) -> None:
        count = len(self.nodes)
        self.done = 0.0
        self.serving: Indices = np.full(count, NOTHING, dtype=np.int64)
        self.since: Floats = np.zeros(count)
        self.away_since: Floats = np.full(count, np.inf)
        """Since when a node's samples have not arrived; infinity while they do."""

    def follow(self, listener: "SpanListener | None") -> None:
        """Has one listener hear of every span that is over."""
        self._follower = listener

    def count(self, asked: Iterable[Channel], warmup_seconds: float) -> None:
        """From now on counts these channels, and errors in any case."""
        self.channels = tuple(channel for channel in Channel if channel in {Channel.ERROR, *asked})
        self.warmup_seconds = warmup_seconds

    def add(self, traits: NodeTraits) -> None:
        """A node joins."""
        self.advance(self.done)
        self.nodes.append(traits)
        self.traces.add()
        self.serving = np.append(self.serving, NOTHING)
        self.since = np.append(self.since, 0.0)
        self.away_since = np.append(self.away_since, np.inf)
        for behaviour in self._behaviours:
            behaviour.times = np.append(behaviour.times, 1.0)
        self.spans = deque(_with_one_more(span) for span in self.spans)

    def slot(self, revision: str) -> int:
        """The revision's number in the arrays."""
        return self._slots[revision]

    def describe(self, revision: str, version: Version, now: float) -> None:
        """From now on the revision may be served; it behaves as the version says."""
        if revision in self._slots:
            return
        self._slots[revision] = len(self._behaviours)
        worse = version.regression
        hit = [
            (worse.on is None or node.facts.labels.get(worse.on[0]) == worse.on[1])
            and node.luck(f"{revision}/worse") < worse.share
            for node in self.nodes
        ]
        times = np.where(np.array(hit, dtype=np.bool_), worse.times, 1.0)
        self._behaviours.append(_Behaviour(times, now + worse.from_seconds))
        self.harm[revision] = Harm()

    def times(self, revision: str, node: int, now: float) -> float:
        """By what the revision's bad events are more frequent on the node now."""
        behaviour = self._behaviours[self._slots[revision]]
        return float(behaviour.times[node]) if now >= behaviour.onset else 1.0

    def serves(self, node: int, revision: str | None, now: float) -> None:
        """The node serves another revision from now on."""
        self._changes.append((now, node, NOTHING if revision is None else self._slots[revision]))

    def remember(self, since: float) -> None:
        """What is served now has been served since that moment, before the simulation began."""
        self._apply()
        self.since[:] = since

    def goes(self, node: int, now: float) -> None:
        """From now on the node's samples wait on the node."""
        self.away_since[node] = min(self.away_since[node], now)
        self._windows.clear()

    def returns(self, node: int) -> None:
        """The samples that waited arrive, with the times at which they were counted."""
        self.away_since[node] = np.inf
        self._windows.clear()

    def advance(self, now: float) -> None:
        """Counts up to now."""
        longest = SPAN_SECONDS if now - self.done <= 4 * LONG_SECONDS else LONG_SECONDS
        onsets = [item.onset for item in self._behaviours]
        while self.done < now:
            edges = [self._follower.next_edge(self.done)] if self._follower is not None else []
            end = min(now, self.done + longest, *edges, *(onset for onset in onsets if onset > self.done))
            self._pass(end)
        self._apply()

    def window(self, revision: str, channel: Channel, begin: float) -> tuple[float, float]:
        """Answers that count for a channel and bad ones, since `begin`, of the samples that have arrived."""
        key = (revision, channel, begin)
        if key not in self._windows:
            self._windows[key] = self._sum_up(revision, channel, begin)
        return self._windows[key]

    def _sum_up(self, revision: str, channel: Channel, begin: float) -> tuple[float, float]:
        slot, total, bad = self._slots.get(revision, NOTHING), 0.0, 0.0
        away = np.flatnonzero(np.isfinite(self.away_since))
        for span in self.spans:
            tally = span.all.get(slot, {}).get(channel)
            if tally is None or span.end <= begin:
                continue
            part = min(1.0, (span.end - begin) / (span.end - span.begin))
            all_total, all_bad = tally.sums
            late = away[self.away_since[away] < span.end] if len(away) else away
            total += part * (all_total - float(tally.total[late].sum()) if len(late) else all_total)
            bad += part * (all_bad - float(tally.bad[late].sum()) if len(late) else all_bad)
        return total, bad

    def _apply(self) -> None:
        """Takes in changes at the very end of what is counted."""
        for moment, node, slot in self._changes:
            self.serving[node], self.since[node] = slot, moment
        self._changes.clear()

    def _pass(self, end: float) -> None:
        begin = self.done
        weather = self.traces.pass_span(begin, end)
        exposure = {
            int(slot): np.where(self.serving == slot, end - begin, 0.0)
            for slot in np.unique(self.serving)
            if slot != NOTHING
        }
        warm = self._warm(begin, end)
        later = [change for change in self._changes if change[0] >= end]
        for moment, node, slot in self._changes[: len(self._changes) - len(later)]:
            self._switch(exposure, warm, moment=moment, node=node, slot=slot, end=end)
        self._changes = later
        span = Span(begin, end, {}, {})
        for slot, seconds in exposure.items():
            brief = np.minimum(seconds, warm)
            span.all[slot] = self._tally(slot, seconds - brief, weather, end)
            if brief.any():
                span.warm[slot] = self._tally(slot, brief, weather, end)
                span.all[slot] = _sum(span.all[slot], span.warm[slot])
            self._add_harm(slot, span.all[slot], weather)
        self.done = end
        self._keep(span)

    def _warm(self, begin: float, end: float) -> Floats:
        """How much of the span lies within each node's warm-up."""
        return np.clip(np.minimum(end, self.since + self.warmup_seconds) - begin, 0.0, None)

    def _switch(
        self, exposure: dict[int, Floats], warm: Floats, *, moment: float, node: int, slot: int, end: float
    ) -> None:
        left, before = end - moment, int(self.serving[node])
        if before != NOTHING:
            exposure[before][node] -= left
        if slot != NOTHING:
            exposure.setdefault(slot, np.zeros(len(self.nodes)))[node] += left
        warm[node] = min(left, self.warmup_seconds)
        self.serving[node], self.since[node] = slot, moment

    def _tally(self, slot: int, seconds: Floats, weather: Weather, end: float) -> dict[Channel, Tally]:
        """What nodes that served a revision for so long counted."""
        who = np.flatnonzero(seconds > 1e-9)
        answers = self.traces.random.poisson(seconds[who] * weather.volume[who])
        found = {}
        for channel in self.channels:
            counted = answers
            if channel in JUDGED:
                counted = self.traces.random.binomial(answers, self.traffic.feedback)
            chance = np.minimum(self.chance(slot, channel, end)[who] * weather.factor[who], MOST_BAD)
            total, bad = np.zeros(len(self.nodes)), np.zeros(len(self.nodes))
            total[who] = counted
            bad[who] = self.traces.random.binomial(counted, chance)
            found[channel] = Tally(total, bad)
        return found

    def chance(self, slot: int, channel: Channel, end: float) -> Floats:
        """How often the nodes' answers with a revision are bad, noise left out."""
        behaviour, base = self._behaviours[slot], self.traces.base[channel]
        return base * behaviour.times if end > behaviour.onset else base

    def _add_harm(self, slot: int, tallies: dict[Channel, Tally], weather: Weather) -> None:
        harm = list(self.harm.values())[slot]
        harm.answers += float(tallies[self.channels[0]].total.sum())
        for channel, tally in tallies.items():
            usual = np.minimum(self.traces.base[channel] * weather.factor, MOST_BAD)
            harm.bad += float(tally.bad.sum())
            harm.expected += float((tally.total * usual).sum())

    def _keep(self, span: Span) -> None:
        self.spans.append(span)
        self._windows.clear()
        while self.spans and self.spans[0].end <= span.end - WINDOW_SECONDS:
            self.spans.popleft()
        if len(self.spans) > MOST_SPANS:
            older = [self.spans.popleft() for _ in range(MOST_SPANS // 2)]
            self.spans.extendleft(_joined(*pair) for pair in zip(older[-2::-2], older[-1::-2], strict=True))
        if self._follower is not None:
            self._follower.hear(span)


class SpanListener(Protocol):
    """Hears of every span that is over, and says where spans must end."""

    def next_edge(self, now: float) -> float:
        """The first moment after `now` at which a span must end."""
        ...

    def hear(self, span: Span) -> None:
        """Takes in a span."""
        ...


def _with_one_more(span: Span) -> Span:
    """The span with nothing counted on a node that joined after it."""
    longer = {
        slot: {
            channel: Tally(np.append(tally.total, 0.0), np.append(tally.bad, 0.0))
            for channel, tally in tallies.items()
        }
        for slot, tallies in span.all.items()
    }
    return Span(span.begin, span.end, longer, {})


def _joined(first: Span, second: Span) -> Span:
    slots = first.all.keys() | second.all.keys()
    both = {slot: [part.all[slot] for part in (first, second) if slot in part.all] for slot in slots}
    return Span(
        first.begin,
        second.end,
        {slot: found[0] if len(found) == 1 else _sum(*found) for slot, found in both.items()},
        {},
    )


def _sum(some: dict[Channel, Tally], more: dict[Channel, Tally]) -> dict[Channel, Tally]:
    return {
        channel: Tally(tally.total + more[channel].total, tally.bad + more[channel].bad)
        for channel, tally in some.items()
    }
