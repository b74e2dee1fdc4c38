"""Who may write: looked at right before each write of the operator.

A leader that was frozen, or that cannot reach the API server, learns too late that another has taken over. So
nobody relies on being told: each write looks at the clock.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edgecanary.base.clock import steady_seconds
from edgecanary.base.errors import Conflict

K = TypeVar("K")
R = TypeVar("R")

NO_TERM = ""
"""The term of an operator that is alone: it has no rival whose writes could be on their way."""


@dataclass(frozen=True)
class _Grant:
    term: str
    until: float


class Permit:
    """Says until when this process may write, and in which term: a text that no other leader has had.

    Safe to use from several threads. Times are steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = steady_seconds) -> None:
        self._clock = clock
        self._grant = _Grant(NO_TERM, -math.inf)
        self._work = threading.local()

    @classmethod
    def always(cls) -> "Permit":
        """For an operator that is alone."""
        permit = cls()
        permit.give(NO_TERM, math.inf)
        return permit

    def give(self, term: str, until: float) -> None:
        """Allows writes in this term until then."""
        self._grant = _Grant(term, until)

    def take(self) -> None:
        """Allows no more writes."""
        self._grant = _Grant(NO_TERM, -math.inf)

    @property
    def valid(self) -> bool:
        """Whether writes are allowed now."""
        return self._clock() < self._grant.until

    @property
    def term(self) -> str:
        """The term of now."""
        return self._grant.term

    def check(self) -> None:
        """Raises Conflict (NotLeader) when writes are not allowed, or work has begun in an earlier term."""
        grant = self._grant
        if self._clock() >= grant.until:
            raise Conflict("NotLeader", "another replica leads, or may: nothing is written")
        if getattr(self._work, "term", grant.term) != grant.term:
            raise Conflict("NotLeader", "this work began in an earlier term, on what was true then")

    def within(self, work: Callable[[K], R]) -> Callable[[K], R]:
        """The work, whose writes count only in the term in which it begins; each call has a thread of its own."""

        def bound(key: K) -> R:
            self._work.term = self._grant.term
            return work(key)

        return bound
