"""Answers about spans of time that are kept from look to look, and when each is to be asked for again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgecanary.analysis.query import QueryError

Span = tuple[int, int]
"""Begin and end in Unix seconds."""

Part = tuple[Span, str]
"""A span, and what was asked of it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Read(Generic[T]):
    """What was read of a span of time, and when."""

    found: T
    time: int


class SpanCache(Generic[T]):
    """What was read of spans, for each of the same `kinds` of question. Several threads may put into it.

    A span is stale when its age has grown by `growth` since it was read: late samples may have come.
    """

    def __init__(self, kinds: Sequence[str], growth: float) -> None:
        self._kinds = kinds
        self._growth = growth
        self._known: dict[Part, Read[T]] = {}

    def put(self, part: Part, found: T, now: int) -> None:
        """Keeps what was read."""
        self._known[part] = Read(found, now)

    def get(self, span: Span, kind: str) -> T:
        """What was read; KeyError when nothing was."""
        return self._known[span, kind].found

    def values(self) -> Iterator[T]:
        """All that is kept."""
        return (read.found for read in self._known.values())

    def keep(self, spans: Sequence[Span]) -> None:
        """Forgets all other spans."""
        wanted = set(spans)
        self._known = {part: read for part, read in self._known.items() if part[0] in wanted}

    def missing(self, spans: Sequence[Span]) -> list[Part]:
        """What was never read."""
        return [part for part in self._parts(spans) if part not in self._known]

    def stale(self, spans: Sequence[Span], now: int) -> list[Part]:
        """What was read and is to be read again: what is stale, and the one span that waits for longest."""
        known = [part for part in self._parts(spans) if part in self._known]
        stale = [part for part in known if self._is_stale(part, now)]
        rest = {part: self._known[part].time for part in known if part not in stale}
        waiting = min(
            (part for part in rest if rest[part] < now), key=lambda part: (rest[part], part), default=None
        )
        return stale + [part for part in rest if waiting is not None and part[0] == waiting[0]]

    def _parts(self, spans: Sequence[Span]) -> list[Part]:
        return [(span, kind) for span in spans for kind in self._kinds]

    def _is_stale(self, part: Part, now: int) -> bool:
        end = part[0][1]
        return now - end > self._growth * max(0, self._known[part].time - end)


Work = Callable[[], QueryError | None]
"""Reads something; why it could not, or None."""


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
