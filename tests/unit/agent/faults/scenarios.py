"""What the node is doing when a fault meets it, and what must come of it in the end."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from edgecanary.agent.machine import State
from edgecanary.agent.record import Record
from edgecanary.agent.recordfile import NAME, PREVIOUS
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.api.policy import DeviceHealth
from edgecanary.clients.nodeevents import ReleasesListed
from tests.unit.agent.faults.play import A, B, Play, Z, forget, play
from tests.unit.agent.nodeplay import link_of
from tests.unit.agent.releasing import KEY, Releases, everywhere, sha256

SOAK = DeviceHealth(soak_seconds=0, max_crashes=2)
LONG_SOAK = DeviceHealth(soak_seconds=600, max_crashes=2)
PATIENT = DeviceHealth(soak_seconds=600, max_crashes=50)


@dataclass(frozen=True)
class Scenario:
    """A story with an end that no fault may change."""

    name: str
    title: str
    prepare: Callable[[Path], Coroutine[None, None, None]]
    """Makes the data directory from which every case starts."""
    release: ModelRelease | None
    """What the node hears; None: that the release is gone."""
    active: RevisionStatement | None
    previous: RevisionStatement | None = None
    rejected: RevisionStatement | None = None
    served: tuple[RevisionStatement, ...] = ()
    """One of these serves at once after every restart; none when nothing does at the beginning."""
    failing: str = ""
    """The version that answers with errors."""
    from_start: bool = False
    """Operations count from the start of the process on, not from the order."""
    forgotten: bool = False
    """The model's directory is gone in the end."""
    shares: bool = True
    """Revisions share what they have in common; those from before there were blobs do not."""
    ends_serving: bool = False
    """The model stops being served, as it was ordered."""

    def tell(self, node: Play) -> None:
        """Gives the node its order."""
        if self.release is None:
            forget(node)
        else:
            node.supervisor.hear(ReleasesListed((self.release,)))

    def done(self, node: Play) -> bool:
        """Whether the node has come to the end of the story."""
        record = node.record
        if not node.idle:
            return False
        if record is None or self.forgotten:
            return record is None and self.forgotten
        wanted = self.active.revision if self.active else None
        if record.state is not State.SETTLED or record.active != wanted or record.trouble:
            return False
        blamed = [entry.revision for entry in record.rejected]
        return (
            (self.rejected is None) == (not blamed) and node.serves == wanted and self._is_tidy(node, record)
        )

    def _is_tidy(self, node: Play, record: Record) -> bool:
        home = node.store.files_of(KEY)
        left = {path.name for path in home.store.iterdir()} == set(record.needed)
        return left and not list(home.incoming.iterdir()) and link_of(home) == record.active

    def judge(self, node: Play) -> None:
        """The end is the right one, in memory and on disk."""
        found, home = node.store.find(KEY), node.store.files_of(KEY)
        assert found.repair == "", found.repair
        if self.forgotten:
            assert not home.root.exists()
            return
        record = found.record
        assert record.state is State.SETTLED
        assert record.active == (self.active.revision if self.active else None)
        assert record.previous == (self.previous.revision if self.previous else None)
        assert [entry.revision for entry in record.rejected] == (
            [self.rejected.revision] if self.rejected else []
        )
        assert {path.name for path in home.store.iterdir()} == set(record.needed)
        for revision in record.needed:
            home.check(revision)
        assert list(home.incoming.iterdir()) == []
        assert link_of(home) == record.active
        self._judge_blobs(node, record)

    def _judge_blobs(self, node: Play, record: Record) -> None:
        """Every content is there once, and nothing else is."""
        known = {stated.revision: stated for stated in (Z, A, B)}
        contents = set()
        for revision in record.needed:
            stated = known[revision]
            contents |= {file.sha256 for file in stated.variants[0].files}
            contents |= {stated.golden.sha256} if stated.golden else set()
        found = {path.name: path for path in node.store.blobs.root.iterdir()}
        assert set(found) == contents
        assert all(sha256(path.read_bytes()) == name for name, path in found.items())
        home = node.store.files_of(KEY)
        for revision in record.needed if self.shares else ():
            weights = home.home(revision) / "files" / "data" / "weights.bin"
            assert weights.samefile(found[sha256(weights.read_bytes())])


async def _nothing(data: Path) -> None:
    data.mkdir()


async def _settled(data: Path, *revisions: RevisionStatement) -> None:
    """The revisions were active one after another."""
    data.mkdir()
    for number, stated in enumerate(revisions, start=1):
        release = Releases(sequence=number, health=SOAK).next(stable=stated)
        async with play(data) as node:
            node.supervisor.hear(ReleasesListed((release,)))
            await node.until(lambda: node.idle and _is_at_rest(node, stated), "the beginning")  # noqa: B023 - awaited here


