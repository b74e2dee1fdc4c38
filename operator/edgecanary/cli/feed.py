"""News from threads that wait for servers, for one thread that shows them or waits for them."""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgecanary.base.errors import EdgecanaryError

T = TypeVar("T")


@dataclass(frozen=True)
class _Failed:
    error: Exception


class Feed(Generic[T]):
    """What sources bring, in the order in which it comes. The threads end with the program."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[T | _Failed] = queue.SimpleQueue()

    def read(self, source: Iterable[T]) -> None:
        """Takes in all that the source gives, from now on."""
        threading.Thread(target=self._forward, args=(source,), daemon=True).start()

    def put(self, news: T) -> None:
        """One piece of news."""
        self._news.put(news)

    def next(self, seconds: float | None) -> T | None:
        """The next piece of news, None when none came within so many seconds (None: for ever).

        Raises what ended a source.
        """
        try:
            found = self._news.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(found, _Failed):
            raise found.error
        return found

    def _forward(self, source: Iterable[T]) -> None:
        try:
            for news in source:
                self._news.put(news)
        except EdgecanaryError as error:
            self._news.put(_Failed(error))


class Refresher:
    """Does something slow in a thread of its own whenever it is asked to, and never too often."""

    def __init__(self, work: Callable[[], float]) -> None:
        """`work` returns after how many seconds it may be done again."""
        self._work = work
        self._asked = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self) -> None:
        """Have it done once more, soon."""
        self._asked.set()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._asked.wait()
            self._asked.clear()
            pause.wait(self._work())
