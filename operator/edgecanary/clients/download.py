"""Fetching a file of known length over HTTP, from where an earlier try stopped."""

import contextlib
import os
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.base.quantities import human_bytes

_CHUNK = 2**16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3


@dataclass(frozen=True)
class DownloadLimits:
    """What a server may take before it counts as not answering.

    Fewer than `stall_bytes` in `stall_seconds` is a stalled transfer.
    """

    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    stall_bytes: int = 1024


class Cancelled(EdgecanaryError):
    """The transfer was given up by the one who wanted it."""

    def __init__(self) -> None:
        super().__init__("Cancelled", "the transfer was cancelled")


class Cancellation:
    """Ends a transfer from another thread, at once even while it waits for bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._response: urllib3.BaseHTTPResponse | None = None

    def cancel(self) -> None:
        """Ends the transfer that is under way, or the next one before it starts."""
        with self._lock:
            self._cancelled = True
            if self._response is not None:
                with contextlib.suppress(OSError, RuntimeError, ValueError):
                    self._response.shutdown()

    def attach(self, response: urllib3.BaseHTTPResponse | None) -> None:
        """Names the response to be ended. Raises Cancelled when that was asked for already."""
        with self._lock:
            self._response = response
            if self._cancelled:
                raise Cancelled

    def check(self) -> None:
        """Raises Cancelled when the transfer is to end."""
        if self._cancelled:
            raise Cancelled


class Downloader:
    """Fetches files. Every call is one try; when to try again is the caller's business."""

    def __init__(self, limits: DownloadLimits | None = None, ca_file: Path | None = None) -> None:
        """`ca_file` names the authorities to trust instead of the system's. Raises InvalidInput."""
        self._limits = limits or DownloadLimits()
        try:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except OSError as error:
            raise InvalidInput(
                "downloadCAFile", f"{ca_file} cannot be read as certificates: {error}"
            ) from error
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            ssl_context=context,
            retries=False,
            timeout=urllib3.Timeout(connect=self._limits.connect_seconds, read=self._limits.stall_seconds),
        )

    def fetch(self, url: str, part: Path, size: int, cancellation: Cancellation) -> None:
        """Completes `part` to just `size` bytes of what `url` holds, and makes it durable.

        What `part` holds already is taken as the beginning; it is dropped when the server shows that it is
        not. A cut transfer leaves what came, for the next try.

        Raises Unavailable (no answer, stalled, cut, refused: try again), NotFound, WrongAnswer (the server's
        file is another one: `part` is dropped), Cancelled, and OSError when the disk fails.
        """
        have = _length(part)
        if have > size:
            _drop(part)
            have = 0
        if have == size:
            return
        response = self._open(url, part, have, cancellation)
        try:
            start = _start_of_body(response, url, part, have, size)
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                _keep_etag(part, response)
                self._copy(response, file, _Progress(url, start, size), cancellation)
                file.flush()
                os.fsync(file.fileno())
        except WrongAnswer:
            _drop(part)
            raise
        finally:
            response.close()
        _etag_file(part).unlink(missing_ok=True)

    def _open(self, url: str, part: Path, have: int, cancellation: Cancellation) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": "edgecanary-agent"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if etag := _known_etag(part):
                headers["If-Range"] = etag
        for _ in range(_MAX_REDIRECTS + 1):
            cancellation.check()
            try:
                response = self._pool.request(
                    "GET", url, headers=headers, preload_content=False, redirect=False, decode_content=False
                )
            except (HTTPError, OSError) as error:
                raise Unavailable("NoAnswer", f"{_shown(url)}: {_plain(error)}") from error
            cancellation.attach(response)
            if response.status not in _REDIRECTS:
                return response
            response.close()
            url = _redirected(url, response.headers.get("Location", ""))
        raise WrongAnswer("TooManyRedirects", f"{_shown(url)}: more than {_MAX_REDIRECTS} redirects")

    def _copy(
        self,
        response: urllib3.BaseHTTPResponse,
        file: BinaryIO,
        progress: "_Progress",
        cancellation: Cancellation,
    ) -> None:
        while True:
            chunk = self._read(response, progress, cancellation)
            if not chunk:
                break
            progress.advance(len(chunk), self._limits)
            file.write(chunk)
        progress.finish()

    def _read(
        self, response: urllib3.BaseHTTPResponse, progress: "_Progress", cancellation: Cancellation
    ) -> bytes:
        try:
            chunk = response.read1(_CHUNK)
        except HttpTimeoutError as error:
            cancellation.check()
            raise Unavailable(
                "Stalled", f"{progress}: nothing came for {self._limits.stall_seconds:g} s"
            ) from error
        except (HTTPError, OSError, ValueError) as error:
            cancellation.check()
            raise Unavailable("TransferCut", f"{progress}: {_plain(error)}") from error
        cancellation.check()
        return chunk


