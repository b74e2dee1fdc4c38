"""Has a model's revisions loaded and unloaded: within the memory budget, marked on disk, with the link in step."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from edgecanary.agent.installer import Delay
from edgecanary.agent.memory import Claim, MemoryBudget, OutOfMemory
from edgecanary.agent.modelfiles import ModelFiles
from edgecanary.agent.notify import News, Notifier
from edgecanary.agent.ports import InstalledRevision, ModelKey, ModelLoadFailed, ModelServer
from edgecanary.agent.record import Record, Target, Verdict
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.errors import EdgecanaryError
from edgecanary.base.quantities import parse_bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cradle:
    """What loading needs: the server, the node's memory, and how long a load may take in seconds."""

    server: ModelServer
    memory: MemoryBudget
    notifier: Notifier
    load_seconds: float


class Loader:
    """The loaded revision of one model."""

    def __init__(self, key: ModelKey, home: ModelFiles, cradle: Cradle) -> None:
        self.serving: str | None = None
        """The revision that was brought up last."""
        self._key = key
        self._home = home
        self._server = cradle.server
        self._memory = cradle.memory
        self._notifier = cradle.notifier
        self._load_seconds = cradle.load_seconds

    async def bring_up(self, record: Record, revision: str) -> None:
        """Serves the revision and points the link to it.

        Raises OutOfMemory and other EdgecanaryErrors; then nothing has changed, but that the active revision may
        be gone if there was no room beside it. Raises OSError when it serves and the link cannot be moved.
        """
        installed = await self.serve(record, revision)
        await asyncio.to_thread(self._home.point_active, revision)
        self._notifier.announce(News(self._key, installed))

    async def bring_up_anyway(self, record: Record, revision: str) -> None:
        """As `bring_up`; a disk that does not take the link does not keep the revision from being served."""
        try:
            await self.bring_up(record, revision)
        except OSError as error:
            log.error("%s: the active link cannot be moved: %s", self._key, error)

    async def serve(self, record: Record, revision: str) -> InstalledRevision:
        """Serves the revision, if it does not yet; the link stays. Raises as `bring_up`."""
        installed = self._home.installed(revision)
        if self.serving == revision:
            return installed
        claim = claim_of(self._home, record, revision)
        if claim is not None and (await self._memory.admit(claim, self._server.evict)).gap:
            log.warning("%s: unloaded before %s is loaded: not both fit", self._key, installed.version)
            self.serving = None
        try:
            await self._load(installed)
        except BaseException:
            self._memory.release(self._key, revision)
            raise
        self.serving = revision
        self._memory.keep(self._key, revision)
        return installed

    async def serve_active(self, record: Record) -> None:
        """Lets the active revision serve, or none, while the disk cannot take a switch."""
        if record.active is None:
            await self.unload()
            return
        try:
            await self.serve(record, record.active)
        except EdgecanaryError as error:
            log.error("%s: %s does not load: %s", self._key, record.active[:12], error)

    async def point(self, revision: str) -> None:
        """Points the link to a revision that serves already."""
        await asyncio.to_thread(self._home.point_active, revision)

    async def bring_up_alone(self, record: Record, revision: str) -> None:
        """Brings the revision up; where it does not load beside what serves now, in its place."""
        try:
            await self.bring_up(record, revision)
        except EdgecanaryError as error:
            log.error("%s: %s does not load beside the failed one: %s", self._key, revision[:12], error)
            await self.unload()
            await self.bring_up(record, revision)

    def compare(self, record: Record, other: str | None) -> None:
        """Lets another revision see a share of what the serving one gets, where there is memory for it.

        What goes wrong with that changes nothing.
        """
        claim = claim_of(self._home, record, other)
        if other is None or claim is None:
            return
        if not self._memory.lend(claim, lambda: self._server.compare(self._key, None)):
            log.info("%s: no memory to compare with %s", self._key, other[:12])
        else:
            self._server.compare(self._key, self._home.installed(other))

    async def go_down(self) -> None:
        """Serves nothing, and removes the link."""
        await self.unload()
        await asyncio.to_thread(self._home.point_active, None)
        self._notifier.announce(News(self._key, None))

    async def unload(self) -> None:
        """Serves nothing; the link stays."""
        await self._server.deactivate(self._key)
        self._memory.release(self._key)
        self.serving = None

    async def _load(self, installed: InstalledRevision) -> None:
        await self._mark(lambda: self._home.mark_loading(installed.revision))
        try:
            async with asyncio.timeout(self._load_seconds):
                await self._server.activate(installed)
        except TimeoutError:
            raise ModelLoadFailed(f"loading took more than {self._load_seconds:g} s") from None
        finally:
            await self._mark(self._home.clear_loading)

    async def _mark(self, write: Callable[[], None]) -> None:
        """Notes a load on disk. A disk that fails does not keep a revision from being served."""
        try:
            await asyncio.shield(asyncio.to_thread(write))
        except OSError as error:
            log.error("%s: the load cannot be noted: %s", self._key, error)


def claim_of(home: ModelFiles, record: Record, revision: str | None) -> Claim | None:
    """The memory that a revision of a model takes; None for one that is not served, or not there."""
    try:
        installed = home.installed(revision) if revision else None
    except EdgecanaryError:
        return None
    if installed is None or not installed.serve:
        return None
    return Claim(home.key, installed.revision, record.priority, memory_of(record, installed))


def memory_of(record: Record, installed: InstalledRevision) -> int:
    """Bytes that a revision takes: as its probe measured, else as declared, else as much as its files."""
    target = record.target
    if target is not None and target.revision == installed.revision and target.probe is not None:
        return target.probe.peak_memory_bytes
    if installed.revision in record.memory:
        return record.memory[installed.revision]
    budget = installed.variant.budget
    if budget is not None and budget.peak_memory is not None:
        return parse_bytes(budget.peak_memory, field="variants[].budget.peakMemory")
    return sum(file.size_bytes for file in installed.variant.files)


def expected_memory(target: Target) -> int:
    """Bytes that a revision is known to take before it is loaded: by its probe, or as declared. Else 0."""
    budget = target.variant.budget
    if target.probe is not None:
        return target.probe.peak_memory_bytes
    if budget is None or budget.peak_memory is None:
        return 0
    return parse_bytes(budget.peak_memory, field="variants[].budget.peakMemory")


def no_memory(error: OutOfMemory) -> Delay:
    """The wait for memory."""
    verdict = Verdict(result=ModelResult.PRECHECK_FAILED, reason=error.reason, message=str(error))
    return Delay(verdict)
