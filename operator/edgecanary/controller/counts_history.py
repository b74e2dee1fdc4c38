"""Reading the stable revision's counts before an attempt: sums of all nodes, and ticks of some."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgecanary.analysis.counting import fill_places, le_matcher
from edgecanary.analysis.counts import Floats, History
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.analysis.reading import HistoryReading, Side, choose_sample, in_order, to_history
from edgecanary.analysis.template import nodes_pattern
from edgecanary.analysis.timeline import history_parts, make_rhythm, sample_spacing
from edgecanary.clients.prometheus import MAX_SERIES_BYTES, Series
from edgecanary.controller.counts_bound import find_bound
from edgecanary.controller.counts_cache import Part, Span, SpanCache, Work, find_problem
from edgecanary.controller.counts_clock import read_moment
from edgecanary.controller.counts_nodes import Counted, NodeTable, make_side
from edgecanary.controller.prometheus_session import Session

EVENTS = ("total", "bad")
NO_MATCHERS = ""

_AGE_GROWTH = 2.0
SPACING_SECONDS = 3600


@dataclass(frozen=True)
class Past:
    """What was counted in the time up to now, by node, on ticks of so many seconds."""

    nodes: tuple[str, ...]
    history: History
    tick_seconds: int


class HistoryReader:
    """One metric's counts before an attempt. Used by one thread at a time."""

    def __init__(self, query: CountsQuery, nodes: NodeTable) -> None:
        self._query = query
        self._nodes = nodes
        self._sample: tuple[int, ...] = ()
        self._sums: SpanCache[Counted] = SpanCache(EVENTS, _AGE_GROWTH)
        self._ticks: SpanCache[Floats] = SpanCache(EVENTS, _AGE_GROWTH)

    @property
    def size(self) -> int:
        """Bytes that the counts take."""
        sums = sum(found.size for found in self._sums.values())
        return sums + sum(found.nbytes for found in self._ticks.values())

    def missing_sums(self, session: Session, now: int, parts: Sequence[Span]) -> list[Work]:
        """What there is to read of all nodes."""
        return [partial(self._read_sum, session, now, part) for part in self._sums.missing(parts)]

    def read_ticks(self, session: Session, now: int, parts: Sequence[Span], tick: int) -> QueryError | None:
        """Reads what is missing tick by tick, of the nodes in the sample; the sums must be there."""
        if not self._sample:
            self._sample = self._choose_sample(parts)
        if not self._sample:
            return None
        work = self._tick_work(session, now, self._ticks.missing(parts), tick)
        return find_problem(session.together(work), over=session.over)

    def stale(self, session: Session, now: int, parts: Sequence[Span], tick: int) -> list[Work]:
        """What late samples may have changed."""
        work: list[Work] = [
            partial(self._read_sum, session, now, part) for part in self._sums.stale(parts, now)
        ]
        if self._sample:
            work += self._tick_work(session, now, self._ticks.stale(parts, now), tick)
        return work

    def keep(self, parts: Sequence[Span]) -> None:
        """Forgets all other parts."""
        self._sums.keep(parts)
        self._ticks.keep(parts)

    def reading(self, parts: Sequence[Span], size: int) -> HistoryReading:
        """What was read, of so many nodes."""
        sums = self._summed(parts, size)
        if not self._sample:
            empty = np.zeros((0, 0))
            return HistoryReading(sums.total, sums.bad, (), empty, empty)
        total, bad = (
            np.concatenate([self._ticks.get(span, kind) for span in parts], axis=1) for kind in EVENTS
        )
        return HistoryReading(sums.total, sums.bad, self._sample, total, np.clip(bad, 0.0, total))

    def _tick_work(self, session: Session, now: int, wanted: Sequence[Part], tick: int) -> list[Work]:
        return [partial(self._read_ticks, session, now, part, tick) for part in wanted]

    def _read_sum(self, session: Session, now: int, part: Part) -> QueryError | None:
        """Reads one part of the history in one sum, of all nodes."""
        (begin, end), kind = part
        promql = fill_window(self._text(kind), end - begin)
        answer = session.instant(promql, at=end, limit=MAX_SERIES_BYTES)
        found = answer if isinstance(answer, QueryError) else self._nodes.counted(answer)
        if isinstance(found, QueryError):
            return found
        self._sums.put(part, found, now)
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

    def _text(self, kind: str) -> str:
        return {"total": self._query.total, "bad": self._query.bad}[kind]

    def _matchers(self) -> str:
        """Label matchers for the sampled nodes; nothing where they are all there is."""
        names = self._nodes.names
        if len(self._sample) == len(names):
            return NO_MATCHERS
        return f',node=~"{nodes_pattern([names[number] for number in self._sample])}"'


def fill_window(promql: str, seconds: int) -> str:
    """The query for all nodes over a window."""
    return fill_places(promql, {"window": f"{seconds}s", "nodes": NO_MATCHERS})


def find_spacing(session: Session, query: CountsQuery, at: int, window: int) -> int | QueryError:
    """How far apart samples were in a window up to that time; 0 where there were none."""
    answer = session.instant(f"max({fill_window(query.present, window)})", at=at)
    if isinstance(answer, QueryError):
        return answer
    return sample_spacing(window, answer.samples[0].value) if answer.samples else 0


def read_past(query: CountsQuery, session: Session) -> Past | QueryError:
    """What an attempt that begins now, the query's only step, would take for its history."""
    moment = read_moment(session, query.step_times)
    if isinstance(moment, QueryError):
        return moment
    if query.bound is not None:
        bound = find_bound(query.bound, query, moment, session)
        if isinstance(bound, QueryError):
            return bound
        places = {"bound": le_matcher(bound)}
        query = replace(
            query, total=fill_places(query.total, places), bad=fill_places(query.bad, places), bound=None
        )
    spacing = find_spacing(session, query, moment.now, SPACING_SECONDS)
    if isinstance(spacing, QueryError):
        return spacing
    tick = make_rhythm(query.tick_seconds, query.interval_seconds, query.warmup_seconds, spacing).tick
    parts = history_parts(moment.now, query.history_seconds, tick)
    nodes = NodeTable(query.canary, query.stable)
    reader = HistoryReader(query, nodes)
    sums = session.together(reader.missing_sums(session, moment.now, parts))
    problem = find_problem(sums, over=session.over) or reader.read_ticks(session, moment.now, parts, tick)
    if problem is not None:
        return problem
    names = nodes.names
    order = in_order(names)
    history = to_history(reader.reading(parts, len(names)), order)
    return Past(tuple(names[place] for place in order), history, tick)
