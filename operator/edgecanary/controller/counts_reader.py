"""Reading one metric's counts from Prometheus: what is new at every look, what is older ever more rarely.

Samples come late and out of order. A stretch of time is read again whenever its age has grown by half, and one
more at every look in turn, so late samples are soon seen and a long rollout costs little.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from edgecanary.analysis.counting import fill_places
from edgecanary.analysis.counts import ComparisonCounts, Floats
from edgecanary.analysis.query import CountsQuery, QueryError, Vector
from edgecanary.analysis.reading import HistoryReading, Reading, Side, assemble, choose_sample, padded
from edgecanary.analysis.template import nodes_pattern
from edgecanary.analysis.timeline import cut, cut_looks, history_parts, make_rhythm, sample_spacing
from edgecanary.clients.prometheus import MAX_SERIES_BYTES, Series
from edgecanary.controller.counts_clock import Moment
from edgecanary.controller.counts_nodes import NodeTable
from edgecanary.controller.prometheus_session import Session

_SPACING_SECONDS = 3600
_AGE_GROWTH = 1.5
_HISTORY_AGE_GROWTH = 2.0
_NO_MATCHERS = ""

Span = tuple[int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Read(Generic[T]):
    """What was read of a span of time, and when."""

    found: T
    time: int

    def stale(self, span: Span, now: int, growth: float) -> bool:
        """Whether the span is to be read again."""
        return now - span[1] > growth * max(0, self.time - span[1])


@dataclass(frozen=True)
class _Ticks:
    """The history of the sampled nodes in one part, shape (nodes, ticks)."""

    total: Floats
    bad: Floats


class CountsReader:
    """One metric's counts in one attempt. Used by one thread at a time."""

    def __init__(self, query: CountsQuery) -> None:
        self._query = query
        self._nodes = NodeTable(query.canary, query.stable)
        self._spacing = 0
        self._offset: int | None = None
        self._stretches: dict[Span, Read[Reading]] = {}
        self._sums: dict[Span, Read[Side]] = {}
        self._ticks: dict[Span, Read[_Ticks]] = {}
        self._sample: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that the counts take."""
        arrays: list[Floats] = []
        for read in self._stretches.values():
            arrays += [read.found.first, *_arrays(read.found.canary), *_arrays(read.found.stable)]
        for sums in self._sums.values():
            arrays += _arrays(sums.found)
        for ticks in self._ticks.values():
            arrays += [ticks.found.total, ticks.found.bad]
        return sum(array.nbytes for array in arrays)

    def steady(self, moment: Moment) -> Moment:
        """The moment with the clocks' difference of the first look, while it is about the same."""
        if self._offset is None or abs(self._offset - moment.offset) > 30:
            self._offset = moment.offset
        shift = self._offset - moment.offset
        return Moment(moment.now, tuple(step + shift for step in moment.steps), self._offset)

    def read(self, session: Session, moment: Moment) -> ComparisonCounts | QueryError:
        """The counts up to now, or why they cannot be told."""
        if moment.now <= moment.start:
            return QueryError("NoData", "the rollout has just begun by Prometheus's clock")
        if (problem := self._find_spacing(session, moment)) is not None:
            return problem
        query = self._query
        rhythm = make_rhythm(query.tick_seconds, query.interval_seconds, query.warmup_seconds, self._spacing)
        timeline = (cut_looks if query.fixed_looks else cut)(
            moment.start, moment.now, moment.steps[1:], rhythm
        )
        if not timeline.stretches:
            text = f"the first look of this method is {rhythm.tick} s after the rollout began"
            return QueryError("CountsIncomplete", text)
        parts = history_parts(moment.start, query.history_seconds, rhythm.tick)
        problem = self._read_spans(session, moment, timeline.stretches, parts) or self._read_ticks(
            session, moment, parts, rhythm.tick
        )
        if problem is not None:
            return problem
        self._forget_all_but(timeline.stretches, parts)
        readings = [self._stretches[span].found for span in timeline.stretches]
        return assemble(self._nodes.names, timeline, readings, self._history(parts), rhythm)

    def _find_spacing(self, session: Session, moment: Moment) -> QueryError | None:
        """How far apart samples are, learned once: before the attempt, or since where there was nothing."""
        since = min(moment.now - moment.start, _SPACING_SECONDS)
        for at, window in ((moment.start, _SPACING_SECONDS), (moment.now, since)):
            if self._spacing:
                return None
            answer = session.instant(f"max({self._fill(self._query.present, window)})", at=at)
            if isinstance(answer, QueryError):
                return answer
            if answer.samples:
                self._spacing = sample_spacing(window, answer.samples[0].value)
        return None

    def _read_spans(
        self, session: Session, moment: Moment, stretches: Sequence[Span], parts: Sequence[Span]
    ) -> QueryError | None:
        """Reads the stretches and the sums of the history that are missing or stale."""
        now = moment.now
        wanted = missing(self._stretches, stretches, now, _AGE_GROWTH)
        rest = [span for span in stretches if span not in wanted]
        wanted += longest_unread(self._stretches, rest, now)
        sums = missing(self._sums, parts, now, _HISTORY_AGE_GROWTH)
        work: list[Callable[[], QueryError | None]] = [
            partial(self._read_stretch, session, span, moment) for span in wanted
        ]
        work += [partial(self._read_sums, session, span, now) for span in sums]
        return find_problem(session.together(work), over=session.over)

    def _read_stretch(self, session: Session, span: Span, moment: Moment) -> QueryError | None:
        window = span[1] - span[0]
        step = {"step": f"{max(1, window // 60)}s", "start": f"{moment.start}"}
        texts = (self._query.total, self._query.bad, self._query.present)
        answers = [self._ask(session, self._fill(text, window), span[1]) for text in texts]
        began = self._ask(session, fill_places(self._fill(self._query.began, window), step), span[1])
        for answer in (*answers, began):
            if isinstance(answer, QueryError):
                return answer
        sides = self._nodes.sides(*answers)
        if isinstance(sides, QueryError):
            return sides
        reading = Reading(sides[0], sides[1], self._nodes.first_samples(began))
        self._stretches[span] = Read(reading, moment.now)
        return None

    def _read_sums(self, session: Session, span: Span, now: int) -> QueryError | None:
        window = span[1] - span[0]
        total = self._ask(session, self._fill(self._query.total, window), span[1])
        bad = self._ask(session, self._fill(self._query.bad, window), span[1])
        if isinstance(total, QueryError) or isinstance(bad, QueryError):
            return total if isinstance(total, QueryError) else bad
        sides = self._nodes.sides(total, bad, Vector())
        if isinstance(sides, QueryError):
            return sides
        self._sums[span] = Read(sides[1], now)
        return None

    def _read_ticks(
        self, session: Session, moment: Moment, parts: Sequence[Span], tick: int
    ) -> QueryError | None:
        """Reads the history tick by tick, of the nodes in the sample."""
        if not self._sample:
            self._sample = self._choose_sample(parts)
        wanted = missing(self._ticks, parts, moment.now, _HISTORY_AGE_GROWTH)
        if not self._sample:
            return None
        work = [partial(self._read_tick_part, session, span, tick, moment.now) for span in wanted]
        return find_problem(session.together(work), over=session.over)

    def _read_tick_part(self, session: Session, span: Span, tick: int, now: int) -> QueryError | None:
        found: list[Floats] = []
        sample = self._sample
        matchers = self._matchers(sample)
        for text in (self._query.total, self._query.bad):
            filled = fill_places(text, {"window": f"{tick}s", "nodes": matchers})
            answer = session.series(filled, begin=span[0] + tick, end=span[1], step=tick)
            if isinstance(answer, QueryError):
                return answer
            found.append(self._tick_values(answer, sample, span, tick))
        total, bad = found
        self._ticks[span] = Read(_Ticks(total, np.clip(bad, 0.0, total)), now)
        return None

    def _tick_values(self, series: Sequence[Series], sample: Sequence[int], span: Span, tick: int) -> Floats:
        row = {number: position for position, number in enumerate(sample)}
        values = np.zeros((len(sample), (span[1] - span[0]) // tick))
        for one in series:
            position = row.get(self._nodes.position(one.labels, self._query.stable), -1)
            if position < 0:
                continue
            for moment, value in one.values:
                number = round((moment - span[0]) / tick) - 1
                if 0 <= number < values.shape[1] and np.isfinite(value):
                    values[position, number] = value
        return values

    def _choose_sample(self, parts: Sequence[Span]) -> tuple[int, ...]:
        """Nodes with a history: all, or as many as are kept, chosen by the canary's digest."""
        names = self._nodes.names
        total = self._summed(parts)[0]
        known = [number for number in range(len(names)) if total[number] > 0]
        chosen = choose_sample([names[number] for number in known], self._query.canary)
        return tuple(known[position] for position in chosen)

    def _summed(self, parts: Sequence[Span]) -> tuple[Floats, Floats]:
        size = len(self._nodes.names)
        total, bad = np.zeros(size), np.zeros(size)
        for span in parts:
            total += padded(self._sums[span].found.total, size)
            bad += padded(self._sums[span].found.bad, size)
        return total, bad

    def _history(self, parts: Sequence[Span]) -> HistoryReading:
        total, bad = self._summed(parts)
        sample = self._sample
        empty = np.zeros((len(sample), 0))
        known = [self._ticks[span].found for span in parts] if sample else []
        return HistoryReading(
            total,
            bad,
            sample,
            np.concatenate([part.total for part in known], axis=1) if known else empty,
            np.concatenate([part.bad for part in known], axis=1) if known else empty,
        )

    def _forget_all_but(self, stretches: Sequence[Span], parts: Sequence[Span]) -> None:
        self._stretches = {span: self._stretches[span] for span in stretches}
        self._sums = {span: self._sums[span] for span in parts}
        self._ticks = {span: read for span, read in self._ticks.items() if span in self._sums}

    def _matchers(self, sample: Sequence[int]) -> str:
        """Label matchers for the sampled nodes; nothing where they are all there is."""
        names = self._nodes.names
        if len(sample) == len(names):
            return _NO_MATCHERS
        return f',node=~"{nodes_pattern([names[number] for number in sample])}"'

    def _fill(self, promql: str, window: int) -> str:
        return fill_places(promql, {"window": f"{window}s", "nodes": _NO_MATCHERS})

    def _ask(self, session: Session, promql: str, at: int) -> Vector | QueryError:
        return session.instant(promql, at=at, limit=MAX_SERIES_BYTES)


def missing(known: Mapping[Span, Read[T]], spans: Sequence[Span], now: int, growth: float) -> list[Span]:
    """The spans that were not read yet, or are stale."""
    return [span for span in spans if span not in known or known[span].stale(span, now, growth)]


def longest_unread(known: Mapping[Span, Read[T]], spans: Sequence[Span], now: int) -> list[Span]:
    """The one span of those read already that was read the longest time ago."""
    earlier = [span for span in spans if span in known and known[span].time < now]
    return [min(earlier, key=lambda span: (known[span].time, span))] if earlier else []


def find_problem(results: Sequence[QueryError | None], *, over: bool) -> QueryError | None:
    """Why not all was read. Running out of time is no failure as long as something was read."""
    errors = [result for result in results if result is not None]
    if not errors:
        return None
    done = len(results) - len(errors)
    if done and over and all(error.reason == "PrometheusUnavailable" for error in errors):
        text = f"counts are being read from Prometheus: {done} of {len(results)} parts in this look"
        return QueryError("CountsIncomplete", f"{text}; it goes on at the next one")
    return errors[0]


def _arrays(side: Side) -> list[Floats]:
    return [side.total, side.bad, side.present]
