"""A real HTTP server that takes remote writes, can misbehave, and can pass them on to a real Prometheus."""

import ssl
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cramjam import snappy

from edgelab.certificates import KeyPair


@dataclass(frozen=True)
class Sample:
    """A sample as it came in; `bits` is its value, bit by bit."""

    labels: tuple[tuple[str, str], ...]
    timestamp_ms: int
    bits: int

    @property
    def value(self) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", self.bits))[0])

    @property
    def name(self) -> str:
        return dict(self.labels)["__name__"]


@dataclass(frozen=True)
class Said:
    """An answer. Status 0: the connection is cut without one, after the request was taken."""

    status: int = 204
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[list[Sample]], Said]


class Receiver:
    """`answer` is asked for each request with samples; those of requests with 204 are in `taken`."""

    def __init__(self, upstream: str | None = None, pair: KeyPair | None = None) -> None:
        self.answer: Answer = lambda _: Said()
        self.now: Callable[[], datetime | None] = lambda: datetime.now(UTC)
        self.taken: list[Sample] = []
        self.requests: list[list[Sample]] = []
        self.headers: list[dict[str, str]] = []
        self.ending = threading.Event()
        self.upstream = upstream
        self._server = _Server(self)
        self._scheme = "https" if pair else "http"
        if pair:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pair.certificate, pair.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/api/v1/write"

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, body: bytes, headers: dict[str, str]) -> Said:
        samples = decode(bytes(snappy.decompress_raw(body)))
        self.headers.append(headers)
        if self.upstream is not None and samples:
            refused = _pass_on(self.upstream, body, headers)
            if refused is not None:
                return refused
        if samples:
            self.requests.append(samples)
        said = self.answer(samples) if samples else Said()
        if said.status == 204:
            self.taken += samples
        return said


def _pass_on(url: str, body: bytes, headers: dict[str, str]) -> Said | None:
    sent = {name: value for name, value in headers.items() if name.lower().startswith(("content-", "x-"))}
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=30).close()
    except urllib.error.HTTPError as error:
        return Said(error.code, error.read().decode())
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = receiver.take(body, dict(self.headers))
        if said.status == 0:
            self.close_connection = True
            return
        self.send_response_only(said.status)
        moment = receiver.now()
        if moment is not None:
            self.send_header("Date", format_datetime(moment, usegmt=True))
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said.text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def receiving(upstream: str | None = None, pair: KeyPair | None = None) -> Iterator[Receiver]:
    receiver = Receiver(upstream, pair)
    try:
        yield receiver
    finally:
        receiver.close()


def decode(request: bytes) -> list[Sample]:
    """Reads a WriteRequest by the rules of protobuf, independently of the encoder."""
    found = []
    for series in _fields(request):
        assert series.number == 1
        parts = list(_fields(series.body))
        labels = tuple(_label(part.body) for part in parts if part.number == 1)
        for part in parts:
            if part.number == 2:
                whole = {field.number: field.whole for field in _fields(part.body)}
                timestamp = whole.get(2, 0)
                found.append(Sample(labels, timestamp - (timestamp >> 63 << 64), whole.get(1, 0)))
    return found


@dataclass(frozen=True)
class _Field:
    number: int
    whole: int = 0
    body: bytes = b""


def _label(body: bytes) -> tuple[str, str]:
    found = {part.number: part.body.decode() for part in _fields(body)}
    return found.get(1, ""), found.get(2, "")


def _fields(body: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(body):
        tag, at = _number(body, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            whole, at = _number(body, at)
            yield _Field(number, whole=whole)
        elif kind == 1:
            yield _Field(number, whole=int.from_bytes(body[at : at + 8], "little"))
            at += 8
        else:
            assert kind == 2
            length, at = _number(body, at)
            assert at + length <= len(body)
            yield _Field(number, body=body[at : at + length])
            at += length


def _number(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
        if body[at - 1] < 0x80:
            return value, at
