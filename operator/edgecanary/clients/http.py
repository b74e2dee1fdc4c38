"""One HTTP request with a deadline for the whole of it, never followed elsewhere by itself.

Socket timeouts alone bound only the wait between two packets; a server that drips bytes would hold a
thread for ever. Here a timer cuts the connection when the deadline is reached.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from edgecanary.base.errors import NotAllowed, Unavailable, WrongAnswer
from edgecanary.base.reach import Reach
from edgecanary.clients.guard import connection_classes

_CHUNK = 256 * 1024
_FAILURES = (HTTPError, HTTPException, OSError, ValueError)


@dataclass(frozen=True)
class Request:
    """What to send. Header values may be secret: they are left out of the object's text."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None
    tls: ssl.SSLContext | None = None
    """For https: whom to trust; None trusts the system's authorities."""
    reach: Reach | None = None
    """Where it may go; None is for addresses that come from the program's own settings."""


class Exchange:
    """A request under way; a context manager that ends it.

    Raises Unavailable (ConnectionFailed, DeadlineExceeded) wherever it waits for the server, and at its beginning
    NotAllowed for an address that the request must not reach.
    """

    def __init__(self, request: Request, *, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._connection = _connection(request, timeout=seconds)
        self._cut = threading.Timer(seconds, self._shut_down)
        self._cut.daemon = True
        self._late = False
        self._response: BaseHTTPResponse | None = None

    def __enter__(self) -> Self:
        self._cut.start()
        try:
            self._response = self._open()
        except _FAILURES as error:
            self._close()
            raise self._failure(error) from error
        except NotAllowed:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._answer.status

    def header(self, name: str) -> str | None:
        """The value of a response header, None when it is absent."""
        return self._answer.headers.get(name)

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, and as it is: a content encoding is left alone."""
        while chunk := self._read():
            yield chunk

    def read(self, limit: int) -> bytes:
        """The whole body. Raises WrongAnswer (TooLong) when it has more than `limit` bytes."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > limit:
                raise WrongAnswer("TooLong", f"the answer is longer than {limit} bytes")
        return bytes(found)

    @property
    def _answer(self) -> BaseHTTPResponse:
        if self._response is None:
            raise RuntimeError("the exchange has not been entered")
        return self._response

    def _open(self) -> BaseHTTPResponse:
        parts = urlsplit(self._request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection.request(
            self._request.method,
            target,
            body=self._request.body,
            headers=dict(self._request.headers),
            preload_content=False,
        )
        return self._connection.getresponse()

    def _read(self) -> bytes:
        try:
            chunk = self._answer.read1(_CHUNK, decode_content=False)
        except _FAILURES as error:
            raise self._failure(error) from error
        if self._late:
            raise self._failure(TimeoutError())
        return chunk

    def _failure(self, error: Exception) -> Unavailable:
        if self._late or time.monotonic() >= self._end:
            return Unavailable("DeadlineExceeded", f"no complete answer within {self._seconds:g} s")
        return Unavailable("ConnectionFailed", _words(error))

    def _shut_down(self) -> None:
        self._late = True
        self._close_socket()

    def _close_socket(self) -> None:
        # Not SSLSocket.shutdown: it drops the TLS state while the reading thread still uses it.
        if (channel := self._connection.sock) is not None:
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(channel, socket.SHUT_RDWR)

    def _close(self) -> None:
        self._cut.cancel()
        with contextlib.suppress(OSError):
            self._connection.close()


def _connection(request: Request, *, timeout: float) -> HTTPConnection:
    parts = urlsplit(request.url)
    host = parts.hostname or ""
    plain: type[HTTPConnection] = HTTPConnection
    tls: type[HTTPSConnection] = HTTPSConnection
    if request.reach is not None:
        request.reach.check(request.url)
        plain, tls = connection_classes(request.reach)
    if parts.scheme == "https":
        return tls(host, parts.port, timeout=timeout, ssl_context=request.tls)
    return plain(host, parts.port, timeout=timeout)


def _words(error: Exception) -> str:
    """The error for a person: urllib3 begins its texts with the connection object's address."""
    text = str(error.__cause__ or error) or type(error).__name__
    return text.rsplit(": ", maxsplit=1)[-1] if " object at 0x" in text else text
