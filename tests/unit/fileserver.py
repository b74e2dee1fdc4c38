"""A real HTTP server of files on the loopback interface that can be told to misbehave."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """How the server treats requests from now on."""

    status: int = 0
    """Answer with this status and no file."""
    cut_after: int | None = None
    """Close the connection after so many bytes of a body."""
    ignore_range: bool = False
    ignore_if_range: bool = False
    etag: str | None = None
    content_length: int | None = None
    """Claim this length."""
    no_length: bool = False
    """Send no Content-Length; the body ends with the connection."""
    pause_after: int | None = None
    """Send so many bytes, then nothing more until the server ends."""
    trickle_seconds: float = 0.0
    """Wait so long before each byte."""
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_range: str | None = None
    reset: bool = False
    """Where the connection is cut, reset it instead of closing it in order."""
    raw: bytes | None = None
    """Answer with just these bytes and reset the connection."""
    raw_pause: float = 0.0
    """Wait so long before each of the raw bytes."""
    endless: bool = False
    """Announce no length and send the file over and over."""


@dataclass(frozen=True)
class Seen:
    """One request."""

    path: str
    range: str | None
    if_range: str | None


class FileServer:
    """Serves `files` by path; `behaviour` is looked at anew for each request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.behaviour = Behaviour()
        self.broken: dict[str, int] = {}
        """Paths that are answered with a status, whatever the behaviour."""
        self.seen: list[Seen] = []
        self.ending = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path: str, data: bytes) -> str:
        """Serves the bytes; returns their address."""
        self.files[path] = data
        return self.url(path)

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    try:
        yield server
    finally:
        server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: FileServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    @property
    def owner(self) -> FileServer:
        assert isinstance(self.server, _Server)
        return self.server.owner

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        wanted = self.headers.get("Range")
        self.owner.seen.append(Seen(self.path, wanted, self.headers.get("If-Range")))
        rule = self.owner.behaviour
        if path in self.owner.broken:
            rule = Behaviour(status=self.owner.broken[path])
        if rule.raw is not None:
            self._raw(rule.raw, rule.raw_pause)
            return
        if rule.status or path not in self.owner.files:
            self._refuse(rule)
            return
        data = self.owner.files[path]
        start = self._start(rule, wanted, len(data))
        if start is None:
            self._refuse(Behaviour(status=416))
            return
        self._head(rule, data, start)
        self._body(rule, data[start:])

    def _start(self, rule: Behaviour, wanted: str | None, length: int) -> int | None:
        condition = self.headers.get("If-Range")
        known = (rule.etag, rule.headers.get("Last-Modified"))
        changed = condition is not None and condition not in known and not rule.ignore_if_range
        if wanted is None or rule.ignore_range or changed:
            return 0
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        return start if start < length else None

    def _refuse(self, rule: Behaviour) -> None:
        self.send_response(rule.status or 404)
        for name, value in rule.headers.items():
            self.send_header(name, value)
        if rule.location:
            self.send_header("Location", rule.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _head(self, rule: Behaviour, data: bytes, start: int) -> None:
        self.send_response_only(206 if start else 200)
        if "Date" not in rule.headers:
            self.send_header("Date", self.date_time_string())
        if start:
            found = rule.content_range or f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", found)
        if rule.etag:
            self.send_header("ETag", rule.etag)
        for name, value in rule.headers.items():
            self.send_header(name, value)
        if rule.no_length or rule.endless:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(rule.content_length or len(data) - start))
        self.end_headers()

    def _raw(self, data: bytes, pause: float) -> None:
        for byte in data:
            if pause and self.owner.ending.wait(pause):
                break
            self.wfile.write(bytes([byte]))
        self._reset()

    def _reset(self) -> None:
        """Ends the connection without a goodbye: what was sent arrives, then the reset."""
        self.wfile.flush()
        time.sleep(0.05)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _body(self, rule: Behaviour, body: bytes) -> None:
        while rule.endless and not self.owner.ending.is_set():
            self.wfile.write(body)
        if rule.trickle_seconds:
            for byte in body:
                if self.owner.ending.wait(rule.trickle_seconds):
                    break
                self.wfile.write(bytes([byte]))
            return
        limit = rule.cut_after if rule.cut_after is not None else rule.pause_after
        self.wfile.write(body if limit is None else body[:limit])
        self.wfile.flush()
        if rule.reset:
            self._reset()
            return
        if rule.pause_after is not None:
            self.owner.ending.wait()
        if limit is not None or rule.no_length:
            self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError, ValueError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return
