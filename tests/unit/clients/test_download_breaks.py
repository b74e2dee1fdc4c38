"""One try at a download whose connection breaks, lies or dawdles at every kind of place."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import Unavailable, WrongAnswer
from edgecanary.clients.download import (
    Cancellation,
    Cancelled,
    Downloader,
    DownloadLimits,
    DownloadPolicy,
)
from tests.unit.fileserver import Behaviour, FileServer, file_server

DATA = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(300_000)
PATH = "/bucket/model.onnx"
LONG_AGO = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.put(PATH, DATA)
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "model.part"


def fetch(server: FileServer, part: Path, *, size: int = len(DATA), **limits: float) -> Cancellation:
    policy = DownloadPolicy(limits=DownloadLimits(connect_seconds=5.0, **limits))  # type: ignore[arg-type]
    cancellation = Cancellation()
    Downloader(policy).fetch(server.url(PATH), part, size, cancellation)
    return cancellation


HEADS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "a status line": b"HTTP/1.1 200 OK\r\n",
    "half a header": b"HTTP/1.1 206 Partial Content\r\nContent-Ran",
    "all headers but the last line": b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "a header without an end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_connection_reset_in_the_headers_keeps_the_part_and_is_tried_again(
    server: FileServer, part: Path, head: bytes
) -> None:
    part.write_bytes(DATA[:1000])
    server.behaviour = Behaviour(raw=head)
    with pytest.raises(Unavailable) as caught:
        fetch(server, part)
    assert caught.value.reason in ("NoAnswer", "TransferCut")
    assert part.read_bytes() == DATA[:1000]

    server.behaviour = Behaviour()
    fetch(server, part)
    assert part.read_bytes() == DATA
    assert server.seen[-1].range == "bytes=1000-"


@pytest.mark.parametrize("place", [0, 1, 65_535, 65_536, 65_537, 299_999])
def test_a_connection_reset_in_the_body_goes_on_at_the_same_byte(
    server: FileServer, part: Path, place: int
) -> None:
    server.behaviour = Behaviour(cut_after=place, reset=True, etag='"v1"')
    with pytest.raises(Unavailable):
        fetch(server, part)
    have = part.stat().st_size
    server.behaviour = Behaviour(etag='"v1"')
    fetch(server, part)

    assert part.read_bytes() == DATA
    assert have <= place
    assert server.seen[-1].range == (f"bytes={have}-" if have else None)


def test_a_file_that_breaks_off_after_every_few_bytes_arrives_all_the_same(
    server: FileServer, part: Path
) -> None:
    server.behaviour = Behaviour(cut_after=20_000, etag='"v1"')
    received, downloader = 0, Downloader()
    while not (part.exists() and part.stat().st_size == len(DATA)):
        cancellation = Cancellation()
        try:
            downloader.fetch(server.url(PATH), part, len(DATA), cancellation)
        except Unavailable:
            assert part.stat().st_size > 0
        received += cancellation.received

    assert part.read_bytes() == DATA
    assert received == len(DATA), "no byte came twice"
    assert len(server.seen) == 15
    assert list(part.parent.iterdir()) == [part]


def test_a_head_that_dawdles_is_given_up_though_a_byte_always_comes(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(raw=b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 90, raw_pause=0.02)

    with pytest.raises(Unavailable) as caught:
        fetch(server, part, answer_seconds=0.3, stall_seconds=60)

    assert caught.value.reason == "NoAnswer"


def test_an_endless_body_is_cut_off_at_the_size_of_the_release(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(endless=True)
    cancellation = Cancellation()

    with pytest.raises(WrongAnswer, match="holds more than the 1000000 bytes"):
        Downloader().fetch(server.url(PATH), part, 1_000_000, cancellation)

    assert not part.exists()
    assert cancellation.received <= 1_000_000 + 2**16


class TestTimeOfChange:
    """For a server without ETags, the time of the last change says whether the file is still the same."""

    def cut(self, server: FileServer, part: Path, headers: dict[str, str]) -> None:
        server.behaviour = Behaviour(cut_after=100_000, headers=headers)
        with pytest.raises(Unavailable):
            fetch(server, part)

    def test_it_is_sent_along_and_the_rest_comes(self, server: FileServer, part: Path) -> None:
        self.cut(server, part, LONG_AGO)
        server.behaviour = Behaviour(headers=LONG_AGO)
        fetch(server, part)

        assert part.read_bytes() == DATA
        assert (server.seen[1].range, server.seen[1].if_range) == ("bytes=100000-", LONG_AGO["Last-Modified"])

    def test_a_changed_file_is_fetched_anew(self, server: FileServer, part: Path) -> None:
        self.cut(server, part, LONG_AGO)
        server.put(PATH, OTHER)
        server.behaviour = Behaviour(headers={"Last-Modified": "Fri, 02 Jan 2026 00:00:00 GMT"})
        fetch(server, part)

        assert part.read_bytes() == OTHER

    def test_a_changed_file_is_noticed_though_the_server_ignores_if_range(
        self, server: FileServer, part: Path
    ) -> None:
        self.cut(server, part, LONG_AGO)
        server.put(PATH, OTHER)
        later = {"Last-Modified": "Fri, 02 Jan 2026 00:00:00 GMT"}
        server.behaviour = Behaviour(headers=later, ignore_if_range=True)
        with pytest.raises(WrongAnswer) as caught:
            fetch(server, part)

        assert caught.value.reason == "SourceChanged"
        assert not part.exists()

    @pytest.mark.parametrize(
        "headers",
        [
            {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"},
            {"Last-Modified": "yesterday"},
            {"ETag": 'W/"weak"'},
        ],
        ids=["in the same second", "no date", "a weak ETag"],
    )
    def test_what_cannot_tell_two_states_apart_is_not_relied_on(
        self, server: FileServer, part: Path, headers: dict[str, str]
    ) -> None:
        self.cut(server, part, headers)
        server.behaviour = Behaviour()
        fetch(server, part)

        assert (server.seen[1].range, server.seen[1].if_range) == ("bytes=100000-", None)


def test_a_file_that_became_longer_between_two_tries_is_started_over(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(cut_after=100_000)
    with pytest.raises(Unavailable):
        fetch(server, part)
    server.put(PATH, DATA + b"more")
    server.behaviour = Behaviour()
    with pytest.raises(WrongAnswer) as caught:
        fetch(server, part)
    assert caught.value.reason == "LengthMismatch"
    assert not part.exists()

    server.put(PATH, DATA)
    fetch(server, part)
    assert part.read_bytes() == DATA


class TestRateLimit:
    def test_downloads_share_it_and_a_slow_one_is_not_taken_for_stalled(
        self, server: FileServer, tmp_path: Path
    ) -> None:
        policy = DownloadPolicy(
            bytes_per_second=200_000, limits=DownloadLimits(stall_seconds=0.2, stall_bytes=100_000)
        )
        downloader = Downloader(policy)
        url, began, parts = server.url(PATH), time.monotonic(), (tmp_path / "a", tmp_path / "b")

        def work(part: Path) -> None:
            downloader.fetch(url, part, len(DATA), Cancellation())

        threads = [threading.Thread(target=work, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [part.read_bytes() == DATA for part in parts] == [True, True]
        # 600,000 bytes, of which 200,000 may come at once: no machine is so fast that this takes less.
        assert time.monotonic() - began >= 2.0

    def test_a_transfer_that_waits_for_its_turn_can_be_cancelled(
        self, server: FileServer, part: Path
    ) -> None:
        cancellation, ended = Cancellation(), threading.Event()

        def work() -> None:
            with pytest.raises(Cancelled):
                Downloader(DownloadPolicy(bytes_per_second=100)).fetch(
                    server.url(PATH), part, len(DATA), cancellation
                )
            ended.set()

        threading.Thread(target=work, daemon=True).start()
        while cancellation.received < 100:
            ended.wait(0.01)
        cancellation.cancel()

        assert ended.wait(30)
