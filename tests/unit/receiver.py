"""A real HTTP server on the loopback interface that takes webhooks, and can be told to misbehave."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgecanary.clients.webhook import Webhook, WebhookTarget


class Noon:
    def now(self) -> datetime:
        return datetime(2026, 1, 5, 12, 0, 1, tzinfo=UTC)


@dataclass
class Receiver:
    """A real server; `status` and `headers` are what it answers from now on."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    hangs: bool = False
    cuts: bool = False
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def webhook(self, secret_file: Path | None = None, path: str = "/hook/t0ken?key=hidden") -> Webhook:
        target = WebhookTarget(f"http://127.0.0.1:{self.port}{path}", secret_file)
        return Webhook(target, Noon(), user_agent="test")


@contextmanager
def receiving() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if found.hangs:
                found.ending.wait(30)
            if found.cuts:
                self.wfile.write(b"HTTP/1.1 2")
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()
