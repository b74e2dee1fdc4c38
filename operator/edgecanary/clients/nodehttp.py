"""Plain HTTP and JSON to an API server: bounded reads, time limits, tokens and certificates that change.

Blocking; the agent calls it from threads. The Kubernetes client libraries would cost a node more memory than
all the rest of the agent.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import urllib3
from pydantic import JsonValue
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.nodeaccess import ApiAccess

_CHUNK = 2**16

_CONNECTIONS = 3
"""Two watches and a write."""

_SOCKET_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""The kernel finds out within a minute that the other side of a silent watch is gone."""


@dataclass(frozen=True)
class HttpLimits:
    """What an API server may take, in time and in bytes.

    `silence_seconds` is how long a watch may be silent: an API server sends a bookmark about every minute.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    silence_seconds: float = 120.0
    body_bytes: int = 32 * 2**20
    line_bytes: int = 4 * 2**20


class Expired(EdgecanaryError):
    """The resource version is too old for the server (HTTP 410): list again."""

    def __init__(self) -> None:
        super().__init__("Expired", "the resource version is too old; everything is listed again")


@dataclass(frozen=True)
class Call:
    """One request."""

    path: str
    query: Mapping[str, str]
    accept: str = "application/json"
    method: str = "GET"
    body: JsonObject | None = None
    content_type: str = ""

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Stream:
    """The lines of a watch, which another thread can end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, line_bytes: int) -> None:
        self._response = response
        self._line_bytes = line_bytes

    def lines(self) -> Iterator[bytes]:
        """Each line as it comes, until the server ends the watch. Raises Unavailable and WrongAnswer."""
        rest = b""
        while True:
            try:
                chunk = self._response.read1(_CHUNK)
            except (HTTPError, OSError, ValueError) as error:
                raise Unavailable("WatchCut", f"the watch broke off: {type(error).__name__}") from error
            if not chunk:
                return
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > self._line_bytes:
                raise WrongAnswer("EventTooLarge", f"an event has more than {self._line_bytes} bytes")
            yield from whole

    def end(self) -> None:
        """Ends the watch, also while `lines` waits."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._response.shutdown()

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()


class ApiHttp:
    """Requests to one API server."""

    def __init__(self, access: ApiAccess, limits: HttpLimits | None = None) -> None:
        self._access = access
        self._limits = limits or HttpLimits()
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        self._stamp: tuple[tuple[int, int], ...] = ()

    @property
    def server(self) -> str:
        """The server's address."""
        return self._access.server

    def call(self, call: Call) -> JsonObject:
        """The answer to a request.

        Raises Unavailable, NotFound, InvalidInput (the server refuses the content), Expired and WrongAnswer.
        """
        response = self._request(call, self._limits.read_seconds)
        try:
            data = self._read_all(response, call)
        finally:
            response.release_conn()
        if response.status >= 400:
            raise _error(call, response.status, data)
        return _parse(data, call)

    def stream(self, call: Call) -> Stream:
        """A watch. Raises as `call` does."""
        response = self._request(call, self._limits.silence_seconds)
        if response.status >= 400:
            try:
                raise _error(call, response.status, self._read_all(response, call))
            finally:
                response.close()
        return Stream(response, self._limits.line_bytes)

    def _request(self, call: Call, read_seconds: float) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": call.accept, "User-Agent": "edgecanary-agent"}
        if token := self._access.bearer():
            headers["Authorization"] = f"Bearer {token}"
        if call.content_type:
            headers["Content-Type"] = call.content_type
        try:
            return self._current_pool().request(
                call.method,
                self.server + call.target,
                body=json.dumps(call.body).encode() if call.body is not None else None,
                headers=headers,
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=self._limits.connect_seconds, read=read_seconds),
            )
        except (HTTPError, OSError) as error:
            raise Unavailable("ServerUnreachable", f"{self.server}: {_plain(error)}") from error

    def _read_all(self, response: urllib3.BaseHTTPResponse, call: Call) -> bytes:
        limit = self._limits.body_bytes
        try:
            data = response.read(limit + 1)
        except (HTTPError, OSError) as error:
            response.close()
            raise Unavailable("AnswerCut", f"{self.server}{call.path}: {_plain(error)}") from error
        if len(data) > limit:
            response.close()
            raise WrongAnswer(
                "AnswerTooLarge", f"{self.server}{call.path}: answers with more than {limit} bytes"
            )
        return data

    def _current_pool(self) -> urllib3.PoolManager:
        with self._lock:
            stamp = self._access.stamp()
            if self._pool is None or stamp != self._stamp:
                self._pool = self._new_pool()
                self._stamp = stamp
            return self._pool

    def _new_pool(self) -> urllib3.PoolManager:
        if not self.server.startswith("https"):
            return urllib3.PoolManager(
                num_pools=2, maxsize=_CONNECTIONS, retries=False, socket_options=_SOCKET_OPTIONS
            )
        return urllib3.PoolManager(
            num_pools=2,
            maxsize=_CONNECTIONS,
            retries=False,
            socket_options=_SOCKET_OPTIONS,
            ssl_context=self._access.ssl_context(),
            server_hostname=self._access.server_name,
        )


def _error(call: Call, status: int, data: bytes) -> EdgecanaryError:
    where = f"{call.method} {call.path}: HTTP {status}"
    said = _said(data)
    if status == 404:
        hint = (
            "; does the cluster have this kind? Apply edgecanary's CRDs"
            if said.startswith("404 page")
            else ""
        )
        return NotFound("NotFound", f"{where}: {said.strip()}{hint}")
    if status == 410:
        return Expired()
    if status in (401, 403):
        return Unavailable("Forbidden", f"{where}: {said}; the agent's user needs this permission")
    if status in (400, 422):
        return InvalidInput("", f"{where}: {said}", reason="Refused")
    return Unavailable("ServerError", f"{where}: {said}")


def parse_json(data: bytes, what: str) -> JsonValue:
    """What JSON from the wire says.

    Raises WrongAnswer, also for what is nested too deeply and for half surrogate pairs: these are no text, and
    could be neither kept on disk nor reported.
    """
    try:
        found: JsonValue = json.loads(data)
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise WrongAnswer("NotJson", f"{what} is not JSON: {str(error)[:200]}") from error
    return found


def _said(data: bytes) -> str:
    """What the server says in its Status object, or the beginning of whatever it sent."""
    with contextlib.suppress(WrongAnswer):
        status = parse_json(data, "the answer")
        if isinstance(status, dict) and isinstance(message := status.get("message"), str):
            return message[:1024]
    return data[:200].decode("utf-8", "replace")


def _parse(data: bytes, call: Call) -> JsonObject:
    found = parse_json(data, f"{call.path}: the answer")
    if not isinstance(found, dict):
        raise WrongAnswer("NotAnObject", f"{call.path}: the answer is not an object")
    return found


def _plain(error: Exception) -> str:
    if isinstance(error, HttpTimeoutError):
        return "no answer in time"
    return str(error)[:500]
