"""When the files of a revision cannot be had: reported once, tried again, and nothing wrong is ever served."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.updater import RetryPace
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import ReleasedProfile, RevisionStatement
from tests.unit.agent.nodeplay import Node, node, quiet
from tests.unit.agent.releasing import Releases, everywhere, sha256, statement, until
from tests.unit.fileserver import Behaviour, FileServer, file_server

MODEL = b"model " * 50_000


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(files: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=files.put, files={"model.onnx": MODEL})


async def held_up(edge: Node, reason: str) -> None:
    """Waits until the node says why, and has tried more than once."""
    await until(lambda: edge.record.outcome.reason == reason)
    await quiet()
    assert edge.serves is None
    assert edge.record.outcome.state is ModelState.PENDING


async def test_a_cut_transfer_goes_on_where_it_stopped(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    files.behaviour = Behaviour(cut_after=100_000, etag='"v1"')
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await until(lambda: len(files.seen) >= 2)
        files.behaviour = Behaviour(etag='"v1"')
        await edge.settles(a)

        assert [seen.range for seen in files.seen[:3]] == [None, "bytes=100000-", "bytes=200000-"]
        assert edge.news[0].reason == "TransferCut"


async def test_bytes_that_are_not_the_declared_ones_are_dropped_and_never_active(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    path = "/1.0.0/model.onnx"
    files.put(path, b"MODEL " * 50_000)
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await held_up(edge, "DigestMismatch")
        assert (edge.record.outcome.result, len(edge.news)) == (ModelResult.VERIFY_FAILED, 1)
        assert f"the release says 300000 bytes with {sha256(MODEL)}" in edge.record.outcome.message
        assert len(files.seen) > 1
        assert State.STAGE not in edge.store.states

        files.put(path, MODEL)
        await edge.settles(a)


async def test_an_expired_address_is_waited_out_until_the_release_renews_it(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    files.behaviour = Behaviour(status=403)
    patient = RetryPace(first_seconds=3600, cap_seconds=3600)
    releases = Releases()
    async with node(tmp_path, pace=patient) as edge:
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.outcome.reason == "AccessDenied")
        assert "a renewed one is waited for" in edge.record.outcome.message

        files.behaviour = Behaviour()
        renewed = statement(
            "1.0.0",
            publish=lambda path, data: files.put(f"/renewed{path}", data),
            files={"model.onnx": MODEL},
        )
        edge.hear(releases.next(stable=renewed))
        await edge.settles(a)

    assert [seen.path for seen in files.seen] == ["/1.0.0/model.onnx", "/renewed/1.0.0/model.onnx"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param(Behaviour(status=404), "FileMissing", id="not there"),
        pytest.param(Behaviour(status=503), "ServerError", id="server error"),
        pytest.param(Behaviour(headers={"Content-Encoding": "gzip"}), "Encoded", id="compressed"),
        pytest.param(Behaviour(content_length=300_001), "LengthMismatch", id="other length"),
        pytest.param(Behaviour(location="file:///etc/passwd", status=302), "RedirectRefused", id="redirect"),
    ],
)
async def test_a_delivery_problem_is_reported_once_and_gone_when_the_server_is_well(
    tmp_path: Path, files: FileServer, a: RevisionStatement, behaviour: Behaviour, reason: str
) -> None:
    files.behaviour = behaviour
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await held_up(edge, reason)
        assert (edge.record.outcome.result, len(edge.news)) == (ModelResult.DOWNLOAD_FAILED, 1)
        assert edge.record.outcome.message.startswith("model.onnx: ")
        assert edge.record.rejected == ()

        files.behaviour = Behaviour()
        await edge.settles(a)
        assert [news.state for news in edge.news] == [ModelState.PENDING, ModelState.ACTIVE]


async def test_a_delivery_that_fails_in_turns_is_not_reported_at_every_turn(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        files.behaviour = Behaviour(status=503)
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.record.outcome.reason == "ServerError")
        files.behaviour = Behaviour(status=404)
        await until(lambda: edge.record.outcome.reason == "FileMissing")
        files.behaviour = Behaviour(cut_after=10)
        await until(lambda: edge.record.outcome.reason == "TransferCut")

        assert [news.reason for news in edge.news] == ["ServerError"]


async def test_an_address_that_is_missing_is_waited_for(tmp_path: Path, files: FileServer) -> None:
    bare = statement("1.0.0", files={"model.onnx": MODEL})
    without = bare.variants[0].files[0].model_copy(update={"url": None})
    bare = bare.model_copy(update={"variants": (bare.variants[0].model_copy(update={"files": (without,)}),)})
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=bare))
        await held_up(edge, "NoAddress")
        edge.hear(releases.next(stable=statement("1.0.0", publish=files.put, files={"model.onnx": MODEL})))
        await edge.settles(bare)


async def test_a_delivery_problem_of_a_canary_leaves_the_stable_revision_serving(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    b = statement("2.0.0", publish=files.put)
    files.put("/2.0.0/model.onnx", b"not the declared bytes")
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: edge.record.outcome.result is ModelResult.DOWNLOAD_FAILED)
        await quiet()

        assert edge.serves == a.revision
        assert edge.record.active == a.revision


async def test_a_part_from_before_a_restart_is_gone_on_with(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    files.behaviour = Behaviour(cut_after=100_000)
    patient = RetryPace(first_seconds=3600, cap_seconds=3600)
    async with node(tmp_path, pace=patient) as edge:
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.record.outcome.reason == "TransferCut")

    files.behaviour = Behaviour()
    async with node(tmp_path) as edge:
        await edge.settles(a)

    assert [seen.range for seen in files.seen] == [None, "bytes=100000-"]


def renewed(files: FileServer) -> RevisionStatement:
    """The same revision at another address."""
    return statement(
        "1.0.0", publish=lambda path, data: files.put(f"/renewed{path}", data), files={"model.onnx": MODEL}
    )


@pytest.mark.parametrize("status", [429, 503])
async def test_a_store_that_asks_to_be_left_alone_is_and_no_step_of_the_rollout_changes_that(
    tmp_path: Path, files: FileServer, a: RevisionStatement, status: int
) -> None:
    files.behaviour = Behaviour(status=status, headers={"Retry-After": "600"})
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.outcome.reason == "ServerError")
        assert "it asks to be left alone for 600 s" in edge.record.outcome.message
        files.behaviour = Behaviour()
        for _ in range(3):
            edge.hear(releases.next(stable=a))
            await quiet()
        assert len(files.seen) == 1
        assert edge.record.sequence == 4, "what the release says is known all the same"

        edge.hear(releases.next(stable=renewed(files)))
        await edge.settles(a)


async def test_a_node_that_waits_for_the_store_goes_elsewhere_at_once_when_the_release_does(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    b = statement("2.0.0", publish=files.put)
    files.behaviour = Behaviour(status=503, headers={"Retry-After": "600"})
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.outcome.reason == "ServerError")
        files.behaviour = Behaviour()
        edge.hear(releases.next(stable=b))
        await edge.settles(b)


async def test_a_download_begins_at_a_random_time_of_its_own_and_another_order_ends_the_wait(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    releases = Releases()
    async with node(tmp_path, spread_seconds=1e6) as edge:
        edge.hear(releases.next(stable=a))
        await edge.reaches(State.DOWNLOAD)
        await quiet()
        assert files.seen == []
        edge.hear(releases.next())
        await edge.reaches(State.SETTLED)


async def test_only_the_first_try_at_an_address_is_spread(
    tmp_path: Path, files: FileServer, a: RevisionStatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def no_wait(seconds: float) -> float:
        waits.append(seconds)
        return 0.0

    monkeypatch.setattr("edgecanary.agent.installer.spread", no_wait)
    files.behaviour = Behaviour(status=403)
    releases = Releases()
    async with node(tmp_path, spread_seconds=7.0) as edge:
        edge.hear(releases.next(stable=a))
        await until(lambda: len(files.seen) > 3)
        assert waits == [7.0]
        files.behaviour = Behaviour()
        edge.hear(releases.next(stable=renewed(files)))
        await edge.settles(a)

    assert waits == [7.0, 7.0], "a renewed address is news for every node at once too"


async def test_a_node_that_stops_does_not_wait_for_a_silent_server(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    files.behaviour = Behaviour(pause_after=1000)
    async with asyncio.timeout(30):
        async with node(tmp_path) as edge:
            edge.hear(Releases().next(stable=a))
            await until(lambda: files.seen)

    assert not edge.store.load(edge.record.key).alive


async def test_a_drift_profile_comes_along_is_verified_and_a_wrong_one_holds_the_revision_up(
    tmp_path: Path, files: FileServer
) -> None:
    profile = b'{"formatVersion": 1}'
    released = ReleasedProfile(
        uri="https://models.example.com/profile.json",
        sha256=sha256(profile),
        size_bytes=len(profile),
        url=files.put("/profile.json", b"x" * len(profile)),
    )
    plain = statement("1.0.0", publish=files.put)
    stated = plain.model_copy(update={"profile": released})
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=stated))
        await held_up(edge, "DigestMismatch")
        assert "drift profile: fetched" in edge.record.outcome.message
        files.put("/profile.json", profile)
        await edge.settles(stated)
        installed = edge.home.installed(stated.revision)
        assert installed.profile_path is not None
        assert installed.profile_path.read_bytes() == profile
