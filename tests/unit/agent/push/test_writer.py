"""Remote write beside serving: one event loop, a real server of each kind, a real disk."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgecanary.agent.push.sampling import compress
from edgecanary.agent.push.settings import PushSettings, parse_labels
from edgecanary.agent.push.writer import RemoteWriter, make_writer
from edgecanary.agent.telemetry import Identity, Telemetry
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import InvalidInput, Unavailable
from edgecanary.clients.nodeaccess import Blob
from edgecanary.clients.remotewrite import RemoteWrite, WriteTarget
from edgelab.certificates import Authority
from tests.unit.agent.modelmaking import KEY, REVISION_A, identity_model, install, row_io
from tests.unit.agent.push.receiver import Receiver, Said, Sample, receiving
from tests.unit.agent.serving.harness import rows, running_node

IDENTITY = Identity(KEY, REVISION_A, "1")
STALE = 0x7FF0000000000002


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Clock:
    """Turned by the test."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment


def writer(
    telemetry: Telemetry,
    receiver: Receiver,
    folder: Path,
    *,
    seconds: float = 0.05,
    clock: Clock | None = None,
) -> RemoteWriter:
    settings = PushSettings(
        WriteTarget(receiver.url, seconds=20), seconds, retry_first_seconds=0.01, labels={"site": "north"}
    )
    return make_writer(settings, telemetry.registry, clock or SystemClock(), node="n1", data_dir=folder)


async def until_taken(receiver: Receiver, name: str, value: float) -> Sample:
    async with asyncio.timeout(30):
        while True:
            for sample in receiver.taken:
                if sample.name == name and sample.value == value:
                    return sample
            await asyncio.sleep(0.01)


async def test_metrics_go_out_by_themselves_with_the_labels_of_a_scrape_and_its_own(
    receiver: Receiver, tmp_path: Path
) -> None:
    telemetry = Telemetry(agent_version="1")
    pushing = writer(telemetry, receiver, tmp_path)
    await pushing.start()
    telemetry.open(IDENTITY)
    sample = await until_taken(receiver, "edgecanary_requests_total", 0)
    await pushing.stop()
    labels = dict(sample.labels)
    assert labels["node"] == labels["instance"] == "n1"
    assert (labels["job"], labels["site"]) == ("edgecanary-agent", "north")
    assert (labels["namespace"], labels["model"], labels["revision"]) == ("plant", "pump", REVISION_A)
    names = {found.name for found in receiver.taken}
    assert {"process_resident_memory_bytes", "edgecanary_remote_write_waiting_bytes"} <= names


async def test_a_revision_that_leaves_ends_its_series_and_so_does_the_agent(
    receiver: Receiver, tmp_path: Path
) -> None:
    telemetry = Telemetry(agent_version="1")
    telemetry.open(IDENTITY)
    pushing = writer(telemetry, receiver, tmp_path)
    await pushing.start()
    await until_taken(receiver, "edgecanary_requests_total", 0)
    telemetry.close(IDENTITY)
    async with asyncio.timeout(30):
        while not any(sample.bits == STALE for sample in receiver.taken):
            await asyncio.sleep(0.01)
    ended = {sample.name for sample in receiver.taken if sample.bits == STALE}
    assert "edgecanary_requests_total" in ended
    assert "edgecanary_agent_info" not in ended
    await pushing.stop()
    receiver.taken.clear()
    again = writer(Telemetry(agent_version="1"), receiver, tmp_path, seconds=60)
    await again.start()
    async with asyncio.timeout(30):
        while not any(sample.name == "edgecanary_agent_info" for sample in receiver.taken):
            await asyncio.sleep(0.01)
    assert {sample.bits for sample in receiver.taken if sample.name == "edgecanary_agent_info"} >= {STALE}
    await again.stop()


