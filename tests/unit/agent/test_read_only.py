"""A data directory that cannot be written: what is installed is served, from the start and later."""

import asyncio
import os
import tempfile
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from edgecanary.agent.report import Outbox, model_status
from edgecanary.api.edgenode import ModelState
from edgecanary.clients.nodeevents import ReleasesListed
from tests.unit.agent.faults.play import A, B, play
from tests.unit.agent.faults.scenarios import SCENARIOS, SOAK
from tests.unit.agent.releasing import KEY, Releases, everywhere

NOBODY = 65534


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two revisions are installed, and nobody may write."""
    folder = tmp_path_factory.mktemp("disk")
    asyncio.run(SCENARIOS["return"].prepare(folder / "data"))
    for above in [folder, *folder.parents]:
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    for place, _, names in os.walk(folder / "data"):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o444)
        Path(place).chmod(0o555)
    return folder / "data"


def in_a_process_without_rights(work: Callable[[], Coroutine[None, None, None]]) -> str:
    """Runs the work as somebody who may read only; what failed, or nothing."""
    told, tells = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            asyncio.run(work())
        except BaseException:  # noqa: BLE001 - everything is told to the parent
            os.write(tells, traceback.format_exc(limit=-4).encode())
        os._exit(0)
    os.close(tells)
    with os.fdopen(told) as file:
        words = file.read()
    os.waitpid(process, 0)
    return words


def test_a_start_on_a_read_only_directory_serves_says_so_and_takes_nothing_new(data: Path) -> None:
    async def work() -> None:
        async with play(data) as node:
            await node.until(lambda: node.serves == B.revision, "the active revision serves")
            await node.until(lambda: node.reports, "a report")
            told = node.reports[-1]
            assert (told.state, told.reason, told.active) == (ModelState.ACTIVE, "DiskFailed", B.revision)
            assert "cannot be written" in told.message
            again = Releases(sequence=20, health=SOAK).next(stable=B, canary=everywhere(A))
            node.supervisor.hear(ReleasesListed((again,)))
            await node.until(
                lambda: node.record and node.record.outcome.state is ModelState.PENDING, "the canary waits"
            )
            await asyncio.sleep(0.1)
            node.check_alive()
            assert node.record
            assert model_status(node.record).reason == "DiskFailed"
            assert node.serves == B.revision

    assert in_a_process_without_rights(work) == ""


def test_a_revision_that_the_fleet_takes_back_stops_serving_though_nothing_can_be_written(data: Path) -> None:
    async def work() -> None:
        async with play(data) as node:
            await node.until(lambda: node.serves == B.revision, "the active revision serves")
            node.supervisor.hear(ReleasesListed((Releases(sequence=20).next(stable=A),)))
            await node.until(lambda: node.serves == A.revision, "the previous one serves")
            node.supervisor.hear(ReleasesListed((Releases(sequence=21).next(stable=A),)))
            await asyncio.sleep(0.1)
            node.check_alive()
            assert node.serves == A.revision

    assert in_a_process_without_rights(work) == ""


def test_a_directory_that_cannot_be_made_is_no_reason_to_exit(data: Path) -> None:
    async def work() -> None:
        async with play(data / "below") as node:
            node.supervisor.hear(ReleasesListed((Releases().next(stable=A),)))
            await node.until(lambda: node.record, "the model")
            await node.until(
                lambda: node.record and node.record.outcome.reason == "DiskFailed", "a report of the disk"
            )
            assert not Outbox(data / "below" / "outbox.json").node_uid()
            assert KEY not in node.server.active

    assert in_a_process_without_rights(work) == ""
