"""Fetching a file of known length over HTTP, from where an earlier try stopped."""

import contextlib
import os
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotAllowed, Unavailable, WrongAnswer
from edgecanary.base.hosts import HostRule
from edgecanary.base.reach import Reach
from edgecanary.clients.answers import Part, redirected, shown, start_of_body
from edgecanary.clients.guard import pool_classes
from edgecanary.clients.ratelimit import RateLimit

_CHUNK = 2**16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_KEPT_POOLS = 16
_ANYWHERE = Reach()


@dataclass(frozen=True)
class DownloadLimits:
    """What a server may take before it counts as not answering.

    Fewer than `stall_bytes` in `stall_seconds` is a stalled transfer; waits of our own do not count.
    """

    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    """For the head of an answer, from its first byte to its last."""
    stall_seconds: float = 30.0
    stall_bytes: int = 1024


@dataclass(frozen=True)
class DownloadPolicy:
    """What the node allows."""

    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    bytes_per_second: int | None = None
    """For all transfers of the node together; None: no limit."""
    redirect_hosts: tuple[HostRule, ...] = ()
    """Hosts that a redirect may lead to though their addresses are local."""
    limits: DownloadLimits = field(default_factory=DownloadLimits)


class Cancelled(EdgecanaryError):
    """The transfer was given up by the one who wanted it."""

    def __init__(self) -> None:
        super().__init__("Cancelled", "the transfer was cancelled")


