"""Prometheus's remote write: one request, and what the server makes of it."""

import base64
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from edgecanary.base.errors import InvalidInput, WrongAnswer
from edgecanary.clients.http import Exchange, Request
from edgecanary.clients.nodeaccess import Blob

_MAX_ANSWER = 64 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": "edgecanary-agent",
}


@dataclass(frozen=True)
class WriteTarget:
    """Where samples go, and how the agent proves who it is. Files are read again for every request."""

    url: str
    token: Blob | None = None
    user: str | None = None
    password: Blob | None = None
    authority: Blob | None = None
    """Certificates to trust; None: the system's."""
    seconds: float = 30.0
    """For a whole request."""

    def __post_init__(self) -> None:
        field = "--remote-write"
        try:
            parts = urlsplit(self.url)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            raise InvalidInput(field, "must be an http:// or https:// address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
            raise InvalidInput(field, "must be an http:// or https:// address with a host")
        if parts.username is not None or parts.password is not None:
            raise InvalidInput(
                field,
                "must not hold a user or password; give --remote-write-user and --remote-write-password-file",
            )
        if self.token and self.user:
            raise InvalidInput(
                "--remote-write-token-file", "must not be given together with --remote-write-user"
            )
        if (self.user is None) != (self.password is None):
            raise InvalidInput(
                "--remote-write-user", "must be given together with --remote-write-password-file"
            )
        if (self.token or self.user) and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise InvalidInput(field, "must be https:// when a token or a password goes with it")


@dataclass(frozen=True)
class WriteAnswer:
    """What the server said."""

    status: int
    message: str
    retry_after_seconds: float | None
    server_time: datetime | None
    """The server's clock, which is right more often than a node's."""


class RemoteWrite:
    """Writes to one server. Blocking."""

    def __init__(self, target: WriteTarget) -> None:
        self._target = target
        self._secure = urlsplit(target.url).scheme == "https"

    def send(self, body: bytes) -> WriteAnswer:
        """Sends a compressed WriteRequest; redirects are not followed.

        Raises Unavailable when there is no whole answer, InvalidInput when a file cannot be used, and
        WrongAnswer.
        """
        target = self._target
        headers = {**_HEADERS, **self._credentials()}
        request = Request("POST", target.url, headers, body, self._tls() if self._secure else None)
        with Exchange(request, seconds=target.seconds) as exchange:
            try:
                said = exchange.read(_MAX_ANSWER)
            except WrongAnswer:
                said = b""
            return WriteAnswer(
                exchange.status,
                said[:300].decode("utf-8", "replace").strip(),
                _retry_after(exchange.header("Retry-After")),
                _date(exchange.header("Date")),
            )

    def _credentials(self) -> dict[str, str]:
        target = self._target
        if target.token is not None:
            return {"Authorization": f"Bearer {_secret(target.token, '--remote-write-token-file')}"}
        if target.password is not None:
            password = _secret(target.password, "--remote-write-password-file")
            pair = base64.b64encode(f"{target.user}:{password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def _tls(self) -> ssl.SSLContext:
        authority = self._target.authority
        try:
            return ssl.create_default_context(cadata=authority.read().decode("ascii") if authority else None)
        except (OSError, ValueError) as error:
            raise InvalidInput("--remote-write-ca-file", f"cannot be used: {error}") from error


def _secret(blob: Blob, field: str) -> str:
    try:
        text = blob.read().decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(field, f"cannot be read: {error}") from error
    if not text or not text.isprintable():
        raise InvalidInput(field, "must hold one line of text")
    return text


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or a date; None when it is neither."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = _date(text)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
