"""HTTP requests and answers as values, and the limits within which they are taken."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    from edgecanary.agent.serving.lane import Lane

JSON = "application/json"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
MAX_ID_LENGTH = 256
"""Characters of a request's identifier."""


@dataclass(frozen=True)
class HttpLimits:
    """What one listener takes. Sizes are in bytes."""

    max_head_bytes: int = 32 * 1024
    max_body_bytes: int = 16 * 2**20
    max_buffered_bytes: int = 64 * 2**20
    """All bodies that are held at one time."""
    max_connections: int = 256
    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of the request's head."""
    body_seconds: float = 30.0
    """From the end of the head to the end of the body."""
    idle_seconds: float = 75.0
    """Between two requests of one connection."""
    send_seconds: float = 30.0
    """For the client to take an answer."""
    linger_seconds: float = 2.0
    """How long the rest of a refused request is read and dropped, so that the client sees the answer."""


class HttpFault(EdgecanaryError):
    """An answer other than success, sent as the protocol's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"Http{status}", message)
        self.status = status
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            self.headers["retry-after"] = str(retry_after_seconds)


class ClientGone(EdgecanaryError):
    """The client closed the connection before its request was whole."""

    def __init__(self) -> None:
        super().__init__("ClientGone", "the client closed the connection")


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def _stay(_lane: "Lane", _name: str) -> None:
    """The connection stays where it is."""


@dataclass(frozen=True)
class Request:
    """The head of a request, and a way to its body."""

    method: str
    path: str
    """Still percent-encoded, without the query."""
    headers: Mapping[str, str]
    """By lower-case name; of several the last."""
    read_body: Callable[[], Awaitable[bytearray]]
    """Receives the whole body. Raises HttpFault when it is too large or too slow, or there is no room for
    it, and ClientGone."""

    follow: Callable[["Lane", str], None] = _stay
    """Lends the connection, once this request is answered, to the thread of a model that it calls by this name."""


Handler = Callable[[Request], Awaitable[Response]]


def json_response(content: object, *, status: int = 200) -> Response:
    """An answer with a JSON body."""
    return Response(status, to_json(content))


def to_json(content: object) -> bytes:
    """Compact JSON in UTF-8. Half a surrogate pair, which clients can send escaped, stays escaped."""
    return _ENCODER.encode(content).encode("utf-8", "backslashreplace")


def fault_response(fault: HttpFault) -> Response:
    """The protocol's error object."""
    return Response(fault.status, to_json({"error": fault.message}), headers=fault.headers)
