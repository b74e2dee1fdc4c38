"""All questions of one look to one Prometheus: several at once, within one time limit."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from edgecanary.analysis.query import QueryError, Vector
from edgecanary.api.analysis import PrometheusSource
from edgecanary.base.errors import InvalidInput
from edgecanary.base.reach import Reach
from edgecanary.clients.prometheus import MAX_ANSWER_BYTES, Prometheus, Series, Trust
from edgecanary.controller.threads import start

_AT_ONCE = 8

Observe = Callable[[str], None]
T = TypeVar("T")
_Found = TypeVar("_Found", Vector, tuple[Series, ...])


class Session:
    """One look's questions; after `source.timeout_seconds` every question is answered by a QueryError.

    `trust` may be the reason why Prometheus cannot be asked: then it is every answer. `observe` hears how each
    question ended; `reach` None lets Prometheus be anywhere.
    """

    def __init__(
        self,
        source: PrometheusSource,
        trust: Trust | QueryError,
        observe: Observe,
        reach: Reach | None = None,
    ) -> None:
        self._source = source
        self._reach = reach
        self._trust = trust
        self._observe = observe
        self._end = time.monotonic() + source.timeout_seconds
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Prometheus's address."""
        return self._source.url.rstrip("/")

    @property
    def over(self) -> bool:
        """Whether the time limit is reached."""
        return time.monotonic() >= self._end

    def instant(
        self, promql: str, *, at: float | None = None, limit: int = MAX_ANSWER_BYTES
    ) -> Vector | QueryError:
        """The answer to an instant query."""
        return self._noted(self._ask(lambda server: server.query(promql, at=at, limit=limit)))

    def series(self, promql: str, *, begin: float, end: float, step: int) -> tuple[Series, ...] | QueryError:
        """The answer to a range query."""
        return self._noted(
            self._ask(lambda server: server.query_range(promql, start=begin, end=end, step=step))
        )

    def together(self, work: Sequence[Callable[[], T]]) -> list[T]:
        """The results of the work, in its order; up to 8 pieces are done at once."""
        todo: SimpleQueue[int] = SimpleQueue()
        for number in range(len(work)):
            todo.put(number)
        done: dict[int, T] = {}

        def take() -> None:
            while (number := _next(todo)) is not None:
                done[number] = work[number]()

        for worker in [start(take, name="prometheus") for _ in range(min(_AT_ONCE, len(work)))]:
            worker.result()
        return [done[number] for number in range(len(work))]

    def _ask(self, question: Callable[[Prometheus], _Found | QueryError]) -> _Found | QueryError:
        if isinstance(self._trust, QueryError):
            return self._trust
        left = self._end - time.monotonic()
        if left <= 0:
            limit = f"within {self._source.timeout_seconds} s"
            text = f"Prometheus {self._source.url} did not answer all queries {limit}"
            return QueryError("PrometheusUnavailable", text)
        try:
            server = Prometheus(self._source.url, timeout_seconds=left, trust=self._trust, reach=self._reach)
            return question(server)
        except InvalidInput as error:
            return QueryError("PrometheusRefused", error.message)

    def _noted(self, found: _Found | QueryError) -> _Found | QueryError:
        with self._lock:
            self._observe(_outcome(found))
        return found


def _next(todo: "SimpleQueue[int]") -> int | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


def _outcome(found: Vector | tuple[Series, ...] | QueryError) -> str:
    if isinstance(found, QueryError):
        return found.reason
    values = found.samples if isinstance(found, Vector) else found
    return "ok" if values else "empty"
