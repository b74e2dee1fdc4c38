"""HTTP hooks of programs on the same device, over the loopback or a unix socket. Nothing else is called."""

import contextlib
import http.client
import ipaddress
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgecanary.base.errors import InvalidInput, Unavailable

_MAX_ANSWER = 2000
_SECONDS = 2.0
"""For a whole call; a hook of the same device has no reason to take longer."""


@dataclass(frozen=True)
class HookAnswer:
    """What a hook said."""

    status: int
    text: str
    """The beginning of the body."""

    @property
    def good(self) -> bool:
        """Whether it is a yes."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class LocalHook:
    """The address of a hook: a port of the loopback, or a unix socket."""

    url: str
    host: str
    port: int
    path: str
    socket_path: str = ""

    def call(self, method: str, body: bytes | None = None) -> HookAnswer:
        """Asks the hook, within 2 s. Redirects are answers like others. Raises Unavailable."""
        connection = _Connection(self)
        headers = {} if body is None else {"Content-Type": "application/json"}
        # A server that trickles would pass every timeout of the socket's own.
        alarm = threading.Timer(_SECONDS, connection.cut)
        alarm.daemon = True
        alarm.start()
        try:
            connection.request(method, self.path, body, headers)
            response = connection.getresponse()
            text = response.read(_MAX_ANSWER).decode(errors="replace").strip()
            if connection.was_cut:  # half a head reads like a whole one
                raise TimeoutError
            return HookAnswer(response.status, text)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            why = "it took more than 2 s" if connection.was_cut else str(error) or type(error).__name__
            raise Unavailable("HookUnanswered", f"the hook {self.url} did not answer: {why}") from error
        finally:
            alarm.cancel()
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, hook: LocalHook) -> None:
        super().__init__(hook.host, hook.port, timeout=_SECONDS)
        self._hook = hook
        self.was_cut = False

    def connect(self) -> None:
        if self._hook.socket_path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_SECONDS)
            self.sock.connect(self._hook.socket_path)
        else:
            super().connect()

    def cut(self) -> None:
        """Ends the call, from another thread."""
        self.was_cut = True
        held: socket.socket | None = self.sock
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)


def parse_hook(text: str, *, field: str) -> LocalHook:
    """The hook that an address names: `http://127.0.0.1:PORT/PATH` or `unix:/SOCKET[:/PATH]`.

    Raises InvalidInput for anything that is not on this device.
    """
    if text.startswith("unix:/"):
        place, _, path = text.removeprefix("unix:").partition(":")
        return LocalHook(text, "localhost", 0, path or "/", socket_path=place)
    try:
        parts = urlsplit(text)
        port = parts.port or 80
    except ValueError as error:
        raise InvalidInput(field, f"must be an address, got {text!r}: {error}") from error
    if parts.scheme != "http" or not _is_loopback(parts.hostname or "") or parts.username:
        raise InvalidInput(
            field,
            f"must be http:// on this device's loopback, such as http://127.0.0.1:8080/hold, or unix:/SOCKET, "
            f"got {text!r}",
        )
    query = f"?{parts.query}" if parts.query else ""
    return LocalHook(text, parts.hostname or "", port, (parts.path or "/") + query)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
