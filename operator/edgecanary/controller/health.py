"""/healthz, /readyz and /metrics over HTTP, from a thread of their own so that they answer when all else hangs."""

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from edgecanary.base.errors import InvalidInput, Unavailable

Check = Callable[[], str | None]
"""Says what is wrong, or None."""

_TIMEOUT_SECONDS = 10

log = logging.getLogger(__name__)


class HealthServer:
    """Answers probes and scrapes on one address."""

    def __init__(
        self,
        address: str,
        *,
        alive: Mapping[str, Check],
        ready: Mapping[str, Check],
        metrics: Callable[[], bytes],
    ) -> None:
        """`address` is `host:port` or `:port`. Raises InvalidInput and, when it cannot be bound, Unavailable."""
        host, port = parse_address(address)
        handler = _handler(alive, ready, metrics)
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            text = f"cannot listen on {address}: {error.strerror or error}; choose another --metrics-address"
            raise Unavailable("AddressInUse", text) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops to answer."""
        self._server.shutdown()
        self._server.server_close()


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port` or `:port` (all interfaces). Raises InvalidInput."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        rule = f"must be an address such as :8080 or 127.0.0.1:8080, got {text!r}"
        raise InvalidInput("--metrics-address", rule, reason="InvalidSetting")
    return host.strip("[]"), int(port)


def failures(checks: Mapping[str, Check]) -> list[str]:
    """What is wrong, one line for each check that fails."""
    found = ((name, check()) for name, check in checks.items())
    return [f"{name}: {problem}" for name, problem in found if problem is not None]


def _handler(
    alive: Mapping[str, Check], ready: Mapping[str, Check], metrics: Callable[[], bytes]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout: ClassVar[int] = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer_checks(alive)
                case "/readyz":
                    self._answer_checks({**alive, **ready})
                case "/metrics":
                    self._answer(200, metrics(), "text/plain; version=0.0.4; charset=utf-8")
                case _:
                    self._answer(404, b"try /healthz, /readyz or /metrics\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            log.debug(format, *args)

        def _answer_checks(self, checks: Mapping[str, Check]) -> None:
            problems = failures(checks)
            self._answer(503 if problems else 200, ("\n".join(problems) or "ok").encode() + b"\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
