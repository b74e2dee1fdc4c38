"""What a node may spend of its disk: a revision without room is not begun, and is told with the numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.files import used_bytes
from edgecanary.agent.ports import ModelKey
from edgecanary.api.edgenode import ModelResult
from edgecanary.api.modelrelease import RevisionStatement
from tests.unit.agent.nodeplay import Node, node
from tests.unit.agent.releasing import KEY, Releases, everywhere, statement, until
from tests.unit.fileserver import FileServer, file_server

WEIGHTS = b"weights" * 20_000


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def model(files: FileServer, version: str, weights: bytes = WEIGHTS) -> RevisionStatement:
    """A revision with a graph of its own and weights that others have too."""
    contents = {"model.onnx": f"graph {version}".encode(), "weights.bin": weights}
    return statement(version, publish=files.put, files=contents)


async def refused(edge: Node, reason: str) -> str:
    """Waits for the refusal; what it said."""
    await until(lambda: edge.record.outcome.reason == reason)
    assert edge.record.outcome.result is ModelResult.PRECHECK_FAILED
    return edge.record.outcome.message


async def test_what_two_revisions_have_in_common_is_fetched_kept_and_counted_once(
    tmp_path: Path, files: FileServer
) -> None:
    a, b = model(files, "1.0.0"), model(files, "2.0.0")
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        before = used_bytes(tmp_path / "models")
        edge.store.free = 5000
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)

        assert [seen.path for seen in files.seen].count("/1.0.0/weights.bin") == 1
        assert "/2.0.0/weights.bin" not in [seen.path for seen in files.seen]
        assert used_bytes(tmp_path / "models") < before + len(WEIGHTS)
        edge.home.check(a.revision)
        edge.home.check(b.revision)


async def test_models_share_files_and_the_removal_of_one_leaves_the_others(
    tmp_path: Path, files: FileServer
) -> None:
    a = model(files, "1.0.0")
    other = Releases(name="fan", uid="uid-2").next(stable=a)
    other = other.model_copy(update={"spec": other.spec.model_copy(update={"model": "fan"})})
    releases, fan = Releases(), ModelKey(KEY.namespace, "fan")
    async with node(tmp_path) as edge:
        first = releases.next(stable=a)
        edge.hear(first)
        await edge.settles(a)
        edge.hear(first, other)
        await until(lambda: edge.server.active.get(fan))
        edge.hear(releases.next(), other)
        await until(lambda: edge.record.outcome.reason == "NotAssigned")
        edge.hear(other)
        await until(lambda: KEY not in [record.key for record in edge.supervisor.records])

        assert not edge.home.root.exists()
        edge.store.files_of(fan).check(a.revision)
        assert {path.name for path in edge.store.blobs.root.iterdir()} == {
            file.sha256 for file in a.variants[0].files
        }


async def test_a_revision_beyond_the_disk_budget_waits_beside_what_is_active(
    tmp_path: Path, files: FileServer
) -> None:
    a, b = model(files, "1.0.0"), model(files, "2.0.0", weights=b"other" * 30_000)
    releases, disk = Releases(), DiskBudget(margin_bytes=1000, limit_bytes=250_000)
    async with node(tmp_path, disk=disk) as edge:
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        requests = len(files.seen)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        said = await refused(edge, "DiskBudgetExceeded")

        assert "2.0.0 needs 146.5 KiB" in said
        assert "--disk-budget allows (244.1 KiB); raise it" in said
        assert (len(files.seen), edge.serves) == (requests, a.revision)
