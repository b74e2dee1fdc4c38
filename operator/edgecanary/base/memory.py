"""A small memory for pure functions over a whole fleet: bounded, safe for threads, never wrong.

What is remembered is found by its key and must still be compared with what it was made from; forgetting costs
time and nothing else.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """The values that were used last, as many as their sizes together stay within a limit."""

    def __init__(self, limit: int) -> None:
        """`limit` is in the unit of the sizes that `put` is told."""
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable) -> V | None:
        """The value, or None when it was never put or is forgotten."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: V, *, size: int) -> V:
        """Keeps the value in the place of an earlier one, and forgets those that were used longest ago."""
        with self._lock:
            if key in self._kept:
                self._size -= self._kept.pop(key)[1]
            self._kept[key] = (value, size)
            self._size += size
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1][1]
        return value

    def __len__(self) -> int:
        return len(self._kept)
