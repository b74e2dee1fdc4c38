"""Releases, statements and in-memory ports for tests of the updating half of the agent."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edgecanary.agent.ports import (
    HealthCounters,
    InstalledRevision,
    ModelKey,
    ModelLoadFailed,
    ProbeFailed,
    ProbeImpossible,
    ProbeReport,
)
from edgecanary.agent.record import Target
from edgecanary.api.artifacts import DataType, Format, ModelIO, TensorSpec
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.meta import LabelSelector, ObjectMeta
from edgecanary.api.modelrelease import (
    CanaryStatement,
    ModelRelease,
    ModelReleaseSpec,
    RejectedRevision,
    ReleasedFile,
    ReleasedGolden,
    ReleasedVariant,
    RevisionStatement,
    StratumCutoff,
)
from edgecanary.api.policy import DeviceHealth, UpdateWindow
from edgecanary.base.errors import Unavailable
from edgecanary.clients.nodeevents import NodeEvent

KEY = ModelKey("plant", "pump")
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
IO = ModelIO(
    inputs=(TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="y", dtype=DataType.FP32, shape=(-1, 4)),),
)
Publish = Callable[[str, bytes], str]
"""Puts bytes under a path and gives their address."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def revision_of(version: str) -> str:
    return sha256(f"revision {version}".encode())


def nowhere(path: str, data: bytes) -> str:
    return f"http://127.0.0.1:1{path}"


def released(path: str, data: bytes, url: str | None) -> ReleasedFile:
    return ReleasedFile(
        path=path,
        uri=f"https://models.example.com/{path}",
        sha256=sha256(data),
        size_bytes=len(data),
        url=url,
    )


def statement(
    version: str,
    *,
    publish: Publish = nowhere,
    files: Mapping[str, bytes] | None = None,
    golden: bytes | None = None,
    serve: bool = True,
) -> RevisionStatement:
    """A revision of one variant; by default its one file holds the version's name many times."""
    contents = files if files is not None else {"model.onnx": f"model {version} ".encode() * 1000}
    return RevisionStatement(
        revision=revision_of(version),
        version=version,
        variants=(
            ReleasedVariant(
                name="cpu",
                format=Format.ONNX,
                entrypoint=next(iter(contents)),
                files=tuple(
                    released(path, data, publish(f"/{version}/{path}", data))
                    for path, data in contents.items()
                ),
            ),
        ),
        io=IO,
        serve=serve,
        golden=None
        if golden is None
        else ReleasedGolden(
            uri="https://models.example.com/golden.npz",
            sha256=sha256(golden),
            size_bytes=len(golden),
            url=publish(f"/{version}/golden.npz", golden),
        ),
    )


def everywhere(stated: RevisionStatement, attempt: int = 1) -> CanaryStatement:
    """The statement as a canary for every node."""
    fields = {name: getattr(stated, name) for name in RevisionStatement.model_fields}
    cutoffs = (StratumCutoff(stratum=(), below=f"1{'0' * 16}"),)
    return CanaryStatement(**fields, attempt=attempt, cutoffs=cutoffs)


def rejected(stated: RevisionStatement) -> RejectedRevision:
    return RejectedRevision(revision=stated.revision, reason="AnalysisFailed", time=NOW)


@dataclass
class Releases:
    """Makes the successive states of one ModelRelease."""

    name: str = "pump"
    uid: str = "uid-1"
    selector: LabelSelector = field(default_factory=LabelSelector)
    health: DeviceHealth = field(default_factory=lambda: DeviceHealth(soak_seconds=0))
    windows: tuple[UpdateWindow, ...] = ()
    sequence: int = 0

    def next(
        self,
        stable: RevisionStatement | None = None,
        canary: CanaryStatement | None = None,
        taken_back: tuple[RejectedRevision, ...] = (),
    ) -> ModelRelease:
        self.sequence += 1
        return ModelRelease(
            metadata=ObjectMeta(name=self.name, namespace=KEY.namespace, uid=self.uid),
            spec=ModelReleaseSpec(
                model=KEY.name,
                sequence=self.sequence,
                stable=stable,
                canary=canary,
                rejected=taken_back,
                node_selector=self.selector,
                update_windows=self.windows,
                health=self.health,
                salt="salt",
            ),
        )


