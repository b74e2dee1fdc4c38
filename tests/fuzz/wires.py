"""Connections in memory: bytes go in as a network would bring them, and what comes out is kept."""

import asyncio
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import urllib3

from edgecanary.agent.marks import Marks
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.runtime.base import Array, Feeds
from edgecanary.agent.serving.app import InferenceApp
from edgecanary.agent.serving.connection import Connection, Shared
from edgecanary.agent.serving.engine import Engine
from edgecanary.agent.serving.exchange import BodyRoom
from edgecanary.agent.serving.messages import HttpLimits
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.registry import ActiveRevision, Registry, ServedRevision
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.serving.watchdog import Watchdog
from edgecanary.agent.serving.worker import Ticket, Worker
from edgecanary.agent.telemetry import Identity, Telemetry
from edgecanary.agent.tensors import TensorType
from edgecanary.analysis.query import QueryError
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients import nodeapi
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeevents import NodeEvent
from edgecanary.clients.nodehttp import ApiHttp, Call, parse_json
from edgecanary.clients.nodehttp import HttpLimits as ApiLimits
from edgecanary.clients.prometheus import Prometheus
from tests.fuzz.samples import OFFERED, TENSORS

P = ParamSpec("P")
T = TypeVar("T")

_PIECE = 61
_API_LIMITS = ApiLimits(body_bytes=8192, line_bytes=4096)
_HTTP_LIMITS = HttpLimits(max_head_bytes=8192, max_body_bytes=1024, max_buffered_bytes=4096)


class _Api(ApiHttp):
    """An API server whose every answer is given beforehand."""

    def __init__(self, data: bytes) -> None:
        super().__init__(ApiAccess("http://api"), _API_LIMITS)
        self._data = data

    def _request(self, call: Call, read_seconds: float) -> urllib3.BaseHTTPResponse:
        return urllib3.HTTPResponse(io.BytesIO(self._data), status=200, preload_content=False)


def release(data: bytes) -> ModelRelease | None:
    """The ModelRelease that these bytes are, as a node understands it. Raises WrongAnswer."""
    found = parse_json(data, "the release")
    return nodeapi._release(found) if isinstance(found, dict) else None


def watch(data: bytes, deliver: Callable[[NodeEvent], None]) -> None:
    """A watch of the releases and of the node that brings these bytes. Raises what a watcher would handle."""
    for topic in _topics():
        watcher = nodeapi._Watcher(_Api(data), topic, deliver)
        watcher._version = "1"
        watcher._watch()


def listing(data: bytes, deliver: Callable[[NodeEvent], None]) -> None:
    """A list of the releases and of the node that these bytes are the answer to."""
    for topic in _topics():
        nodeapi._Watcher(_Api(data), topic, deliver)._list()


def _topics() -> Iterator[nodeapi._Topic]:
    yield nodeapi._Releases()
    yield nodeapi._OwnNode("n1")


def prometheus(found: Prometheus, status: int, body: bytes) -> None:
    """What is made of an answer. Nothing is ever raised."""
    reply = found._judge(status, body)
    if not isinstance(reply, QueryError):
        found._values(reply)
        found._series(reply)


class _Transport(asyncio.Transport):
    """Keeps what is written; nobody waits at the other end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Reading goes on: the bytes are here."""

    def resume_reading(self) -> None:
        """It never stopped."""


class _Inline(Worker):
    """Answers at once, in the caller's thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def together(self) -> bool:
        """So that no connection is lent to a thread: there is none."""
        return True

    def submit(self, ticket: Ticket) -> None:
        self._engine.answer([ticket])
        ticket.deliver()


class _Session:
    """A model that answers its first input."""

    inputs: tuple[TensorType, ...] = TENSORS[0]
    outputs: tuple[TensorType, ...] = TENSORS[1]

    def new_run(self) -> "_Session":
        return self

    def execute(self, feeds: Feeds, outputs: "list[str] | tuple[str, ...] | object") -> list[Array]:
        return [feeds["x"] for _ in TENSORS[1]]

    def interrupt(self) -> None:
        """It is over before anybody could."""


async def converse(data: bytes) -> bytes:
    """What the inference port answers to a client that sends these bytes and then no more."""
    telemetry = Telemetry(agent_version="1")
    registry, settings, quiet = Registry(telemetry), ServingSettings(), QuietTrim()
    app = InferenceApp(registry, telemetry, settings, quiet, Watchdog(settings.hang_seconds), version="1")
    _serve(registry)
    shared = Shared(app.handle, _HTTP_LIMITS, BodyRoom(_HTTP_LIMITS.max_buffered_bytes))
    connection, transport = Connection(shared), _Transport()
    connection.connection_made(transport)
    for at in range(0, len(data), _PIECE):
        if transport.closed:
            break
        connection.data_received(data[at : at + _PIECE])
        await _settle(connection)
    if not transport.closed:
        connection.eof_received()
        await _settle(connection)
    connection.connection_lost(None)
    await _settle(connection)
    quiet.stop()
    if shared.room.left != _HTTP_LIMITS.max_buffered_bytes:
        raise AssertionError(
            f"{_HTTP_LIMITS.max_buffered_bytes - shared.room.left} bytes were never given back"
        )
    if b'{"error":"the server failed' in transport.written:
        raise AssertionError("a request broke the server")
    return bytes(transport.written)


def _serve(registry: Registry) -> None:
    key = ModelKey("plant", "pump")
    identity = Identity(key, OFFERED.revision, OFFERED.version)
    installed = InstalledRevision(
        key, OFFERED.revision, "1", Path("/nowhere"), OFFERED.variants[0], OFFERED.io, None, None, True
    )
    mark = Marks(Path()).take(key, OFFERED.revision)
    engine = Engine(_Session(), OFFERED.revision, "test", *TENSORS, memory_bytes=0, mark=mark)
    registry.switch(key, ActiveRevision(ServedRevision(identity), installed, engine, _Inline(engine)))


async def _settle(connection: Connection) -> None:
    """Lets everything that can happen without further bytes happen."""
    for _ in range(12):
        await asyncio.sleep(0)
    task = connection._task
    if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
        raise AssertionError("the connection's task broke") from task.exception()


_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


def check_answers(written: bytes) -> None:
    """Whether the bytes are whole answers, one after the other. Raises AssertionError."""
    at = 0
    while at < len(written):
        status = _STATUS.match(written, at)
        end = written.find(b"\r\n\r\n", at)
        if status is None or end < 0:
            raise AssertionError(f"no answer at byte {at}: {written[at : at + 60]!r}")
        if int(status[1]) == 500:
            raise AssertionError(f"a failure of the server: {written[at : at + 200]!r}")
        length = _LENGTH.search(written, at, end + 2)
        at = end + 4
        if length is not None and written[at : at + 5] != b"HTTP/":
            at += int(length[1])
