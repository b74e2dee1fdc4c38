"""News from threads that wait for servers, for one thread that shows them or waits for them."""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from edgecanary.base.errors import EdgecanaryError

T = TypeVar("T")


@dataclass(frozen=True)
class _Failed:
    error: Exception


class Feed(Generic[T]):
    """What sources bring, in the order in which it comes. A context manager; its threads end soon after it."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[T | _Failed] = queue.SimpleQueue()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def sleep(self, seconds: float) -> None:
        """Waits so long, or until the feed has ended."""
        self._ended.wait(seconds)

    def read(self, source: Iterable[T]) -> None:
        """Takes in all that the source gives, from now on."""
        threading.Thread(target=self._forward, args=(source,), daemon=True).start()

    def refresh(self, work: Callable[[], tuple[T, float]]) -> "Refresher":
        """What slow work gives, done whenever it is asked for, and not before so many seconds have passed."""
        asked = threading.Event()
        threading.Thread(target=self._repeat, args=(work, asked), daemon=True).start()
        return Refresher(asked)

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
                if self._ended.is_set():
                    return
                self._news.put(news)
        except EdgecanaryError as error:
            self._news.put(_Failed(error))

    def _repeat(self, work: Callable[[], tuple[T, float]], asked: threading.Event) -> None:
        while not self._ended.is_set():
            if not asked.wait(1.0):
                continue
            asked.clear()
            news, pause = work()
            self._news.put(news)
            self._ended.wait(pause)


class Refresher:
    """Asks for slow work to be done once more."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def ask(self) -> None:
        """Have it done soon."""
        self._asked.set()