class Cancellation:
    """Ends a transfer from another thread, at once even while it waits for bytes."""

    def __init__(self) -> None:
        self.received = 0
        """Bytes that came so far, whether they were of use or not."""
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None

    def cancel(self) -> None:
        """Ends the transfer that is under way, or the next one before it starts."""
        with self._lock:
            self._cancelled.set()
            if self._response is not None:
                with contextlib.suppress(OSError, RuntimeError, ValueError):
                    self._response.shutdown()

    def attach(self, response: urllib3.BaseHTTPResponse | None) -> None:
        """Names the response to be ended. Raises Cancelled when that was asked for already."""
        with self._lock:
            self._response = response
            if self._cancelled.is_set():
                raise Cancelled

    def check(self) -> None:
        """Raises Cancelled when the transfer is to end."""
        if self._cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Waits. Raises Cancelled as soon as the transfer is to end."""
        if seconds > 0 and self._cancelled.wait(seconds):
            raise Cancelled


class Downloader:
    """Fetches files. Every call is one try; when to try again is the caller's business."""

    def __init__(self, policy: DownloadPolicy | None = None) -> None:
        """Raises InvalidInput when the authorities cannot be read."""
        policy = policy or DownloadPolicy()
        self._limits = policy.limits
        self._rate = RateLimit(policy.bytes_per_second) if policy.bytes_per_second else None
        self._redirect_hosts = policy.redirect_hosts
        try:
            self._tls = ssl.create_default_context(cafile=str(policy.ca_file) if policy.ca_file else None)
        except OSError as error:
            raise InvalidInput(
                "downloadCAFile", f"{policy.ca_file} cannot be read as certificates: {error}"
            ) from error
        self._pools: dict[Reach, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def _pool(self, reach: Reach) -> urllib3.PoolManager:
        """Connections that go where `reach` lets them. A rule that has changed uses none of those before."""
        with self._lock:
            known = self._pools.pop(reach, None) or self._new_pool(reach)
            self._pools[reach] = known
            while len(self._pools) > _KEPT_POOLS:
                del self._pools[next(iter(self._pools))]
            return known

    def _new_pool(self, reach: Reach) -> urllib3.PoolManager:
        pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            ssl_context=self._tls,
            retries=False,
            timeout=urllib3.Timeout(connect=self._limits.connect_seconds, read=self._limits.stall_seconds),
        )
        pool.pool_classes_by_scheme = pool_classes(reach, self._limits.answer_seconds)
        return pool

    def fetch(
        self, url: str, path: Path, size: int, cancellation: Cancellation, reach: Reach = _ANYWHERE
    ) -> None:
        """Completes the file at `path` to just `size` bytes of what `url` holds, and makes it durable.

        What the file holds already is taken as the beginning; it is dropped when the server shows that it is
        not. A cut transfer leaves what came, for the next try.

        Raises Unavailable (no answer, stalled, cut, refused: try again), NotFound, WrongAnswer (the server's
        file is another one: what came is dropped), NotAllowed for an address that `reach` does not let it go to,
        Cancelled, and OSError when the disk fails.
        """
        part = Part(path)
        have = part.length
        if have > size:
            part.drop()
            have = 0
        if have == size:
            return
        response = self._open(url, part, have, cancellation, reach)
        try:
            start = start_of_body(response, url, part, have, size)
            with path.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                part.keep_validator(response.headers)
                self._copy(response, file, _Progress(url, start, size), cancellation)
                file.flush()
                os.fsync(file.fileno())
        except WrongAnswer:
            part.drop()
            raise
        finally:
            response.close()
        part.forget_validator()

    def _open(
        self, url: str, part: Part, have: int, cancellation: Cancellation, reach: Reach
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": "edgecanary-agent"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator := part.validator:
                headers["If-Range"] = validator
        first = url
        for _ in range(_MAX_REDIRECTS + 1):
            cancellation.check()
            response = self._request(first, url, headers, reach)
            cancellation.attach(response)
            if response.status not in _REDIRECTS:
                return response
            response.close()
            url = redirected(url, response.headers.get("Location", ""))
        raise WrongAnswer("TooManyRedirects", f"{shown(url)}: more than {_MAX_REDIRECTS} redirects")

    def _request(
        self, first: str, url: str, headers: dict[str, str], reach: Reach
    ) -> urllib3.BaseHTTPResponse:
        """The answer of `url`, to which `first` may have redirected.

        What the release names is bound by the rule for releases. Another server, which the first one names, may not
        be on this machine either.
        """
        leads_away = url != first and urlsplit(first).netloc != urlsplit(url).netloc
        allowed = reach.elsewhere(self._redirect_hosts) if leads_away else reach
        try:
            allowed.check(url)
            return self._pool(allowed).request(
                "GET", url, headers=headers, preload_content=False, redirect=False, decode_content=False
            )
        except (HTTPError, OSError) as error:
            raise Unavailable("NoAnswer", f"{shown(url)}: {_plain(error)}") from error
        except NotAllowed as error:
            if leads_away:
                text = f"{shown(first)}: redirects to {shown(url)}: {error.rule}"
                raise WrongAnswer("RedirectRefused", text) from error
            raise error.of(shown(url)) from error

    def _copy(
        self,
        response: urllib3.BaseHTTPResponse,
        file: BinaryIO,
        progress: "_Progress",
        cancellation: Cancellation,
    ) -> None:
        most = _CHUNK if self._rate is None else max(1, min(_CHUNK, int(self._rate.bytes_per_second / 4)))
        while True:
            chunk = self._read(response, most, progress, cancellation)
            if not chunk:
                break
            cancellation.received += len(chunk)
            progress.advance(len(chunk), self._limits)
            file.write(chunk)
            if self._rate is not None:
                wait = self._rate.take(len(chunk))
                cancellation.pause(wait)
                progress.excuse(wait)
        progress.finish()

    def _read(
        self,
        response: urllib3.BaseHTTPResponse,
        most: int,
        progress: "_Progress",
        cancellation: Cancellation,
    ) -> bytes:
        try:
            chunk = response.read1(most)
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
        return f"{shown(self._url)}: after {self._at} of {self._size} bytes"

    def advance(self, count: int, limits: DownloadLimits) -> None:
        """Counts bytes. Raises WrongAnswer beyond the size and Unavailable when too few come."""
        self._at += count
        if self._at > self._size:
            raise WrongAnswer(
                "LengthMismatch",
                f"{shown(self._url)}: holds more than the {self._size} bytes of the release",
            )
        now = time.monotonic()
        if now - self._mark_time < limits.stall_seconds:
            return
        if self._at - self._mark < limits.stall_bytes and self._at < self._size:
            raise Unavailable(
                "Stalled", f"{self}: fewer than {limits.stall_bytes} bytes in {limits.stall_seconds:g} s"
            )
        self._mark, self._mark_time = self._at, now

    def excuse(self, seconds: float) -> None:
        """Leaves a wait of our own out of the time in which bytes should have come."""
        self._mark_time += seconds

    def finish(self) -> None:
        """Raises Unavailable when the body ended early."""
        if self._at < self._size:
            raise Unavailable("TransferCut", f"{self}: the connection ended")


def _plain(error: Exception) -> str:
    """What went wrong, without the address in it."""
    if isinstance(error, HttpTimeoutError):
        return "no answer in time"
    cause = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {cause}" if isinstance(cause, OSError) else type(error).__name__
