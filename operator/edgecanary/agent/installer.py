"""From addresses in a release to a verified revision on disk: precheck, download, verify, stage."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from edgecanary.agent import files
from edgecanary.agent.deltas import Deltas, Wanted
from edgecanary.agent.diskbudget import DiskBudget, shortage
from edgecanary.agent.modelfiles import ModelFiles
from edgecanary.agent.record import Target, Verdict
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import ModelResult, Transfer
from edgecanary.base.errors import EdgecanaryError, InvalidInput, Unavailable
from edgecanary.base.reach import Reach
from edgecanary.clients.backoff import spread
from edgecanary.clients.download import Cancellation
from edgecanary.clients.tenancy import Tenancy

log = logging.getLogger(__name__)

T = TypeVar("T")


class Delay(EdgecanaryError):
    """The work cannot go on now, through no fault of the model.

    `retry` is False when only another order can help; `after_seconds` is when to try again, where that is known;
    `left_alone_seconds` is what a server asked for before it is asked again.
    """

    def __init__(
        self,
        verdict: Verdict,
        *,
        retry: bool = True,
        after_seconds: float | None = None,
        left_alone_seconds: float = 0.0,
    ) -> None:
        super().__init__(verdict.reason, verdict.message)
        self.verdict = verdict
        self.retry = retry
        self.after_seconds = after_seconds
        self.left_alone_seconds = left_alone_seconds

    @property
    def is_delivery(self) -> bool:
        """Whether bytes could not be had, so that only time or another address helps."""
        return self.verdict.result in (ModelResult.DOWNLOAD_FAILED, ModelResult.VERIFY_FAILED)


class Fetcher(Protocol):
    """How bytes come in; `clients.download.Downloader` is the one."""

    def fetch(self, url: str, part: Path, size: int, cancellation: Cancellation, reach: Reach) -> None:
        """Completes `part` to `size` bytes of what `url` holds, which `reach` must let it go to.

        Raises EdgecanaryError and OSError.
        """
        ...


class DownloadKind(StrEnum):
    """What bytes were fetched for."""

    FULL = "full"
    """A file as it is."""
    DELTA = "delta"
    """What makes a file of an older one."""


OnBytes = Callable[[DownloadKind, int], None]
"""Is told of bytes that came, in the event loop's thread."""


class Installer:
    """Brings revisions to the disk. At most two downloads run at a time on a node."""

    def __init__(
        self,
        store: Store,
        fetcher: Fetcher,
        budget: DiskBudget,
        *,
        spread_seconds: float = 0.0,
        on_bytes: OnBytes | None = None,
        tenancy: Tenancy | None = None,
    ) -> None:
        """A first try at an address waits up to `spread_seconds`, at random: every node heard of it at once."""
        self._store = store
        self._fetcher = fetcher
        self._budget = budget
        self._tenancy = tenancy or Tenancy()
        self._spread_seconds = spread_seconds
        self._on_bytes = on_bytes
        self._deltas = Deltas(store, budget)
        self._tried: dict[Path, tuple[str | None, ...]] = {}
        self._transfers: dict[Path, tuple[str, Transfer]] = {}
        self._slots = asyncio.Semaphore(2)

    def precheck(self, home: ModelFiles, target: Target) -> None:
        """Whether the node can take the revision at all. Raises Delay, and OSError when the disk fails."""
        if target.misfit:
            raise Delay(_verdict(ModelResult.PRECHECK_FAILED, "NoVariantFits", target.misfit), retry=False)
        try:
            for file in target.variant.files:
                files.join_inside(home.root, file.path)
        except InvalidInput as error:
            verdict = _verdict(ModelResult.PRECHECK_FAILED, "BadPath", f"variants[].files[].{error}")
            raise Delay(verdict, retry=False) from error
        if home.is_installed(target.revision):
            return
        needed = sum(max(0, wanted.size - _present(home, wanted)) for wanted in wanted_files(target))
        lack = shortage(self._store, target, needed, self._budget)
        if lack is not None:
            raise Delay(lack)

    async def download(self, home: ModelFiles, target: Target) -> Transfer:
        """Brings in what is missing; what this process fetched for the revision in all its tries.

        Raises Delay; when cancelled, the transfer ends at once.
        """
        if self._transfers.get(home.root, ("",))[0] != target.revision:
            self._transfers[home.root] = target.revision, Transfer()
        if home.is_installed(target.revision):
            return self._transfers[home.root][1]
        for wanted in wanted_files(target):
            try:
                if await asyncio.to_thread(_is_here, home, wanted):
                    continue
                await self._spread_out(home, target)
                async with self._slots:
                    await self._bring(home, wanted)
            except EdgecanaryError as error:
                verdict = _verdict(ModelResult.DOWNLOAD_FAILED, error.reason, f"{wanted.label}: {error}")
                after = error.retry_after_seconds if isinstance(error, Unavailable) else 0.0
                raise Delay(verdict, left_alone_seconds=after) from error
            except OSError as error:
                raise _disk_failed(ModelResult.DOWNLOAD_FAILED, wanted, error) from error
        return self._transfers[home.root][1]

    async def _spread_out(self, home: ModelFiles, target: Target) -> None:
        """Waits once for each set of addresses; later tries are spread by their backoff."""
        addresses = tuple(wanted.url for wanted in wanted_files(target))
        if self._tried.get(home.root) != addresses:
            await asyncio.sleep(spread(self._spread_seconds))
            self._tried[home.root] = addresses

    async def _bring(self, home: ModelFiles, wanted: Wanted) -> None:
        way = await asyncio.to_thread(self._deltas.choose, home, wanted) if wanted.deltas else None
        if way is not None:
            by_delta = partial(self._fetch, home, DownloadKind.DELTA)
            if await self._deltas.take(home, wanted, way, by_delta):
                return
        if wanted.url is None:
            raise Unavailable("NoAddress", "the release names no address; one is waited for")
        await self._fetch(home, DownloadKind.FULL, wanted.url, home.part(wanted.sha256), wanted.size)

    async def _fetch(self, home: ModelFiles, kind: DownloadKind, url: str, part: Path, size: int) -> None:
        cancellation = Cancellation()
        reach = self._tenancy.of(home.key.namespace).node_reach()
        try:
            await in_own_thread(
                lambda: self._fetcher.fetch(url, part, size, cancellation, reach),
                name=f"fetch {part.name[:8]}",
            )
        except asyncio.CancelledError:
            cancellation.cancel()
            raise
        finally:
            self._count(home, kind, cancellation.received)

    def _count(self, home: ModelFiles, kind: DownloadKind, count: int) -> None:
        revision, known = self._transfers[home.root]
        field = "delta_bytes" if kind is DownloadKind.DELTA else "full_bytes"
        counted = known.model_copy(update={field: getattr(known, field) + count})
        self._transfers[home.root] = revision, counted
        if self._on_bytes is not None:
            self._on_bytes(kind, count)

    def verify(self, home: ModelFiles, target: Target) -> None:
        """Compares what came with the release's lengths and digests; drops what differs. Raises Delay."""
        if home.is_installed(target.revision):
            return
        for wanted in wanted_files(target):
            part, arrived = home.part(wanted.sha256), home.arrived(wanted.sha256)
            found = part if part.exists() else arrived
            try:
                length, digest = found.stat().st_size, files.sha256_of(found)
            except OSError as error:
                _drop(home, wanted, found)
                raise _disk_failed(ModelResult.VERIFY_FAILED, wanted, error) from error
            if (length, digest) == (wanted.size, wanted.sha256):
                try:
                    _keep(part, arrived)
                except OSError as error:
                    raise _disk_failed(ModelResult.VERIFY_FAILED, wanted, error) from error
                continue
            _drop(home, wanted, found)
            raise Delay(
                _verdict(
                    ModelResult.VERIFY_FAILED,
                    "DigestMismatch",
                    f"{wanted.label}: fetched {length} bytes with sha256 {digest}, the release says {wanted.size} "
                    f"bytes with {wanted.sha256}; they were dropped and are fetched again",
                )
            )

    def stage(self, home: ModelFiles, target: Target) -> None:
        """Makes the verified files an installed revision. Raises Delay."""
        try:
            home.stage(target.statement)
        except OSError as error:
            raise Delay(
                _verdict(ModelResult.DOWNLOAD_FAILED, "DiskFailed", f"cannot be installed: {error}")
            ) from error


