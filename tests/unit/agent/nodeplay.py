"""A node in one process: the real supervisor, updaters, store and downloads, with models in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.gatekeeper import Gatekeeper
from edgecanary.agent.installer import Installer
from edgecanary.agent.machine import State
from edgecanary.agent.marks import Marks
from edgecanary.agent.memory import MemoryBudget
from edgecanary.agent.notify import Notifier
from edgecanary.agent.permits import Permits
from edgecanary.agent.record import Outcome, Record
from edgecanary.agent.steps import Workshop
from edgecanary.agent.store import ModelFiles, Store
from edgecanary.agent.supervisor import Supervisor
from edgecanary.agent.trust import Trust
from edgecanary.agent.updater import RetryPace
from edgecanary.api.artifacts import Format
from edgecanary.api.edgenode import Capabilities
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.clients.download import Downloader, DownloadLimits, DownloadPolicy
from edgecanary.clients.keyfiles import TrustRoots
from edgecanary.clients.localhook import LocalHook
from edgecanary.clients.nodeevents import LabelsHeard, ReleasesListed
from edgecanary.clients.tenancy import Tenancy
from tests.unit.agent.releasing import KEY, FixedClock, MemoryProber, MemoryServer, Releases, until

MARGIN = DiskBudget(margin_bytes=1000)
FAST = RetryPace(first_seconds=0.01, cap_seconds=0.05)
CAPABILITIES = Capabilities(architecture="amd64", memory_bytes=2**33, runtimes=(Format.ONNX,))


class WatchedStore(Store):
    """A store that remembers the states it was given, and whose disk can fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.states: list[State] = []
        self.full = False
        self.free: int | None = None

    def save(self, record: Record) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().save(record)
        if not self.states or self.states[-1] is not record.state:
            self.states.append(record.state)

    def free_bytes(self) -> int:
        return super().free_bytes() if self.free is None else self.free


@dataclass
class Node:
    """The parts of a node that tests look at."""

    store: WatchedStore
    supervisor: Supervisor
    server: MemoryServer
    prober: MemoryProber
    clock: FixedClock
    news: list[Outcome] = field(default_factory=list)
    """The first model's outcome each time there was something to report."""

    @property
    def record(self) -> Record:
        return next(record for record in self.supervisor.records if record.key == KEY)

    @property
    def home(self) -> ModelFiles:
        return self.store.files_of(KEY)

    @property
    def serves(self) -> str | None:
        return self.server.active.get(KEY)

    def hear(self, *releases: ModelRelease) -> None:
        self.supervisor.hear(ReleasesListed(releases))

    async def settles(self, stated: RevisionStatement | None) -> None:
        """Waits until the revision is active and nothing is under way."""
        wanted = stated.revision if stated else None
        await until(lambda: self.record.active == wanted and self.record.state is State.SETTLED)
        await until(lambda: self.record.outcome.desired == wanted)

    async def reaches(self, state: State) -> None:
        await until(lambda: self.record.state is state)


def link_of(home: ModelFiles) -> str | None:
    """The revision that the `active` link names."""
    link = home.active_link
    return link.readlink().parent.name if link.is_symlink() else None


@asynccontextmanager
async def node(
    data: Path,
    *,
    server: MemoryServer | None = None,
    prober: MemoryProber | None = None,
    clock: FixedClock | None = None,
    labels: dict[str, str] | None = None,
    pace: RetryPace = FAST,
    gatekeeper: Gatekeeper | None = None,
    hook: LocalHook | None = None,
    budget: int | None = None,
    roots: TrustRoots | None = None,
    disk: DiskBudget = MARGIN,
    spread_seconds: float = 0.0,
    tenancy: Tenancy | None = None,
) -> AsyncIterator[Node]:
    """Starts a node on a data directory, and stops it in order."""
    store = WatchedStore(data)
    store.open()
    server, prober, clock = server or MemoryServer(), prober or MemoryProber(), clock or FixedClock()
    fetcher = Downloader(DownloadPolicy(limits=DownloadLimits(connect_seconds=5, stall_seconds=300)))
    trust = Trust(roots, data / "trust.json", clock) if roots else None
    workshop = Workshop(
        store,
        Installer(store, fetcher, disk, spread_seconds=spread_seconds, tenancy=tenancy),
        prober,
        server,
        clock,
        Marks(data, data),
        Notifier(hook),
        MemoryBudget(budget),
        gatekeeper or Gatekeeper(),
        is_synchronised=lambda: True,
        trust=trust,
        permits=Permits(tenancy or Tenancy()),
    )

    def on_news() -> None:
        if records := found.supervisor.records:
            found.news.append(records[0].outcome)

    supervisor = Supervisor("n1", CAPABILITIES, workshop, pace, on_news)
    found = Node(store, supervisor, server, prober, clock)
    supervisor.start()
    supervisor.hear(LabelsHeard(labels if labels is not None else {}))
    try:
        yield found
    finally:
        await supervisor.stop()
        store.close()


async def quiet() -> None:
    """Lets everything that is due happen."""
    await asyncio.sleep(0.2)


async def running(edge: Node, stated: RevisionStatement) -> Releases:
    """The release that made the revision active on the node."""
    releases = Releases()
    edge.hear(releases.next(stable=stated))
    await edge.settles(stated)
    return releases
