"""Whether a connection is lent to a model's thread: the event loop's side of it."""

import asyncio
import math
from dataclasses import dataclass

from edgecanary.agent.serving.exchange import Head
from edgecanary.agent.serving.lane import Form, Guest, Home, Lane

_MOST_STRAYS = 8
"""Times that a lane gave a request back before the connection stays with the event loop."""


@dataclass(frozen=True)
class Terms:
    """Who has the connection, and as what."""

    lane: Lane
    guest: Guest


class Loan:
    """One connection's."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._wish: tuple[Lane, str] | None = None
        self._terms: Terms | None = None
        self._strays = 0
        self._head: Head | None = None

    @property
    def lasts(self) -> bool:
        """Whether the lane has the connection, or has sent it on its way back."""
        return self._terms is not None

    def turn_to(self, head: Head) -> None:
        """A request is handled now; what an earlier one wished for the connection is over."""
        self._head, self._wish = head, None

    def wish(self, lane: Lane, name: str) -> None:
        """The next requests are to be read by the lane of the model that is called so."""
        self._wish = lane, name

    def begin(self, transport: asyncio.Transport, start: bytes, most_bytes: int) -> bool:
        """Lends the connection if that is wished and such requests are for a lane.

        `start` is the head of the one that was handled last, as it came; `most_bytes` limits bodies.
        """
        wish, self._wish = self._wish, None
        if wish is None or self._head is None or self._strays >= _MOST_STRAYS:
            return False
        link = transport.get_extra_info("socket")
        if link is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        lane, name = wish
        try:
            form = Form(start)
        except ValueError:
            return False
        guest = Guest(self._home, link.fileno(), self._head, form, name)
        guest.most_bytes = min(guest.most_bytes, most_bytes)
        transport.pause_reading()
        if lane.lend(guest):
            self._terms = Terms(lane, guest)
        return self.lasts

    def recall(self) -> None:
        """Takes the connection back, if it is lent."""
        if self._terms is not None:
            self._terms.lane.recall(self._terms.guest)

    def end(self, *, strayed: bool) -> Terms | None:
        """The connection is back; whether with something that was not for the lane."""
        terms, self._terms = self._terms, None
        self._strays += strayed
        return terms

    def idle_since(self) -> float:
        """When the lane last read something; long ago where none has the connection."""
        return -math.inf if self._terms is None else self._terms.guest.last
