"""Connections that a model's thread reads and answers itself, since they ask a quick model again and again.

What a request costs beside the model is mostly the way from the event loop's thread to the model's and back. So once
the event loop has answered a connection's inference request, it lends the connection to the model's thread, which
reads, runs and answers what comes next. It takes only what it knows: requests with the very same head but for two
lengths, whole, one at a time, of a moderate size. Anything else is handed back with what was read of it.

The event loop takes back what it needs at any time: a connection that waits, one that is being closed, all of a
model that is replaced. A request that runs longer than a moment is taken over as well and becomes one like any other,
with its deadline, its place among those in progress and its connection; so a model that hangs holds up nobody else.
"""

import asyncio
import functools
import os
import re
import select
import threading
import time
from typing import Protocol

from edgecanary.agent.serving.exchange import Head
from edgecanary.agent.serving.messages import Response
from edgecanary.agent.serving.worker import Ticket, call_soon

LOOK_SECONDS = 0.02
"""How often the event loop looks at a lane in use, and so how long a request may run before it is taken over."""
PAUSE_SECONDS = 1.0
"""For a model that was slow before connections are lent to its thread again."""
_MOST_BYTES = 2**20
"""Of a request; larger ones are for the event loop, which counts the bytes of all bodies together."""
_PIECE = 2**16
_MOST_HEAD_BYTES = 2048
_DIGITS = re.compile(
    rb"(?i)\r\n(content-length|inference-header-content-length):[ \t]*(\d{1,15})[ \t]*(?=\r\n)"
)
_GROUPS = {
    b"content-length": b"(?P<length>\\d{1,15})",
    b"inference-header-content-length": b"(?P<json>\\d{1,15})",
}


class Service(Protocol):
    """What a lane does with requests."""

    def run(self, ticket: Ticket) -> None:
        """Settles the ticket's outcome. In the model's thread."""
        ...

    def answer(self, ticket: Ticket, guest: "Guest") -> bytes | None:
        """Counts the outcome, and gives the bytes of the answer; None for a defect. In the model's thread."""
        ...

    async def finish(self, ticket: Ticket) -> Response:
        """Waits for a request that was taken over. Raises HttpFault. In the event loop's thread."""
        ...

    def used(self) -> None:
        """Requests were answered, a moment ago. In the event loop's thread."""
        ...


class Home(Protocol):
    """The connection as the event loop has it. Called in the event loop's thread, but for `stopping`."""

    @property
    def stopping(self) -> bool:
        """Whether answers end the connection. Safe from any thread."""
        ...

    def take_back(self, read: bytes, unsent: bytes) -> None:
        """Goes on with what was read of a request, after sending what is left of an answer."""
        ...

    def take_over(self, ticket: Ticket) -> None:
        """Waits for a request that the model's thread is at, and answers it."""
        ...


class Form:
    """Heads that are the same but for the lengths in them."""

    def __init__(self, head: bytes) -> None:
        """Raises ValueError when there is no such form of the head."""
        if len(head) > _MOST_HEAD_BYTES:
            raise ValueError("the head is too long")
        self._match = _pattern(_DIGITS.sub(rb"\r\n\1:0", head)).match

    def read(self, data: bytes) -> "tuple[int, int, int | None] | None":
        """Where the body begins and ends, and the length of its JSON; None for another head."""
        found = self._match(data)
        if found is None:
            return None
        lengths = found.groupdict()
        json_length = lengths.get("json")
        return (
            found.end(),
            found.end() + int(lengths["length"]),
            None if json_length is None else int(json_length),
        )


@functools.lru_cache(maxsize=64)
def _pattern(head: bytes) -> "re.Pattern[bytes]":
    names = [found[1].lower() for found in _DIGITS.finditer(head)]
    if names.count(b"content-length") != 1 or len(set(names)) != len(names):
        raise ValueError("the head has no single content-length")
    pieces, at = [], 0
    for found in _DIGITS.finditer(head):
        pieces += [re.escape(head[at : found.end(1)]), b":[ \\t]*", _GROUPS[found[1].lower()]]
        at = found.end()
    return re.compile(b"".join([*pieces, re.escape(head[at:])]))


class Guest:
    """A connection while a lane may have it."""

    __slots__ = ("form", "got", "head", "home", "last", "most_bytes", "name", "number")

    def __init__(self, home: Home, number: int, head: Head, form: Form, name: str) -> None:
        """`number` is its file descriptor, `name` what it calls the model."""
        self.home = home
        self.number = number
        self.head = head
        self.form = form
        self.name = name
        self.most_bytes = _MOST_BYTES
        """Of a request's body; a larger one goes back."""
        self.got = b""
        """What was read of a request that is not whole yet."""
        self.last = time.monotonic()
        """When something last came."""


