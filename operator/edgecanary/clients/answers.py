"""Whether what a file server answers is the rest of the file that was asked for."""

import contextlib
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse

from edgecanary.base.errors import EdgecanaryError, NotFound, Unavailable, WrongAnswer
from edgecanary.base.quantities import human_bytes
from edgecanary.clients.retryafter import retry_after

_MAX_VALIDATOR = 256


class Part:
    """A file that is being fetched, and beside it what tells whether its source is still the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._validator = path.with_name(f"{path.name}.etag")

    @property
    def length(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """The source's strong ETag or, where it has none, the time of its last change."""
        try:
            return self._validator.read_text() or None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def keep_validator(self, headers: Mapping[str, str]) -> None:
        """Remembers what the answer says of the source."""
        found = _validator(headers)
        if found is None:
            self.forget_validator()
        elif found != self.validator:
            self._validator.write_text(found)

    def forget_validator(self) -> None:
        """Removes it, once the file is whole."""
        self._validator.unlink(missing_ok=True)

    def drop(self) -> None:
        """Removes all."""
        self.path.unlink(missing_ok=True)
        self.forget_validator()


def start_of_body(response: BaseHTTPResponse, url: str, part: Part, have: int, size: int) -> int:
    """Where in the file the body begins. Raises when the answer is not one to go on with."""
    name = shown(url)
    if response.status not in (200, 206):
        raise _refusal(response, name, part)
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise WrongAnswer("Encoded", f"{name}: the server compresses what must come byte by byte")
    start = 0
    if response.status == 206:
        start = have
        found = response.headers.get("Content-Range", "")
        if found not in (f"bytes {have}-{size - 1}/{size}", f"bytes {have}-{size - 1}/*"):
            raise WrongAnswer(
                "LengthMismatch",
                f"{name}: wanted bytes {have}-{size - 1}/{size} of the file, the server has {found[:80]!r}",
            )
        if have and _has_changed(part.validator, response.headers):
            raise WrongAnswer("SourceChanged", f"{name}: the file changed while it was being fetched")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size - start):
        raise WrongAnswer(
            "LengthMismatch",
            f"{name}: the release says {size} bytes ({human_bytes(size)}), the server has {length[:20]} "
            f"from byte {start}",
        )
    return start


def _refusal(response: BaseHTTPResponse, name: str, part: Part) -> EdgecanaryError:
    status = response.status
    if status in (401, 403):
        return Unavailable(
            "AccessDenied",
            f"{name}: HTTP {status}; the address has expired or is not allowed; a renewed one is waited for",
        )
    if status in (404, 410):
        return NotFound("FileMissing", f"{name}: HTTP {status}; the file is not there")
    if status in (400, 416) and part.length:
        return WrongAnswer("RangeRefused", f"{name}: HTTP {status}; the file is fetched from its beginning")
    wait = retry_after(response.headers) or 0.0
    asked = f"; it asks to be left alone for {wait:.0f} s" if wait else ""
    return Unavailable("ServerError", f"{name}: HTTP {status}{asked}", retry_after_seconds=wait)


def redirected(url: str, location: str) -> str:
    """Where a redirect leads. Raises WrongAnswer for what is not as safe as the address before."""
    target = ""
    with contextlib.suppress(ValueError):
        target = urljoin(url, location)
        old, new = urlsplit(url), urlsplit(target)
        if location and new.hostname and new.scheme == "https":
            return target
        if location and new.hostname and (old.scheme, new.scheme) == ("http", "http"):
            return target
        target = shown(target)
    raise WrongAnswer("RedirectRefused", f"{shown(url)}: redirects to {target[:200]!r}, which is not as safe")


def shown(url: str) -> str:
    """The address without its query, which may hold a signature, and without a name and password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _validator(headers: Mapping[str, str]) -> str | None:
    """A strong ETag, or a Last-Modified that is old enough to stand for one state of the file (RFC 9110, 8.8.2)."""
    etag, changed = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if etag.startswith('"') and len(etag) <= _MAX_VALIDATOR and etag.isascii():
        return etag
    if not changed or len(changed) > _MAX_VALIDATOR or not changed.isascii():
        return None
    try:
        age = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(changed)
    except (ValueError, TypeError, OverflowError):
        return None
    return changed if age >= timedelta(seconds=1) else None


def _has_changed(known: str | None, headers: Mapping[str, str]) -> bool:
    if known is None:
        return False
    found = headers.get("ETag" if known.startswith('"') else "Last-Modified")
    return found is not None and found != known