def target(stated: RevisionStatement, *, attempt: int = 0, max_crashes: int = 2) -> Target:
    return Target(
        statement=stated, attempt=attempt, health=DeviceHealth(soak_seconds=0, max_crashes=max_crashes)
    )


class FixedClock:
    """A clock that stands until it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


@dataclass
class MemoryServer:
    """Serves in memory, and fails as it is told."""

    active: dict[ModelKey, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    """Why a version does not load."""
    answers: HealthCounters = HealthCounters(0, 0)
    compared: list[str | None] = field(default_factory=list)
    """Versions that were to see a share of the inputs."""
    loads: asyncio.Event | None = None
    """Loading waits for this."""
    looked: dict[ModelKey, tuple[str, HealthCounters]] = field(default_factory=dict)
    """The revision that is watched, and what was seen of it last."""

    async def activate(self, installed: InstalledRevision) -> None:
        self.log.append(f"activate {installed.version}")
        if self.loads is not None:
            await self.loads.wait()
        if installed.version in self.bad:
            raise ModelLoadFailed(self.bad[installed.version])
        if installed.serve:
            self.active[installed.key] = installed.revision
        else:
            self.active.pop(installed.key, None)

    async def deactivate(self, key: ModelKey) -> None:
        self.log.append("deactivate")
        self.active.pop(key, None)

    async def evict(self, key: ModelKey, why: str) -> None:
        self.log.append(f"evict {key.name}")
        self.active.pop(key, None)

    def compare(self, key: ModelKey, other: InstalledRevision | None) -> bool:
        self.compared.append(None if other is None else other.version)
        return other is not None

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        return self.answers if self.active.get(key) == revision else HealthCounters(0, 0)

    async def more_answers(self, key: ModelKey, revision: str, seen: HealthCounters) -> None:
        self.looked[key] = (revision, seen)
        while self.counters(key, revision) == seen:
            await asyncio.sleep(0.01)


@dataclass
class MemoryProber:
    """Finds the versions bad that it is told."""

    bad: dict[str, str] = field(default_factory=dict)
    probed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    holds: asyncio.Event | None = None
    """Probing waits for this."""
    impossible: dict[str, str] = field(default_factory=dict)
    """Versions that the node cannot try now, and why."""

    async def probe(self, installed: InstalledRevision) -> ProbeReport:
        self.probed.append(installed.version)
        try:
            if self.holds is not None:
                await self.holds.wait()
        except asyncio.CancelledError:
            self.cancelled.append(installed.version)
            raise
        if installed.version in self.impossible:
            raise ProbeImpossible("MemoryShort", self.impossible[installed.version])
        if installed.version in self.bad:
            raise ProbeFailed("GoldenMismatch", self.bad[installed.version])
        return ProbeReport(load_milliseconds=5, latency_p95_milliseconds=2, peak_memory_bytes=1000, cases=1)


@dataclass
class MemoryCluster:
    """The cluster port in memory: a test says what is heard, and sees what is written."""

    written: list[EdgeNodeStatus] = field(default_factory=list)
    broken: bool = False
    refused: int = 0
    """Writes that failed."""
    _deliver: Callable[[NodeEvent], None] | None = None

    def start(self, deliver: Callable[[NodeEvent], None]) -> None:
        self._deliver = deliver

    def stop(self) -> None:
        self._deliver = None

    def say(self, event: NodeEvent) -> None:
        assert self._deliver is not None
        self._deliver(event)

    async def write_status(self, status: EdgeNodeStatus) -> None:
        if self.broken:
            self.refused += 1
            raise Unavailable("ServerUnreachable", "no network")
        self.written.append(status)


async def until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails after a generous time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
