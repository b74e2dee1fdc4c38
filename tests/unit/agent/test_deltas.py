"""A node that holds an older file takes the delta, and never ends with anything but the right bytes."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.diskbudget import DiskBudget
from edgecanary.agent.machine import State
from edgecanary.agent.updater import RetryPace
from edgecanary.api.artifacts import DeltaFormat
from edgecanary.api.edgenode import ModelResult, ModelState, Transfer
from edgecanary.api.modelrelease import ReleasedDelta, RevisionStatement
from edgecanary.artifact.delta import BlockHead, file_head
from edgecanary.artifact.delta_encode import encode_delta
from tests.unit.agent.nodeplay import Node, node, quiet
from tests.unit.agent.releasing import Releases, sha256, statement, until
from tests.unit.fileserver import Behaviour, FileServer, file_server
from tests.unit.signing import CI, roots, with_signature

OLD = random.Random(1).randbytes(300_000)
NEW = OLD[:100_000] + b"something new" + OLD[100_000:]
DELTA = b"".join(encode_delta(DeltaFormat.ZSTD_PATCH, OLD, NEW, level=1))
FULL_PATH, DELTA_PATH = "/2.0.0/model.onnx", "/2.0.0/model.delta"


@pytest.fixture
def store() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(store: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=store.put, files={"model.onnx": OLD})


def with_delta(
    store: FileServer,
    delta: bytes = DELTA,
    *,
    served: bytes | None = None,
    source: bytes = OLD,
    size: int | None = None,
) -> RevisionStatement:
    """The second version, with a delta that is `served` and declared to be `delta`."""
    plain = statement("2.0.0", publish=store.put, files={"model.onnx": NEW})
    entry = ReleasedDelta(
        from_sha256=sha256(source),
        format=DeltaFormat.ZSTD_PATCH,
        uri="https://models.example.com/model.delta",
        sha256=sha256(delta),
        size_bytes=size or len(delta),
        url=store.put(DELTA_PATH, delta if served is None else served),
    )
    (variant,) = plain.variants
    file = variant.files[0].model_copy(update={"deltas": (entry,)})
    return plain.model_copy(update={"variants": (variant.model_copy(update={"files": (file,)}),)})


async def runs(edge: Node, releases: Releases, stated: RevisionStatement) -> None:
    edge.hear(releases.next(stable=stated))
    await edge.settles(stated)


def asked(store: FileServer) -> list[str]:
    """What was asked for, of the second version."""
    return [seen.path for seen in store.seen if seen.path.startswith("/2.0.0")]


def installed(edge: Node, stated: RevisionStatement) -> bytes:
    return (edge.home.installed(stated.revision).directory / "model.onnx").read_bytes()


def left_over(edge: Node) -> list[str]:
    return [path.name for path in edge.home.incoming.iterdir()]


async def test_a_node_with_the_older_file_fetches_the_delta_alone_and_reports_what_came(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        assert edge.record.outcome.transfer == Transfer(full_bytes=len(OLD), delta_bytes=0)
        await runs(edge, releases, b)

        assert asked(store) == [DELTA_PATH]
        assert installed(edge, b) == NEW
        assert edge.record.outcome.transfer == Transfer(full_bytes=0, delta_bytes=len(DELTA))
        await until(lambda: left_over(edge) == [])


@pytest.mark.parametrize("case", ["no older file", "another older file", "an older file that was damaged"])
async def test_a_node_without_the_older_file_fetches_the_whole(
    tmp_path: Path, store: FileServer, a: RevisionStatement, case: str
) -> None:
    b, releases = with_delta(store, source=NEW[:-1] if case == "another older file" else OLD), Releases()
    async with node(tmp_path) as edge:
        if case != "no older file":
            await runs(edge, releases, a)
        if case == "an older file that was damaged":
            path = edge.home.installed(a.revision).directory / "model.onnx"
            path.chmod(0o644)
            path.write_bytes(OLD[:-1] + b"!")
        await runs(edge, releases, b)

        assert asked(store) == [FULL_PATH]
        assert installed(edge, b) == NEW


@pytest.mark.parametrize(("share", "path"), [(0.849, DELTA_PATH), (0.851, FULL_PATH)])
async def test_only_a_delta_below_85_percent_of_the_file_is_taken(
    tmp_path: Path, store: FileServer, a: RevisionStatement, share: float, path: str
) -> None:
    size = int(len(NEW) * share)
    padded = _stored_in(size)
    b, releases = with_delta(store, padded), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        await runs(edge, releases, b)

        assert asked(store) == [path]
        assert installed(edge, b) == NEW


def _stored_in(size: int) -> bytes:
    """A valid delta of about that size: one that uses only a part of the old file."""
    known = OLD[: len(NEW) - size]
    return b"".join(encode_delta(DeltaFormat.ZSTD_PATCH, known, NEW, level=1))


WRONG_RESULT = b"".join(encode_delta(DeltaFormat.ZSTD_PATCH, OLD, NEW[:-1] + b"!", level=1))
BOMB = file_head(DeltaFormat.ZSTD_PATCH) + BlockHead(0, 0, 0, 2**32 - 1, 40).to_bytes() + bytes(40)


@pytest.mark.parametrize(
    ("delta", "served"),
    [
        pytest.param(DELTA, DELTA[:-1] + b"!", id="other bytes"),
        pytest.param(DELTA, DELTA + b"!", id="more bytes"),
        pytest.param(WRONG_RESULT, None, id="makes another file"),
        pytest.param(DELTA[:-1], None, id="cut"),
        pytest.param(BOMB, None, id="a bomb"),
        pytest.param(b"not a delta", None, id="no delta"),
    ],
)
async def test_a_delta_that_does_not_make_the_file_is_asked_for_once_and_the_whole_is_fetched(
    tmp_path: Path, store: FileServer, a: RevisionStatement, delta: bytes, served: bytes | None
) -> None:
    b, releases = with_delta(store, delta, served=served), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        await runs(edge, releases, b)

        assert asked(store) == [DELTA_PATH, FULL_PATH]
        assert installed(edge, b) == NEW
        assert [news.state for news in edge.news] == [ModelState.ACTIVE, ModelState.ACTIVE]
        await until(lambda: left_over(edge) == [])


async def test_a_delta_that_is_missing_or_forbidden_costs_one_request(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    del store.files[DELTA_PATH]
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        await runs(edge, releases, b)

        assert asked(store) == [DELTA_PATH, FULL_PATH]


async def test_a_delta_that_breaks_off_goes_on_where_it_stopped(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    big = b"".join(encode_delta(DeltaFormat.ZSTD_PATCH, OLD[:150_000], NEW, level=1))
    b, releases = with_delta(store, big), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        store.behaviour = Behaviour(cut_after=100_000, etag='"v1"')
        edge.hear(releases.next(stable=b))
        await until(lambda: asked(store))
        store.behaviour = Behaviour(etag='"v1"')
        await edge.settles(b)

        ranges = [seen.range for seen in store.seen if seen.path == DELTA_PATH]
        assert ranges == [None, "bytes=100000-"]
        assert FULL_PATH not in asked(store)
        assert edge.record.outcome.transfer == Transfer(full_bytes=0, delta_bytes=len(big))


async def test_a_delta_that_never_comes_is_given_up_after_three_tries(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        store.broken[DELTA_PATH] = 503
        await runs(edge, releases, b)

        assert asked(store) == [DELTA_PATH] * 3 + [FULL_PATH]
        assert [news.result for news in edge.news[1:]] == [ModelResult.DOWNLOAD_FAILED, ModelResult.SUCCEEDED]


async def test_a_full_file_that_is_nearly_there_is_gone_on_with(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    releases, patient = Releases(), RetryPace(first_seconds=3600, cap_seconds=3600)
    plain = statement("2.0.0", publish=store.put, files={"model.onnx": NEW})
    async with node(tmp_path, pace=patient) as edge:
        await runs(edge, releases, a)
        there = len(NEW) - len(DELTA) // 2
        store.behaviour = Behaviour(cut_after=there)
        edge.hear(releases.next(stable=plain))
        await until(lambda: edge.record.outcome.reason == "TransferCut")
        store.behaviour = Behaviour()
        await runs(edge, releases, with_delta(store))

        assert asked(store) == [FULL_PATH, FULL_PATH]
        assert store.seen[-1].range == f"bytes={there}-"
        assert installed(edge, plain) == NEW


@pytest.mark.parametrize("number", [28, 5], ids=["disk full", "input/output error"])
async def test_a_disk_that_fails_under_the_delta_leaves_nothing_and_the_whole_is_fetched(
    tmp_path: Path, store: FileServer, a: RevisionStatement, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        monkeypatch.undo()
        raise OSError(number, os.strerror(number))

    b, releases = with_delta(store), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        monkeypatch.setattr("edgecanary.agent.patching.os.fsync", fail)
        store.behaviour = Behaviour(etag='"v1"')
        edge.hear(releases.next(stable=b))
        await edge.settles(b)

        assert installed(edge, b) == NEW
        await until(lambda: left_over(edge) == [])


async def test_without_room_for_both_the_whole_is_fetched(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        edge.store.free = len(NEW) + 1000 + len(DELTA) - 1
        await runs(edge, releases, b)

        assert asked(store) == [FULL_PATH]


async def test_a_disk_budget_without_room_for_both_means_the_whole(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, a)
        used = edge.store.used_bytes()
    budget = DiskBudget(margin_bytes=1000, limit_bytes=used + len(NEW) + len(DELTA) // 2)
    async with node(tmp_path, disk=budget) as edge:
        await runs(edge, releases, b)

        assert asked(store) == [FULL_PATH]


async def test_what_a_killed_process_left_is_overwritten_and_cleaned_up(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_delta(store), Releases()
    patient = RetryPace(first_seconds=3600, cap_seconds=3600)
    async with node(tmp_path, pace=patient) as edge:
        await runs(edge, releases, a)
        store.broken[DELTA_PATH] = 503
        edge.hear(releases.next(stable=b))
        await until(lambda: edge.record.outcome.reason == "ServerError")
    (edge.home.incoming / f"{sha256(NEW)}.made.part").write_bytes(b"half of it")
    (edge.home.incoming / f"{sha256(DELTA)}.delta.part").write_bytes(DELTA[:20])
    store.broken.clear()
    async with node(tmp_path) as edge:
        await edge.settles(b)

        assert [seen.range for seen in store.seen][-1] == "bytes=20-"
        assert installed(edge, b) == NEW
        await until(lambda: left_over(edge) == [])


async def test_a_node_with_trust_roots_takes_deltas_though_they_are_not_signed(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    b, releases = with_signature(with_delta(store), sequence=8), Releases()
    async with node(tmp_path, roots=roots(CI)) as edge:
        await runs(edge, releases, with_signature(a, sequence=7))
        await runs(edge, releases, b)

        assert asked(store) == [DELTA_PATH]
        assert installed(edge, b) == NEW


async def test_other_deltas_in_the_release_change_nothing_for_a_node_that_has_the_revision(
    tmp_path: Path, store: FileServer, a: RevisionStatement
) -> None:
    releases = Releases()
    async with node(tmp_path) as edge:
        await runs(edge, releases, with_delta(store))
        requests, states = len(store.seen), list(edge.store.states)
        edge.hear(releases.next(stable=with_delta(store, DELTA + b"other")))
        await until(lambda: edge.record.sequence == 2 or edge.record.state is State.SETTLED)
        await quiet()

        assert len(store.seen) == requests
        assert edge.store.states == states
