"""Nodes without room: no variant that fits, a disk that is small, full or damaged."""

from pathlib import Path

from edgecanary.agent.machine import State
from edgecanary.agent.ports import HealthCounters
from edgecanary.api.artifacts import VariantRequirements
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.nodeplay import node, quiet, running
from tests.unit.agent.releasing import (
    Releases,
    everywhere,
    until,
)
from tests.unit.fileserver import FileServer


async def test_a_revision_that_no_variant_fits_is_reported_and_waits_for_another_order(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    needs = VariantRequirements(min_memory="1Ti")
    large = b.model_copy(update={"variants": (b.variants[0].model_copy(update={"requires": needs}),)})
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=large))
        await until(lambda: len(edge.news) == 2)
        await quiet()

        outcome = edge.record.outcome
        assert (outcome.state, outcome.result) == (ModelState.PENDING, ModelResult.PRECHECK_FAILED)
        assert "memory 8.0 GiB is less than 1Ti" in outcome.message
        assert edge.serves == a.revision
        edge.hear(releases.next(stable=b))
        await edge.settles(b)


async def test_a_revision_that_the_disk_has_no_room_for_is_not_begun(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    size = sum(file.size_bytes for file in a.variants[0].files) + len(b"golden a")
    async with node(tmp_path) as edge:
        edge.store.free = size + 999
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.news)
        await quiet()

        assert edge.record.outcome.reason == "DiskTooSmall"
        assert f"needs {size / 1024:.1f} KiB" in edge.record.outcome.message
        assert (files.seen, len(edge.news)) == ([], 1)
        edge.store.free = size + 1000
        await edge.settles(a)


async def test_a_full_disk_holds_work_up_and_lets_it_go_on_later(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.store.full = True
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.record.outcome.reason == "DiskFailed")
        assert edge.record.state is State.SETTLED
        edge.store.full = False
        await edge.settles(a)


async def test_a_full_disk_does_not_keep_a_node_from_going_back(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        releases.health = DeviceHealth(soak_seconds=600)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        edge.store.full = True
        edge.server.answers = HealthCounters(requests=100, errors=100)
        await until(lambda: edge.serves == a.revision)
        edge.store.full = False
        await until(lambda: edge.record.rejected)

        assert edge.store.load(edge.record.key).rejected[0].revision == b.revision


async def test_an_active_revision_that_is_damaged_is_fetched_again(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        edge.hear(releases.next(stable=b))
        await edge.settles(b)
        path = edge.home.installed(b.revision).directory / "model.onnx"
        path.chmod(0o644)
        path.write_bytes(b"damaged")

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        await until(lambda: edge.record.outcome.reason == "ActiveDamaged")
        edge.hear(releases.next(stable=b))
        await edge.settles(b)

        edge.home.check(b.revision)