class Lane:
    """The connections of one model's thread. Made and, where nothing else is said, used in the event loop's thread."""

    possible = hasattr(select, "epoll") and hasattr(os, "eventfd")
    """Whether the system has what it takes (Linux)."""

    def __init__(self, service: Service, *, seconds: float, most: int) -> None:
        """`seconds` is what a request may take, `most` how many connections are taken at once."""
        self.service = service
        self._seconds = seconds
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)
        self._lock = threading.Lock()
        """Held for moments only, never while the model runs."""
        self._guests: dict[int, Guest] = {}
        self._current: tuple[Guest, Ticket] | None = None
        self._answered = 0
        self._looked_at = 0
        self._watched = False
        self._closed = False
        self._not_before = 0.0

    @property
    def running(self) -> bool:
        """Whether a request is being answered. Safe from any thread."""
        return self._current is not None

    def lend(self, guest: Guest) -> bool:
        """Gives a connection to the model's thread; False when it does not take it now."""
        if self._loop.time() < self._not_before:
            return False
        with self._lock:
            if self._closed or len(self._guests) >= self._most:
                return False
            self._guests[guest.number] = guest
            self._poll.register(guest.number, select.EPOLLIN)
        return True

    def recall(self, guest: Guest) -> None:
        """Takes a connection back, with the request that the thread is at. One that is on its way comes by itself."""
        with self._lock:
            if self._guests.get(guest.number) is not guest:
                return
            ticket = self._take(guest)
        if ticket is None:
            guest.home.take_back(guest.got, b"")
        else:
            guest.home.take_over(ticket)

    def recall_all(self) -> None:
        """Takes all connections back."""
        for guest in tuple(self._guests.values()):
            self.recall(guest)

    def retire(self) -> None:
        """Takes all connections back, and no more of them."""
        self._closed = True
        self.recall_all()

    def ring(self) -> None:
        """Something else waits for the thread. Safe from any thread."""
        with self._lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def serve(self, *, wait: bool) -> None:
        """Answers what is there; with `wait` it first waits for requests or the bell. In the model's thread."""
        ready = self._poll.poll(None if wait else 0)
        now = time.monotonic()
        for number, _ in ready:
            if number == self._bell:
                os.eventfd_read(number)
            else:
                self._serve_one(number, now)

    def close(self) -> None:
        """Nothing is served any more. In the model's thread."""
        with self._lock:
            self._poll.close()
            os.close(self._bell)
            self._bell = -1

    def _serve_one(self, number: int, begun: float) -> None:
        with self._lock:
            guest = self._guests.get(number)
            ticket = None if guest is None else self._read(guest, begun)
            if guest is None or ticket is None:
                return
            self._current = guest, ticket
            self._watch()
        self.service.run(ticket)
        with self._lock:
            self._answered += 1
            taken, self._current = self._current is None, None
            answer = None if taken else self.service.answer(ticket, guest)
            if answer is not None:
                self._send(guest, answer)
                return
            if not taken:
                self._forget(guest)
                call_soon(self._loop, guest.home.take_over, ticket)
        call_soon(self._loop, ticket.deliver)

    def _read(self, guest: Guest, begun: float) -> Ticket | None:
        """The next request, once it is whole. What is not for this thread goes back."""
        try:
            piece = os.read(guest.number, _PIECE)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        guest.last = begun
        data = guest.got + piece if guest.got else piece
        found = guest.form.read(data) if piece else None
        if found is None:
            self._hand_back(guest, data)
            return None
        begin, end, json_length = found
        if len(data) > end or end - begin > guest.most_bytes:
            self._hand_back(guest, data)
            return None
        if len(data) < end:
            guest.got = data
            self._watch()
            return None
        guest.got = b""
        return Ticket(guest.name, bytearray(memoryview(data)[begin:]), json_length, begun + self._seconds)

    def _send(self, guest: Guest, answer: bytes) -> None:
        try:
            sent = os.write(guest.number, answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The event loop finds out the same, and ends the connection.
            self._hand_back(guest, b"")
            return
        if sent < len(answer) or guest.home.stopping:
            self._hand_back(guest, b"", answer[sent:])

    def _hand_back(self, guest: Guest, read: bytes, unsent: bytes = b"") -> None:
        """In the model's thread."""
        self._forget(guest)
        call_soon(self._loop, guest.home.take_back, read, unsent)

    def _take(self, guest: Guest) -> Ticket | None:
        """Lets a connection go; its request, if the thread is at it. What it does is not its own any more then."""
        self._forget(guest)
        if self._current is None or self._current[0] is not guest:
            return None
        ticket, self._current = self._current[1], None
        return ticket

    def _forget(self, guest: Guest) -> None:
        if self._guests.pop(guest.number, None) is not None:
            self._poll.unregister(guest.number)

    def _watch(self) -> None:
        """Has the event loop look from now on. In the model's thread."""
        if not self._watched:
            self._watched = True
            call_soon(self._loop, self._begin_looking)

    def _begin_looking(self) -> None:
        self._loop.call_later(LOOK_SECONDS, self._look, None)

    def _look(self, seen: Ticket | None) -> None:
        """Takes over what takes long, and back what does not become whole."""
        now = self._loop.time()
        with self._lock:
            current = self._current
            used = self._answered != self._looked_at
            self._looked_at = self._answered
            late = [item for item in self._guests.values() if item.got and now - item.last > LOOK_SECONDS]
            self._watched = used or current is not None or any(item.got for item in self._guests.values())
        if current is not None and current[1] is seen:
            # Nothing else is to wait behind it, and what comes next is counted among the requests in progress.
            self._not_before = now + PAUSE_SECONDS
            self.recall_all()
        for guest in late:
            self.recall(guest)
        if used:
            self.service.used()
        if self._watched:
            self._loop.call_later(LOOK_SECONDS, self._look, None if current is None else current[1])