def wanted_files(target: Target) -> Iterator[Wanted]:
    """Each content that the target consists of, once."""
    known: set[str] = set()
    for file in target.variant.files:
        if file.sha256 not in known:
            known.add(file.sha256)
            yield Wanted(file.path, file.url, file.sha256, file.size_bytes, file.deltas)
    if not target.statement.serve:
        return
    for label, extra in (
        ("golden file", target.statement.golden),
        ("drift profile", target.statement.profile),
    ):
        if extra is not None and extra.sha256 not in known:
            known.add(extra.sha256)
            yield Wanted(label, extra.url, extra.sha256, extra.size_bytes)


async def in_own_thread(work: Callable[[], T], *, name: str) -> T:
    """Runs blocking work in a thread that nobody waits for when the waiting is cancelled or the process ends."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - nothing is swallowed: the waiter gets it
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    outcome.set_running_or_notify_cancel()
    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _verdict(result: ModelResult, reason: str, message: str) -> Verdict:
    return Verdict(result=result, reason=reason, message=message)


def _disk_failed(result: ModelResult, wanted: Wanted, error: OSError) -> Delay:
    return Delay(_verdict(result, "DiskFailed", f"{wanted.label}: {error}"))


def _present(home: ModelFiles, wanted: Wanted) -> int:
    """Bytes of the file that are on this disk already and need no more room."""
    for path in (home.arrived(wanted.sha256), home.part(wanted.sha256)):
        if path.exists():
            return path.stat().st_size
    return 0 if home.copy_of(wanted.sha256, wanted.size) is None else wanted.size


def _is_here(home: ModelFiles, wanted: Wanted) -> bool:
    """Whether the file need not be fetched."""
    return home.arrived(wanted.sha256).exists() or _take_local(home, wanted)


def _take_local(home: ModelFiles, wanted: Wanted) -> bool:
    """Takes the file from those that installed revisions share, if it is among them."""
    source = home.copy_of(wanted.sha256, wanted.size)
    if source is None:
        return False
    files.share(source, home.arrived(wanted.sha256))
    return True


def _keep(part: Path, arrived: Path) -> None:
    """Gives a verified file its name; its bytes are durable then, whoever wrote them."""
    if part.exists():
        files.sync_file(part)
        part.replace(arrived)


def _drop(home: ModelFiles, wanted: Wanted, found: Path) -> None:
    """Removes bytes that are not what they should be, so that they are fetched and not found again."""
    with contextlib.suppress(OSError):
        home.blobs.drop(wanted.sha256)
        found.unlink(missing_ok=True)