async def test_a_server_that_never_answers_and_a_disk_that_hangs_hold_up_no_request(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, let_go, hung = threading.Event(), threading.Event(), threading.Event()

    def hang(_: list[Sample]) -> Said:
        asked.set()
        receiver.ending.wait(30)
        return Said(0)

    receiver.answer = hang
    synced = os.fsync

    def slow_disk(handle: int) -> None:
        if asked.is_set():
            hung.set()
            let_go.wait(30)
        synced(handle)

    async with running_node() as node:
        await node.server.activate(install(tmp_path, identity_model(), row_io()))
        pushing = writer(node.telemetry, receiver, tmp_path)
        monkeypatch.setattr(os, "fsync", slow_disk)
        await pushing.start()
        await asyncio.to_thread(asked.wait, 30)
        await asyncio.to_thread(hung.wait, 30)
        for _ in range(200):
            assert (await node.infer(rows(1, 2, 3, 4))).status == 200
        assert not let_go.is_set()
        assert len(receiver.requests) == 1
        await pushing.stop()
        let_go.set()
        monkeypatch.undo()


async def test_a_clock_that_is_set_back_a_little_is_waited_for_and_one_set_back_far_is_followed(
    receiver: Receiver, tmp_path: Path
) -> None:
    telemetry, clock = Telemetry(agent_version="1"), Clock()
    pushing = writer(telemetry, receiver, tmp_path, clock=clock)
    begin = clock.moment

    async def collected(seconds: float) -> int:
        clock.moment = begin + timedelta(seconds=seconds)
        await pushing.collect()
        return len(pushing._outbox.peek(entries=1000, max_bytes=2**30))

    assert [await collected(seconds) for seconds in (0, 30, 10, 30, -3000, 29.9, 31)] == [1, 2, 2, 2, 2, 2, 3]
    assert await collected(-5000) == 4
    assert await collected(-4990) == 5


def test_an_agent_that_neither_pushes_nor_watches_drift_does_not_load_what_these_need() -> None:
    code = (
        "import sys; from edgecanary.cli import agent; from edgecanary.agent.serving import engine; "
        "heavy = ('agent.push', 'agent.drift', 'analysis.drift', 'remotewrite', 'cramjam'); "
        "print([name for name in sys.modules if name.endswith(heavy)])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": "operator"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


SECRET = Blob(data=b"secret")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"url": "prometheus:9090"}, "--remote-write: must be an http:// or https:// address"),
        ({"url": "https://"}, "--remote-write: must be an http"),
        ({"url": "https://host:port/x"}, "--remote-write: must be an http"),
        ({"url": "https://me:secret@host/x"}, "--remote-write: must not hold a user or password"),
        ({"url": "http://host/x", "token": SECRET}, "must be https:// when a token or a password"),
        (
            {"url": "https://host/x", "token": SECRET, "user": "me", "password": SECRET},
            "must not be given together with --remote-write-user",
        ),
        ({"url": "https://host/x", "user": "me"}, "--remote-write-user: must be given together with"),
        ({"url": "https://host/x", "password": SECRET}, "--remote-write-user: must be given together with"),
    ],
)
def test_a_target_that_cannot_be_is_refused_and_no_secret_is_named(
    target: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        WriteTarget(**target)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["site", "=x", "1a=x", "a-b=x", "__name__=x", "node=x", f"a={'x' * 513}"])
def test_a_label_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--remote-write-label: must be NAME=VALUE"):
        parse_labels([text])


def test_too_many_labels_are_refused() -> None:
    assert parse_labels(["a=", "b=1=2"]) == {"a": "", "b": "1=2"}
    with pytest.raises(InvalidInput, match="at most 16 times"):
        parse_labels(f"a{number}=x" for number in range(17))


def test_a_tiny_outbox_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--remote-write-max-bytes: must be at least 1Mi"):
        PushSettings(WriteTarget("https://host/x"), max_bytes=1000)


async def test_a_password_goes_with_every_request(receiver: Receiver, tmp_path: Path) -> None:
    target = WriteTarget(receiver.url, user="me", password=Blob(data=b"pass\n"))
    telemetry = Telemetry(agent_version="1")
    pushing = make_writer(
        PushSettings(target, 0.05), telemetry.registry, SystemClock(), node="n1", data_dir=tmp_path
    )
    await pushing.start()
    await until_taken(receiver, "edgecanary_agent_info", 1)
    await pushing.stop()
    assert receiver.headers[-1]["Authorization"] == "Basic bWU6cGFzcw=="


def test_https_trusts_the_given_authority_and_nobody_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with receiving(pair=authority.server("prometheus")) as receiver:
        trusting = WriteTarget(receiver.url, token=SECRET, authority=Blob(path=authority.certificate))
        assert RemoteWrite(trusting).send(compress(b"")).status == 204
        with pytest.raises(Unavailable):
            RemoteWrite(WriteTarget(receiver.url, token=SECRET)).send(compress(b""))
        with pytest.raises(InvalidInput, match="--remote-write-ca-file: cannot be used"):
            RemoteWrite(WriteTarget(receiver.url, authority=Blob(path=tmp_path / "none"))).send(b"")
        assert len(receiver.headers) == 1
