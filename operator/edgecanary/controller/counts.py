"""What was counted for each rollout's comparisons, remembered from look to look.

All of it can be read from Prometheus again: forgetting costs time, never a verdict. What belongs to an attempt
that ended is dropped, and so is the least recently used when all together grow too large.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgecanary.analysis.counting import fill_places, le_matcher
from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.controller.counts_bound import find_bound
from edgecanary.controller.counts_clock import Moment, read_moment
from edgecanary.controller.counts_reader import CountsReader
from edgecanary.controller.prometheus_session import Session

MAX_BYTES = 2**28
"""The most that counts of all rollouts may take together, in bytes; 10,000 nodes take about 20 MiB a metric."""


@dataclass(frozen=True)
class _Kept:
    query: CountsQuery
    reader: CountsReader


class RolloutCounts:
    """The counts of one rollout's metrics. Used by one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    @property
    def size(self) -> int:
        """Bytes that the counts take."""
        return sum(kept.reader.size for kept in self._kept.values())

    def read(
        self, metric: str, query: CountsQuery, session: Session
    ) -> tuple[ComparisonCounts | QueryError, str]:
        """The counts up to now, and the latency bound when it was found just now (else empty)."""
        moment = read_moment(session, query.step_times)
        if isinstance(moment, QueryError):
            return moment, ""
        bound = "" if query.bound is None else find_bound(query.bound, query, moment, session)
        if isinstance(bound, QueryError):
            return bound, ""
        if bound:
            places = {"bound": le_matcher(bound)}
            total, bad = (fill_places(text, places) for text in (query.total, query.bad))
            query = replace(query, total=total, bad=bad, bound=None)
        return self._reader(metric, query).read(session, self._steady(metric, moment)), bound

    def _reader(self, metric: str, query: CountsQuery) -> CountsReader:
        """The metric's reader; a new one when what is asked is not the same any more."""
        same = replace(query, step_times=query.step_times[:1], strata=())
        kept = self._kept.get(metric)
        if kept is None or kept.query != same:
            kept = self._kept[metric] = _Kept(same, CountsReader(query))
        return kept.reader

    def _steady(self, metric: str, moment: Moment) -> Moment:
        """With the steps' times of the look before, unless the clocks moved against each other."""
        return self._kept[metric].reader.steady(moment)


class CountsMemory:
    """The counts of all rollouts, by the Rollout's UID. May be used by several threads."""

    def __init__(self, max_bytes: int = MAX_BYTES, make: Callable[[], RolloutCounts] = RolloutCounts) -> None:
        self._max_bytes = max_bytes
        self._make = make
        self._lock = threading.Lock()
        self._rollouts: OrderedDict[str, RolloutCounts] = OrderedDict()

    def of(self, rollout: str) -> RolloutCounts:
        """The counts of one Rollout; others are forgotten where all together are too large."""
        with self._lock:
            found = self._rollouts.setdefault(rollout, self._make())
            self._rollouts.move_to_end(rollout)
            while len(self._rollouts) > 1 and self._size() > self._max_bytes:
                self._rollouts.popitem(last=False)
            return found

    def forget(self, rollout: str) -> None:
        """Drops the counts of a Rollout that has nothing under way."""
        with self._lock:
            self._rollouts.pop(rollout, None)

    def _size(self) -> int:
        return sum(counts.size for counts in self._rollouts.values())
