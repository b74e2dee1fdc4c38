"""One HTTP request on its way in, and its answer's bytes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from edgecanary.agent.serving.messages import ClientGone, HttpFault, HttpLimits, Response


@dataclass
class BodyRoom:
    """The memory that the bodies of all connections share."""

    left: int

    def take(self, count: int) -> bool:
        """Takes `count` bytes if there are as many."""
        if count > self.left:
            return False
        self.left -= count
        return True

    def give_back(self, count: int) -> None:
        """Returns what was taken."""
        self.left += count


@dataclass(frozen=True)
class Head:
    """What stands before the body."""

    method: str
    path: str
    headers: Mapping[str, str]
    http_version: str
    keep_alive: bool


class Exchange:
    """A request whose body may still be arriving."""

    def __init__(self, head: Head, room: BodyRoom, limits: HttpLimits) -> None:
        self.head = head
        self.keep_alive = head.keep_alive
        self.complete = False
        self.fault: HttpFault | None = None
        self.answer: Callable[[], Awaitable[Response]] | None = None
        """What answers it instead of the listener's handler."""
        self._limits = limits
        self._room = room
        self._body = bytearray()
        self._lost = False
        self._released = False
        self._settled = asyncio.Event()
        self.missing = int(head.headers.get("content-length", "0"))
        """Bytes of the body that the head announced, kept up to date only where the parser does not."""
        if self.missing > limits.max_body_bytes:
            self.fail(self._too_large(f"of {self.missing} bytes"))

    def feed(self, data: bytes) -> None:
        """Takes in a piece of the body."""
        if self.fault is not None or self._released:
            return
        if len(self._body) + len(data) > self._limits.max_body_bytes:
            self.fail(self._too_large("being sent"))
        elif not self._room.take(len(data)):
            self.fail(HttpFault(503, "too many request bodies at once, try again", retry_after_seconds=1))
        else:
            self._body += data

    def end(self) -> None:
        """The body is whole."""
        self.complete = True
        self._settled.set()

    def fail(self, fault: HttpFault) -> None:
        """The request cannot be taken; the first fault stays."""
        self.fault = self.fault or fault
        self.release()
        self._settled.set()

    def lose(self) -> None:
        """The client went away."""
        self._lost = not self.complete
        self._settled.set()

    def release(self) -> None:
        """Frees the body, and takes no more of it."""
        self._released = True
        self._room.give_back(len(self._body))
        self._body = bytearray()

    async def receive(self, ask: Callable[[], None]) -> bytearray:
        """The whole body; `ask` is called first if the client waits to be asked for it.

        Raises HttpFault and ClientGone.
        """
        if self.complete and self.fault is None:
            return self._body
        waiting = self.head.headers.get("expect", "").lower() == "100-continue"
        if waiting and not self._settled.is_set():
            ask()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._settled.wait()
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g}"
            raise HttpFault(408, f"the request body did not arrive within {seconds} seconds") from None
        if self.fault is not None:
            raise self.fault
        if self._lost:
            raise ClientGone
        return self._body

    def _too_large(self, what: str) -> HttpFault:
        return HttpFault(
            413,
            f"the request body {what} is too large, at most {self._limits.max_body_bytes} bytes are allowed",
        )


class _Date:
    """The `Date` header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._line = second, f"date: {formatdate(second, usegmt=True)}"
        return self._line


_DATE = _Date()
_STATUS_LINES = {int(status): f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}


def encode_head(head: Head, response: Response, *, keep_alive: bool) -> bytes:
    """The answer's bytes up to its body."""
    lines = [
        _STATUS_LINES[response.status],
        _DATE.line(),
        f"content-type: {response.content_type}",
        f"content-length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    if not keep_alive:
        lines.append("connection: close")
    elif head.http_version == "1.0":
        lines.append("connection: keep-alive")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")
