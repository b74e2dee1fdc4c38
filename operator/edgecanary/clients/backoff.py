"""How long to wait before the next try."""

import random


class Backoff:
    """Exponential backoff with full jitter: each wait is random between 0 and a bound that doubles.

    Many nodes that lost the same server so come back spread out, not all at once.
    """

    def __init__(self, first_seconds: float, cap_seconds: float) -> None:
        self._first = first_seconds
        self._cap = cap_seconds
        self._failures = 0

    def next(self, after: float = 0.0) -> float:
        """Seconds to wait after one more failure.

        Where the server asked to be left alone for `after` seconds the wait is not shorter, and random over at
        least as long again: it told every node the same.
        """
        bound = min(self._cap, self._first * 2 ** min(self._failures, 32))
        self._failures += 1
        return after + spread(max(bound, after))

    def reset(self) -> None:
        """Starts over after a success."""
        self._failures = 0


def spread(seconds: float) -> float:
    """A random wait between 0 and so many seconds, for what many nodes would do at the same moment."""
    return random.uniform(0, seconds)  # noqa: S311 - spreads load, keeps no secret
