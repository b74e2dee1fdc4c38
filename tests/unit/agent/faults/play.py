"""One node on a real directory, with models in memory, that a fault meets in the middle of its work."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.installer import Installer
from edgecanary.agent.machine import State
from edgecanary.agent.marks import Marks
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey
from edgecanary.agent.record import Record
from edgecanary.agent.report import model_status
from edgecanary.agent.steps import Workshop
from edgecanary.agent.store import Store
from edgecanary.agent.supervisor import Supervisor
from edgecanary.agent.updater import RetryPace
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.base.reach import Reach
from edgecanary.clients.download import Cancellation
from edgecanary.clients.nodeevents import LabelsHeard, ReleasesListed
from tests.unit.agent.nodeplay import CAPABILITIES
from tests.unit.agent.releasing import KEY, FixedClock, MemoryProber, MemoryServer, statement

PACE = RetryPace(first_seconds=0.002, cap_seconds=0.01)
SECONDS = 60.0
_CHUNKS = 3

WEIGHTS = b"weights that all revisions share " * 100
GOLDEN = b"golden cases " * 20


def revision(version: str) -> RevisionStatement:
    """A revision with a graph of its own, the weights of all and golden cases."""
    contents = {"model.onnx": f"graph of {version} ".encode() * 200, "data/weights.bin": WEIGHTS}
    return statement(version, publish=_address, files=contents, golden=GOLDEN)


_CONTENTS: dict[str, bytes] = {}


def _address(path: str, data: bytes) -> str:
    url = f"https://models.example.com{path}"
    _CONTENTS[url] = data
    return url


Z, A, B = revision("0.9.0"), revision("1.0.0"), revision("2.0.0")


class DiskFetcher:
    """Brings files from memory to the disk, in parts, as the real one does from a network."""

    def fetch(
        self,
        url: str,
        part: Path,
        size: int,
        cancellation: Cancellation,
        reach: Reach,
    ) -> None:
        data = _CONTENTS[url]
        have = part.stat().st_size if part.exists() else 0
        handle = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.lseek(handle, have, os.SEEK_SET)
            step = size // _CHUNKS + 1
            while have < size:
                cancellation.check()
                have += os.write(handle, data[have : have + step])
            os.fsync(handle)
        finally:
            os.close(handle)


class Server(MemoryServer):
    """Remembers whether a model that was served ever was not, and answers for one version with errors."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[ModelKey] = []
        self.failing: set[str] = set()
        self._revisions: dict[str, str] = {}

    async def activate(self, installed: InstalledRevision) -> None:
        self._revisions[installed.revision] = installed.version
        await super().activate(installed)

    async def deactivate(self, key: ModelKey) -> None:
        if key in self.active:
            self.ended.append(key)
        await super().deactivate(key)

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        bad = self._revisions.get(revision) in self.failing
        return HealthCounters(100, 100) if bad else HealthCounters(100, 0)


class StateStore(Store):
    """A store that remembers the states it was given, and writes beside its directory what it promised."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._promises = promises(root)
        self.states: list[State] = []
        self.on_state: dict[State | None, Callable[[], None]] = {}
        """Called when a state is on disk."""

    def save(self, record: Record) -> None:
        self._tell(f"{record.state} begins")
        super().save(record)
        self._tell(f"{record.state} kept")
        self.states.append(record.state)
        self.on_state.get(record.state, lambda: None)()

    def _tell(self, line: str) -> None:
        with self._promises.open("a") as file:
            file.write(f"{line}\n")


def promises(data: Path) -> Path:
    """Where the store of a data directory writes what it promised."""
    return data.with_name(f"promises-of-{data.name}")


@dataclass
class Play:
    """The parts of the node."""

    store: StateStore
    supervisor: Supervisor
    server: Server
    reports: list[NodeModelStatus] = field(default_factory=list)

    @property
    def record(self) -> Record | None:
        """The model's record; None when the node has forgotten it."""
        return next((record for record in self.supervisor.records if record.key == KEY), None)

    @property
    def serves(self) -> str | None:
        return self.server.active.get(KEY)

    @property
    def idle(self) -> bool:
        """Whether every updater waits for an order, with nothing under way."""
        updaters = self.supervisor._updaters.values()
        return all(item.record.state is State.SETTLED and item._wake._waiters for item in updaters)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits until the condition holds; says what was waited for when it never does."""
        try:
            async with asyncio.timeout(SECONDS):
                while not condition():
                    self.check_alive()
                    await asyncio.sleep(0.001)
        except TimeoutError:
            record = self.record
            where = (
                f"{record.state}, {record.outcome.reason}: {record.outcome.message}" if record else "nothing"
            )
            raise AssertionError(f"never: {what}; the node is in {where}") from None

    def check_alive(self) -> None:
        """No updater has ended by a defect."""
        for record in self.supervisor.records:
            assert record.outcome.reason != "InternalError", record.outcome.message


@asynccontextmanager
async def play(data: Path, *, failing: str = "", clock: FixedClock | None = None) -> AsyncIterator[Play]:
    """Starts the node; nothing is stopped in order at the end, for that would be more operations."""
    store, server = StateStore(data), Server()
    server.failing = {failing}
    store.open()
    workshop = Workshop(
        store,
        Installer(store, DiskFetcher(), DiskBudget(margin_bytes=1)),
        MemoryProber(),
        server,
        clock or FixedClock(),
        Marks(data, data),
    )

    def on_news() -> None:
        with contextlib.suppress(NameError):
            if found.record is not None:
                found.reports.append(model_status(found.record))

    supervisor = Supervisor("n1", CAPABILITIES, workshop, PACE, on_news)
    found = Play(store, supervisor, server)
    supervisor.start()
    supervisor.hear(LabelsHeard({}))
    try:
        yield found
    finally:
        for task in list(supervisor._tasks.values()):
            task.cancel()
        await asyncio.gather(*supervisor._tasks.values(), return_exceptions=True)
        store.close()


def forget(node: Play) -> None:
    """The release is gone."""
    node.supervisor.hear(ReleasesListed(()))
