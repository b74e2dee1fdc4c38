"""Reading one metric's counts from Prometheus: what is new at every look, what is older ever more rarely.

Samples come late and out of order. A stretch of time is read again whenever its age has grown by half, and one
more at every look in turn, so late samples are soon seen and a long rollout costs little.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from edgecanary.analysis.counting import fill_places
from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.analysis.reading import Reading, assemble, padded
from edgecanary.analysis.timeline import Rhythm, cut, cut_looks, history_parts, make_rhythm
from edgecanary.clients.prometheus import MAX_SERIES_BYTES
from edgecanary.controller.counts_cache import Part, Span, SpanCache, Work, find_problem
from edgecanary.controller.counts_clock import Moment
from edgecanary.controller.counts_history import (
    EVENTS,
    SPACING_SECONDS,
    HistoryReader,
    fill_window,
    find_spacing,
)
from edgecanary.controller.counts_nodes import Counted, NodeTable, make_side
from edgecanary.controller.prometheus_session import Session

_AGE_GROWTH = 1.5


class CountsReader:
    """One metric's counts in one attempt. Used by one thread at a time."""

    def __init__(self, query: CountsQuery) -> None:
        self._query = query
        self._nodes = NodeTable(query.canary, query.stable)
        self._spacing = 0
        self._offset: int | None = None
        self._stretches: SpanCache[Counted] = SpanCache((*EVENTS, "present", "began"), _AGE_GROWTH)
        self._history = HistoryReader(query, self._nodes)

    @property
    def size(self) -> int:
        """Bytes that the counts take."""
        return sum(found.size for found in self._stretches.values()) + self._history.size

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
        self._stretches.keep(timeline.stretches)
        self._history.keep(parts)
        names = self._nodes.names
        readings = [self._reading(span, len(names)) for span in timeline.stretches]
        return assemble(names, timeline, readings, self._history.reading(parts, len(names)), rhythm)

    def _find_spacing(self, session: Session, moment: Moment) -> QueryError | None:
        """How far apart samples are, learned once: before the attempt, or since where there was nothing."""
        since = min(moment.now - moment.start, SPACING_SECONDS)
        for at, window in ((moment.start, SPACING_SECONDS), (moment.now, since)):
            if self._spacing:
                return None
            found = find_spacing(session, self._query, at, window)
            if isinstance(found, QueryError):
                return found
            self._spacing = found
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
        work = self._work(session, moment, self._stretches.missing(stretches))
        work += self._history.missing_sums(session, moment.now, parts)
        if (problem := find_problem(session.together(work), over=session.over)) is not None:
            return problem
        return self._history.read_ticks(session, moment.now, parts, rhythm.tick)

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
        work = self._work(session, moment, self._stretches.stale(stretches, now))
        work += self._history.stale(session, now, parts, rhythm.tick)
        session.together(work)

    def _work(self, session: Session, moment: Moment, wanted: Sequence[Part]) -> list[Work]:
        return [partial(self._read_part, session, moment, part) for part in wanted]

    def _read_part(self, session: Session, moment: Moment, part: Part) -> QueryError | None:
        (begin, end), kind = part
        places = {"step": f"{max(1, (end - begin) // 60)}s", "start": f"{moment.start}"}
        promql = fill_places(fill_window(self._text(kind), end - begin), places)
        answer = session.instant(promql, at=end, limit=MAX_SERIES_BYTES)
        if isinstance(answer, QueryError):
            return answer
        found = self._nodes.first_samples(answer) if kind == "began" else self._nodes.counted(answer)
        if isinstance(found, QueryError):
            return found
        self._stretches.put(part, found, moment.now)
        return None

    def _text(self, kind: str) -> str:
        query = self._query
        return {"total": query.total, "bad": query.bad, "present": query.present, "began": query.began}[kind]

    def _reading(self, span: Span, size: int) -> Reading:
        total, bad, present = (self._stretches.get(span, kind) for kind in (*EVENTS, "present"))
        return Reading(
            make_side(total.canary, bad.canary, present.canary, size),
            make_side(total.stable, bad.stable, present.stable, size),
            padded(self._stretches.get(span, "began").canary, size, np.inf),
        )
