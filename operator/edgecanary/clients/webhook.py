"""A webhook that gets CloudEvents: one signed POST, and what the receiver makes of it."""

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from edgecanary.api.fields import JsonObject
from edgecanary.base.clock import Clock, to_rfc3339
from edgecanary.base.errors import InvalidInput, Unavailable, WrongAnswer
from edgecanary.clients.http import Exchange, Request
from edgecanary.clients.retryafter import retry_after

URL_FLAG = "--notify-url"
SECRET_FLAG = "--notify-secret-file"  # noqa: S105  the flag's name
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

_SECONDS = 10.0
"""For a whole call."""

_MAX_ANSWER = 64 * 1024
_MAX_SECRETS = 4
_LEAST_SECRET_BYTES = 16
_PREFIX = "whsec_"
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class CloudEvent:
    """An event in the structured JSON mode of CloudEvents 1.0."""

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: JsonObject

    def encode(self) -> bytes:
        """The body of the POST; the same event gives the same bytes."""
        body: JsonObject = {
            "specversion": "1.0",
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": to_rfc3339(self.time),
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class WebhookTarget:
    """Where events go, and the file with the secrets that sign them; None sends them unsigned."""

    url: str
    secret_file: Path | None = None

    def __post_init__(self) -> None:
        # The address itself may be a secret: messages do not repeat it.
        try:
            parts = urlsplit(self.url)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            raise InvalidInput(URL_FLAG, "must be an http:// or https:// address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
            raise InvalidInput(URL_FLAG, "must be an http:// or https:// address with a host")
        if parts.username is not None or parts.password is not None:
            raise InvalidInput(URL_FLAG, f"must not hold a user or password; sign with {SECRET_FLAG} instead")
        if not _VISIBLE.fullmatch(self.url):
            raise InvalidInput(
                URL_FLAG, "must not hold spaces or other characters that an address cannot have"
            )

    @property
    def place(self) -> str:
        """The receiver for messages: without path and query, which may be secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def secrets(self) -> tuple[bytes, ...]:
        """The keys of now: one a line, so that an old and a new one can both sign. Raises InvalidInput."""
        if self.secret_file is None:
            return ()
        try:
            lines = self.secret_file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InvalidInput(SECRET_FLAG, f"{self.secret_file} cannot be read: {why}") from error
        found = tuple(_key(line.strip()) for line in lines if line.strip())
        if not 1 <= len(found) <= _MAX_SECRETS:
            raise InvalidInput(
                SECRET_FLAG,
                f"{self.secret_file} must hold 1 to {_MAX_SECRETS} secrets, one a line, got {len(found)}",
            )
        return found


class Webhook:
    """Posts to one receiver. Blocking."""

    def __init__(self, target: WebhookTarget, clock: Clock, *, user_agent: str) -> None:
        self._target = target
        self._clock = clock
        self._user_agent = user_agent

    @property
    def place(self) -> str:
        """The receiver for messages."""
        return self._target.place

    def send(self, event: CloudEvent) -> None:
        """Posts the event; returns when the receiver has taken it (2xx). Redirects are not followed.

        Raises Unavailable when it may be tried again, with `retry_after_seconds` where the receiver says so;
        WrongAnswer (Refused) when the receiver will never take this event; InvalidInput when the secret's
        file cannot be used.
        """
        body = event.encode()
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": self._user_agent,
            **self._signed(event.id, body),
        }
        with Exchange(Request("POST", self._target.url, headers, body), seconds=_SECONDS) as exchange:
            status = exchange.status
            wait = retry_after(
                {name: value for name in ("Retry-After", "Date") if (value := exchange.header(name))},
                self._clock.now().timestamp(),
            )
            if 200 <= status < 300:
                return
            said = _beginning(exchange)
        text = f"{self.place} answers {status}{said}"
        if status in (400, 413, 422):
            raise WrongAnswer("Refused", text)
        if 300 <= status < 400:
            text = f"{text}; redirects are not followed, give the address itself with {URL_FLAG}"
        raise Unavailable("WebhookRefused", text, retry_after_seconds=wait or 0.0)

    def _signed(self, event_id: str, body: bytes) -> dict[str, str]:
        """The headers of Standard Webhooks: an HMAC-SHA256 over id, time and body for each secret."""
        stamp = str(int(self._clock.now().timestamp()))
        headers = {"webhook-id": event_id, "webhook-timestamp": stamp}
        signatures = [sign(key, event_id, stamp, body) for key in self._target.secrets()]
        return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers


def sign(key: bytes, event_id: str, stamp: str, body: bytes) -> str:
    """One signature, as it stands in the header."""
    text = b".".join((event_id.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def _key(line: str) -> bytes:
    """The bytes of a secret: text as it is, or base64 behind `whsec_`."""
    key = line.encode()
    if line.startswith(_PREFIX):
        try:
            key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
        except ValueError:
            raise InvalidInput(SECRET_FLAG, f"must hold base64 after {_PREFIX}") from None
    if len(key) < _LEAST_SECRET_BYTES:
        raise InvalidInput(
            SECRET_FLAG, f"must hold secrets of at least {_LEAST_SECRET_BYTES} bytes, got one of {len(key)}"
        )
    return key


def _beginning(exchange: Exchange) -> str:
    """What the receiver says, as far as a line of the log goes."""
    try:
        words = exchange.read(_MAX_ANSWER)[:200].decode("utf-8", "replace").split()
    except (Unavailable, WrongAnswer):
        return ""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(words))
    return f": {text}" if text else ""