class _Progress:
    """How far a transfer is, and whether it still moves."""

    def __init__(self, url: str, start: int, size: int) -> None:
        self._url = url
        self._at = start
        self._size = size
        self._mark, self._mark_time = start, time.monotonic()

    def __str__(self) -> str:
        return f"{_shown(self._url)}: after {self._at} of {self._size} bytes"

    def advance(self, count: int, limits: DownloadLimits) -> None:
        """Counts bytes. Raises WrongAnswer beyond the size and Unavailable when too few come."""
        self._at += count
        if self._at > self._size:
            raise WrongAnswer(
                "LengthMismatch",
                f"{_shown(self._url)}: holds more than the {self._size} bytes of the release",
            )
        now = time.monotonic()
        if now - self._mark_time < limits.stall_seconds:
            return
        if self._at - self._mark < limits.stall_bytes and self._at < self._size:
            raise Unavailable(
                "Stalled", f"{self}: fewer than {limits.stall_bytes} bytes in {limits.stall_seconds:g} s"
            )
        self._mark, self._mark_time = self._at, now

    def finish(self) -> None:
        """Raises Unavailable when the body ended early."""
        if self._at < self._size:
            raise Unavailable("TransferCut", f"{self}: the connection ended")


def _start_of_body(response: urllib3.BaseHTTPResponse, url: str, part: Path, have: int, size: int) -> int:
    """Where in the file the body begins. Raises when the answer is not one to go on with."""
    shown = _shown(url)
    if response.status not in (200, 206):
        raise _refusal(response, shown, part)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WrongAnswer("Encoded", f"{shown}: the server compresses what must come byte by byte")
    start = 0
    if response.status == 206:
        start = have
        found = response.headers.get("Content-Range", "")
        if found not in (f"bytes {have}-{size - 1}/{size}", f"bytes {have}-{size - 1}/*"):
            raise WrongAnswer(
                "LengthMismatch",
                f"{shown}: wanted bytes {have}-{size - 1}/{size} of the file, the server has {found!r}",
            )
        known, etag = _known_etag(part), response.headers.get("ETag")
        if known and etag and known != etag:
            raise WrongAnswer("SourceChanged", f"{shown}: the file changed while it was being fetched")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size - start):
        raise WrongAnswer(
            "LengthMismatch",
            f"{shown}: the release says {size} bytes ({human_bytes(size)}), the server has {length} from byte {start}",
        )
    return start


def _refusal(response: urllib3.BaseHTTPResponse, shown: str, part: Path) -> EdgecanaryError:
    status = response.status
    if status in (401, 403):
        return Unavailable(
            "AccessDenied",
            f"{shown}: HTTP {status}; the address has expired or is not allowed; a renewed one is waited for",
        )
    if status in (404, 410):
        return NotFound("FileMissing", f"{shown}: HTTP {status}; the file is not there")
    if status in (400, 416) and _length(part):
        return WrongAnswer("RangeRefused", f"{shown}: HTTP {status}; the file is fetched from its beginning")
    return Unavailable("ServerError", f"{shown}: HTTP {status}")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if not location or new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
        raise WrongAnswer(
            "RedirectRefused", f"{_shown(url)}: redirects to {_shown(target)!r}, which is not as safe"
        )
    return target


def _shown(url: str) -> str:
    """The address without its query, which may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _plain(error: Exception) -> str:
    """What went wrong, without the address in it."""
    if isinstance(error, HttpTimeoutError):
        return "no answer in time"
    cause = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {cause}" if isinstance(cause, OSError) else type(error).__name__


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _keep_etag(part: Path, response: urllib3.BaseHTTPResponse) -> None:
    """Remembers a strong ETag beside the part, to see on resuming whether the source is still the same."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"') and len(etag) <= 256:
        _etag_file(part).write_text(etag)
    else:
        _etag_file(part).unlink(missing_ok=True)


def _known_etag(part: Path) -> str | None:
    try:
        return _etag_file(part).read_text() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None
