"""Reading one metric's counts from Prometheus: what is new at every look, what is older ever more rarely.

Samples come late and out of order. A stretch of time is read again whenever its age has grown by half, and one
more at every look in turn, so late samples are soon seen and a long rollout costs little.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from edgecanary.analysis.counting import fill_places
from edgecanary.analysis.counts import ComparisonCounts, Floats
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.analysis.reading import HistoryReading, Reading, Side, assemble, choose_sample, padded
from edgecanary.analysis.template import nodes_pattern
from edgecanary.analysis.timeline import Rhythm, cut, cut_looks, history_parts, make_rhythm, sample_spacing
from edgecanary.clients.prometheus import MAX_SERIES_BYTES, Series
from edgecanary.controller.counts_cache import Part, Span, SpanCache, Work, find_problem
from edgecanary.controller.counts_clock import Moment
from edgecanary.controller.counts_nodes import Counted, NodeTable, make_side
from edgecanary.controller.prometheus_session import Session

_SPACING_SECONDS = 3600
_AGE_GROWTH = 1.5
_HISTORY_AGE_GROWTH = 2.0
_NO_MATCHERS = ""
_EVENTS = ("total", "bad")


class CountsReader:
    """One metric's counts in one attempt. Used by one thread at a time."""

    def __init__(self, query: CountsQuery) -> None:
        self._query = query
        self._nodes = NodeTable(query.canary, query.stable)
        self._spacing = 0
        self._offset: int | None = None
        self._sample: tuple[int, ...] = ()
        self._stretches: SpanCache[Counted] = SpanCache((*_EVENTS, "present", "began"), _AGE_GROWTH)
        self._sums: SpanCache[Counted] = SpanCache(_EVENTS, _HISTORY_AGE_GROWTH)
        self._ticks: SpanCache[Floats] = SpanCache(_EVENTS, _HISTORY_AGE_GROWTH)

    @property
    def size(self) -> int:
        """Bytes that the counts take."""
        counted = [*self._stretches.values(), *self._sums.values()]
        return sum(found.size for found in counted) + sum(found.nbytes for found in self._ticks.values())

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
        if (problem := self._read_missing(session, moment, timeline.stretches, parts, rhythm)) is not None:
            return problem
        self._read_again(session, moment, timeline.stretches, parts, rhythm)
        for cache, spans in ((self._stretches, timeline.stretches), (self._sums, parts)):
            cache.keep(spans)
        self._ticks.keep(parts)
        names = self._nodes.names
        readings = [self._reading(span, len(names)) for span in timeline.stretches]
        return assemble(names, timeline, readings, self._history(parts, len(names)), rhythm)

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

    def _read_missing(
        self,
        session: Session,
        moment: Moment,
        stretches: Sequence[Span],
        parts: Sequence[Span],
        rhythm: Rhythm,
    ) -> QueryError | None:
        """Reads what was never read. What could be read is kept whatever becomes of the rest."""
        work = self._work(session, moment, self._stretches, self._stretches.missing(stretches))
        work += self._work(session, moment, self._sums, self._sums.missing(parts))
        if (problem := find_problem(session.together(work), over=session.over)) is not None:
            return problem
        if not self._sample:
            self._sample = self._choose_sample(parts)
        if not self._sample:
            return None
        ticks = self._tick_work(session, moment, self._ticks.missing(parts), rhythm)
        return find_problem(session.together(ticks), over=session.over)

    def _read_again(
        self,
        session: Session,
        moment: Moment,
        stretches: Sequence[Span],
        parts: Sequence[Span],
        rhythm: Rhythm,
    ) -> None:
        """Reads again what late samples may have changed, as far as time allows; else what was read stays."""
        now = moment.now
        work = self._work(session, moment, self._stretches, self._stretches.stale(stretches, now))
        work += self._work(session, moment, self._sums, self._sums.stale(parts, now))
        if self._sample:
            work += self._tick_work(session, moment, self._ticks.stale(parts, now), rhythm)
        session.together(work)

    def _work(
        self, session: Session, moment: Moment, cache: SpanCache[Counted], wanted: Sequence[Part]
    ) -> list[Work]:
        return [partial(self._read_part, session, moment, cache, part) for part in wanted]

    def _tick_work(
        self, session: Session, moment: Moment, wanted: Sequence[Part], rhythm: Rhythm
    ) -> list[Work]:
        return [partial(self._read_ticks, session, moment.now, part, rhythm.tick) for part in wanted]

    def _read_part(
        self, session: Session, moment: Moment, cache: SpanCache[Counted], part: Part
    ) -> QueryError | None:
        (begin, end), kind = part
        places = {"step": f"{max(1, (end - begin) // 60)}s", "start": f"{moment.start}"}
        promql = fill_places(self._fill(self._text(kind), end - begin), places)
        answer = session.instant(promql, at=end, limit=MAX_SERIES_BYTES)
        if isinstance(answer, QueryError):
            return answer
        found = self._nodes.first_samples(answer) if kind == "began" else self._nodes.counted(answer)
        if isinstance(found, QueryError):
            return found
        cache.put(part, found, moment.now)
        return None

    def _read_ticks(self, session: Session, now: int, part: Part, tick: int) -> QueryError | None:
        """Reads one part of the history tick by tick, of the nodes in the sample."""
        span, kind = part
        places = {"window": f"{tick}s", "nodes": self._matchers()}
        promql = fill_places(self._text(kind), places)
        answer = session.series(promql, begin=span[0] + tick, end=span[1], step=tick)
        if isinstance(answer, QueryError):
            return answer
        self._ticks.put(part, self._tick_values(answer, span, tick), now)
        return None

    def _text(self, kind: str) -> str:
        query = self._query
        return {"total": query.total, "bad": query.bad, "present": query.present, "began": query.began}[kind]

    def _reading(self, span: Span, size: int) -> Reading:
        total, bad, present = (self._stretches.get(span, kind) for kind in (*_EVENTS, "present"))
        return Reading(
            make_side(total.canary, bad.canary, present.canary, size),
            make_side(total.stable, bad.stable, present.stable, size),
            padded(self._stretches.get(span, "began").canary, size, np.inf),
        )

    def _tick_values(self, series: Sequence[Series], span: Span, tick: int) -> Floats:
        row = {number: position for position, number in enumerate(self._sample)}
        values = np.zeros((len(self._sample), (span[1] - span[0]) // tick))
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
        total = self._summed(parts, len(names)).total
        known = [number for number in range(len(names)) if total[number] > 0]
        chosen = choose_sample([names[number] for number in known], self._query.canary)
        return tuple(known[position] for position in chosen)

    def _summed(self, parts: Sequence[Span], size: int) -> Side:
        """The stable revision's events in the whole history."""
        total, bad, none = np.zeros(size), np.zeros(size), np.zeros(size)
        for span in parts:
            side = make_side(
                self._sums.get(span, "total").stable, self._sums.get(span, "bad").stable, none, size
            )
            total += side.total
            bad += side.bad
        return Side(total, bad, none)

    def _history(self, parts: Sequence[Span], size: int) -> HistoryReading:
        sums = self._summed(parts, size)
        if not self._sample:
            empty = np.zeros((0, 0))
            return HistoryReading(sums.total, sums.bad, (), empty, empty)
        total, bad = (
            np.concatenate([self._ticks.get(span, kind) for span in parts], axis=1) for kind in _EVENTS
        )
        return HistoryReading(sums.total, sums.bad, self._sample, total, np.clip(bad, 0.0, total))

    def _matchers(self) -> str:
        """Label matchers for the sampled nodes; nothing where they are all there is."""
        names = self._nodes.names
        if len(self._sample) == len(names):
            return _NO_MATCHERS
        return f',node=~"{nodes_pattern([names[number] for number in self._sample])}"'

    def _fill(self, promql: str, window: int) -> str:
        return fill_places(promql, {"window": f"{window}s", "nodes": _NO_MATCHERS})
