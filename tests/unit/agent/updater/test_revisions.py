"""One model on one node: from an order in a release to what is served, reported and kept on disk."""

from pathlib import Path

from edgecanary.agent.machine import State
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.nodeplay import link_of, node, quiet, running
from tests.unit.agent.releasing import (
    Releases,
    everywhere,
    rejected,
    sha256,
    statement,
    until,
)
from tests.unit.fileserver import FileServer


async def test_a_first_revision_goes_through_every_state_and_is_reported_once(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        await quiet()

        assert edge.serves == link_of(edge.home) == a.revision
        assert edge.store.states == [
            State.ACCEPTED,
            State.PRECHECK,
            State.DOWNLOAD,
            State.VERIFY,
            State.STAGE,
            State.PROBE,
            State.WINDOW,
            State.SWITCH,
            State.HEALTH,
            State.COMMIT,
            State.SETTLED,
        ]
        assert [(news.state, news.result, news.desired) for news in edge.news] == [
            (ModelState.ACTIVE, ModelResult.SUCCEEDED, a.revision)
        ]
        assert edge.record.outcome.probe is not None


async def test_a_canary_replaces_the_stable_revision_which_stays_on_disk(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)

        assert (edge.record.active, edge.record.previous) == (b.revision, a.revision)
        assert edge.record.outcome.attempt == 1
        edge.home.check(a.revision)


async def test_a_canary_that_is_taken_back_costs_neither_download_nor_probe(
    tmp_path: Path, files: FileServer, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        requests, probes, news = len(files.seen), len(edge.prober.probed), len(edge.news)

        edge.hear(releases.next(stable=a, taken_back=(rejected(b),)))
        await edge.settles(a)
        await quiet()

        assert (len(files.seen), len(edge.prober.probed)) == (requests, probes)
        assert edge.serves == link_of(edge.home) == a.revision
        assert len(edge.news) == news + 1
        assert edge.record.rejected == ()


async def test_a_third_revision_makes_the_first_one_garbage(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement, c: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = Releases()
        for stated in (a, b, c):
            edge.hear(releases.next(stable=stated))
            await edge.settles(stated)

        await until(lambda: {path.name for path in edge.home.store.iterdir()} == {b.revision, c.revision})


async def test_a_file_that_both_revisions_have_is_fetched_once(tmp_path: Path, files: FileServer) -> None:
    shared = b"labels " * 100
    one = statement("1.0.0", publish=files.put, files={"model.onnx": b"one", "labels.txt": shared})
    two = statement("2.0.0", publish=files.put, files={"model.onnx": b"two", "labels.txt": shared})
    async with node(tmp_path) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=one))
        await edge.settles(one)
        edge.hear(releases.next(stable=two))
        await edge.settles(two)

    assert [seen.path for seen in files.seen] == [
        "/1.0.0/model.onnx",
        "/1.0.0/labels.txt",
        "/2.0.0/model.onnx",
    ]


async def test_a_model_that_is_only_delivered_is_neither_probed_nor_given_golden_cases(
    tmp_path: Path, files: FileServer
) -> None:
    plain = statement("1.0.0", publish=files.put, golden=b"golden", serve=False)
    async with node(tmp_path) as edge:
        edge.hear(Releases(health=DeviceHealth(soak_seconds=600)).next(stable=plain))
        await edge.settles(plain)

        assert (edge.prober.probed, edge.serves) == ([], None)
        assert (edge.home.root / "active" / "model.onnx").exists()
    assert [seen.path for seen in files.seen] == ["/1.0.0/model.onnx"]


async def test_a_restarted_node_serves_before_it_hears_anything(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        await quiet()

        assert edge.news == []


async def test_a_node_without_labels_decides_nothing(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.supervisor._labels = None
        edge.hear(Releases().next(stable=a))
        await quiet()

        assert edge.supervisor.records == []


async def test_golden_cases_are_installed_with_the_revision(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        golden = edge.home.installed(a.revision).golden_path

        assert golden is not None
        assert sha256(golden.read_bytes()) == sha256(b"golden a")