def _is_at_rest(node: Play, stated: RevisionStatement) -> bool:
    record = node.record
    return (
        record is not None
        and (record.active, record.state) == (stated.revision, State.SETTLED)
        and record.outcome.desired == stated.revision
        and not list(node.store.files_of(KEY).incoming.iterdir())
        and {path.name for path in node.store.files_of(KEY).store.iterdir()} == set(record.needed)
    )


async def _z_a(data: Path) -> None:
    await _settled(data, Z, A)


async def _a_b(data: Path) -> None:
    await _settled(data, A, B)


async def _only_a(data: Path) -> None:
    await _settled(data, A)


async def on_trial(data: Path) -> None:
    """A process died while B was on trial."""
    await _settled(data, A)
    async with play(data) as node:
        node.supervisor.hear(ReleasesListed((UPDATE.model_copy(deep=True),)))
        await node.until(lambda: node.record and node.record.state is State.HEALTH, "the trial")
        await asyncio.sleep(0)


async def _littered(data: Path) -> None:
    """Much of what crashes leave behind."""
    await _settled(data, A)
    home = data / "models" / KEY.namespace / KEY.name
    for name in (f".{B.revision}", f".doomed-{Z.revision}", Z.revision):
        shutil.copytree(home / "store" / A.revision, home / "store" / name)
    for path in (
        home / "incoming" / f"{'a' * 64}.part",
        home / ".record.json.new",
        data / "blobs" / ("b" * 64),
    ):
        path.write_bytes(b"left over")


async def _first_format(data: Path) -> None:
    """As the first version of the agent left it: no checksum, no blobs, no marks."""
    await _settled(data, A, B)
    home = data / "models" / KEY.namespace / KEY.name
    line = (home / NAME).read_bytes().partition(b"\n")[0]
    fields = {**json.loads(line), "formatVersion": 1}
    fields.pop("repair")
    (home / NAME).write_text(json.dumps(fields))
    (home / PREVIOUS).unlink()
    shutil.rmtree(data / "blobs")
    for stated in (A, B):
        folder = home / "store" / stated.revision
        (folder / "committed").unlink()
        copy = folder.with_name("copy")
        shutil.copytree(folder, copy)
        shutil.rmtree(folder)
        copy.rename(folder)


async def _withdrawn(data: Path) -> None:
    await _settled(data, A)
    async with play(data) as node:
        node.supervisor.hear(ReleasesListed((Releases(sequence=5).next(),)))
        await node.until(lambda: node.record and node.record.active is None, "the withdrawal")
        await node.until(lambda: node.record and node.record.outcome.reason == "NotAssigned", "its report")
        await node.until(lambda: node.idle, "rest")


UPDATE = Releases(sequence=10, health=LONG_SOAK).next(stable=A, canary=everywhere(B))


def _update(health: DeviceHealth) -> ModelRelease:
    return Releases(sequence=10, health=health).next(stable=A, canary=everywhere(B))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("install", "first installation", _nothing, Releases(health=SOAK).next(stable=A), A),
        Scenario(
            "update",
            "update, with the one before the previous removed",
            _z_a,
            _update(SOAK),
            B,
            A,
            served=(A, B),
        ),
        Scenario(
            "rollback",
            "update that fails its trial and is rolled back",
            _z_a,
            _update(PATIENT),
            A,
            Z,
            rejected=B,
            served=(A, B),
            failing="2.0.0",
        ),
        Scenario(
            "return",
            "return to the previous revision",
            _a_b,
            Releases(sequence=10, health=SOAK).next(stable=A),
            A,
            B,
            served=(A, B),
        ),
        Scenario(
            "restart",
            "start after a death on trial, then the commit",
            on_trial,
            _update(SOAK),
            B,
            A,
            served=(A, B),
            from_start=True,
        ),
        Scenario(
            "garbage",
            "start with leftovers of crashes, removed",
            _littered,
            Releases(sequence=10, health=SOAK).next(stable=A),
            A,
            served=(A,),
            from_start=True,
        ),
        Scenario(
            "upgrade",
            "start on the directory of the agent's first version",
            _first_format,
            Releases(sequence=10, health=SOAK).next(stable=B),
            B,
            A,
            served=(B,),
            from_start=True,
            shares=False,
        ),
        Scenario(
            "withdraw",
            "withdrawal of the model",
            _only_a,
            Releases(sequence=10).next(),
            None,
            A,
            served=(A,),
            ends_serving=True,
        ),
        Scenario("forget", "removal of a withdrawn model", _withdrawn, None, None, forgotten=True),
    )
}


def copy_directory(source: Path, target: Path) -> None:
    """Copies a data directory with its hard links and symbolic links."""
    copies: dict[tuple[int, int], Path] = {}
    for folder, below, names in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir()
        for name in [*names, *[name for name in below if Path(folder, name).is_symlink()]]:
            path, copy = Path(folder, name), here / name
            found = path.lstat()
            inode = (found.st_dev, found.st_ino)
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif inode in copies:
                os.link(copies[inode], copy)
            else:
                shutil.copy2(path, copy)
                copies[inode] = copy
