"""One try at a download, against a real server that misbehaves in every way we know."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.base.hosts import parse_rule
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


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.put(PATH, DATA)
        yield running


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "model.part"


def fetch(server: FileServer, part: Path, *, size: int = len(DATA), stall_seconds: float = 20.0) -> None:
    limits = DownloadLimits(connect_seconds=5.0, stall_seconds=stall_seconds)
    Downloader(DownloadPolicy(limits=limits)).fetch(server.url(PATH), part, size, Cancellation())


def test_a_whole_file_arrives_in_one_request(server: FileServer, part: Path) -> None:
    fetch(server, part)

    assert part.read_bytes() == DATA
    assert [seen.range for seen in server.seen] == [None]


def test_a_body_without_a_length_is_read_to_its_end(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(no_length=True)

    fetch(server, part)

    assert part.read_bytes() == DATA


def test_a_cut_connection_leaves_what_came_and_the_next_try_asks_for_the_rest(
    server: FileServer, part: Path
) -> None:
    server.behaviour = Behaviour(cut_after=100_000, etag='"v1"')
    with pytest.raises(Unavailable, match="after 100000 of 300000 bytes") as caught:
        fetch(server, part)
    server.behaviour = Behaviour(etag='"v1"')
    fetch(server, part)

    assert caught.value.reason == "TransferCut"
    assert part.read_bytes() == DATA
    assert [(seen.range, seen.if_range) for seen in server.seen] == [(None, None), ("bytes=100000-", '"v1"')]


def test_a_body_without_a_length_that_ends_early_is_a_cut(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(no_length=True, cut_after=1000)

    with pytest.raises(Unavailable) as caught:
        fetch(server, part)

    assert caught.value.reason == "TransferCut"
    assert part.stat().st_size == 1000


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(server: FileServer, part: Path) -> None:
    part.write_bytes(OTHER[:50_000])
    server.behaviour = Behaviour(ignore_range=True)

    fetch(server, part)

    assert part.read_bytes() == DATA


def test_a_file_that_changed_between_two_tries_is_fetched_anew(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(cut_after=100_000, etag='"v1"')
    with pytest.raises(Unavailable):
        fetch(server, part)
    server.put(PATH, OTHER)
    server.behaviour = Behaviour(etag='"v2"')
    fetch(server, part)

    assert part.read_bytes() == OTHER


def test_a_changed_file_is_noticed_though_the_server_ignores_if_range(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(cut_after=100_000, etag='"v1"')
    with pytest.raises(Unavailable):
        fetch(server, part)
    server.put(PATH, OTHER)
    server.behaviour = Behaviour(etag='"v2"', ignore_if_range=True)
    with pytest.raises(WrongAnswer) as caught:
        fetch(server, part)

    assert caught.value.reason == "SourceChanged"
    assert not part.exists()


def test_a_longer_file_is_refused_by_its_announced_length(server: FileServer, part: Path) -> None:
    with pytest.raises(WrongAnswer, match=r"says 299999 bytes .*, the server has 300000") as caught:
        fetch(server, part, size=len(DATA) - 1)

    assert caught.value.reason == "LengthMismatch"
    assert not part.exists()


def test_a_longer_file_of_no_announced_length_is_cut_off_at_the_cap(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(no_length=True)

    with pytest.raises(WrongAnswer, match="holds more than the 100 bytes"):
        fetch(server, part, size=100)

    assert not part.exists()


def test_a_shorter_file_is_refused(server: FileServer, part: Path) -> None:
    with pytest.raises(WrongAnswer, match="says 300001 bytes"):
        fetch(server, part, size=len(DATA) + 1)


def test_a_part_that_is_too_long_is_dropped(server: FileServer, part: Path) -> None:
    part.write_bytes(DATA + b"x")

    fetch(server, part)

    assert part.read_bytes() == DATA


def test_a_whole_part_costs_no_request(server: FileServer, part: Path) -> None:
    part.write_bytes(DATA)

    fetch(server, part)

    assert server.seen == []


def test_a_range_that_is_not_the_one_asked_for_drops_the_part(server: FileServer, part: Path) -> None:
    part.write_bytes(DATA[:1000])
    server.behaviour = Behaviour(content_range="bytes 0-299999/300000")

    with pytest.raises(WrongAnswer, match="wanted bytes 1000-299999/300000"):
        fetch(server, part)

    assert not part.exists()


def test_a_refused_range_drops_the_part(server: FileServer, part: Path) -> None:
    part.write_bytes(DATA[:1000])
    server.behaviour = Behaviour(status=416)

    with pytest.raises(WrongAnswer) as caught:
        fetch(server, part)

    assert caught.value.reason == "RangeRefused"
    assert not part.exists()


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (403, Unavailable, "AccessDenied"),
        (401, Unavailable, "AccessDenied"),
        (404, NotFound, "FileMissing"),
        (410, NotFound, "FileMissing"),
        (429, Unavailable, "ServerError"),
        (500, Unavailable, "ServerError"),
        (503, Unavailable, "ServerError"),
        (204, Unavailable, "ServerError"),
    ],
)
def test_a_refusal_keeps_the_part_and_says_which_it_is(
    server: FileServer, part: Path, status: int, kind: type[EdgecanaryError], reason: str
) -> None:
    part.write_bytes(DATA[:1000])
    server.behaviour = Behaviour(status=status)

    with pytest.raises(kind, match=f"HTTP {status}") as caught:
        fetch(server, part)

    assert caught.value.reason == reason
    assert part.read_bytes() == DATA[:1000]


def test_a_refusal_tells_how_long_to_stay_away(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(status=503, headers={"Retry-After": "90"})

    with pytest.raises(Unavailable, match="HTTP 503; it asks to be left alone for 90 s") as caught:
        fetch(server, part)

    assert caught.value.retry_after_seconds == 90.0


def test_a_server_that_falls_silent_is_given_up(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(pause_after=1000)

    with pytest.raises(Unavailable) as caught:
        fetch(server, part, stall_seconds=0.2)

    assert caught.value.reason == "Stalled"
    assert part.read_bytes() == DATA[:1000]


def test_a_server_that_trickles_is_given_up(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(trickle_seconds=0.05)

    with pytest.raises(Unavailable, match=r"fewer than 1024 bytes in 0\.3 s") as caught:
        fetch(server, part, stall_seconds=0.3)

    assert caught.value.reason == "Stalled"


def test_a_compressed_answer_is_refused(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(headers={"Content-Encoding": "gzip"})

    with pytest.raises(WrongAnswer) as caught:
        fetch(server, part)

    assert caught.value.reason == "Encoded"


def test_redirects_are_followed_and_keep_the_range(server: FileServer, part: Path, tmp_path: Path) -> None:
    part.write_bytes(DATA[:1000])
    with file_server() as front:
        front.behaviour = Behaviour(status=307, location=server.url(PATH))
        front.put(PATH, b"")
        policy = DownloadPolicy(redirect_hosts=(parse_rule("127.0.0.1"),))
        Downloader(policy).fetch(front.url(PATH), part, len(DATA), Cancellation())

    assert part.read_bytes() == DATA
    assert server.seen[0].range == "bytes=1000-"


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_something_else_than_http_is_refused(
    server: FileServer, part: Path, location: str
) -> None:
    server.behaviour = Behaviour(status=302, location=location)

    with pytest.raises(WrongAnswer) as caught:
        fetch(server, part)

    assert caught.value.reason == "RedirectRefused"


def test_a_circle_of_redirects_ends(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(status=302, location=PATH)

    with pytest.raises(WrongAnswer, match="more than 3 redirects"):
        fetch(server, part)


def test_nobody_listening_is_unavailable(server: FileServer, part: Path) -> None:
    with file_server() as gone:
        url = gone.url(PATH)

    with pytest.raises(Unavailable) as caught:
        Downloader(DownloadPolicy(limits=DownloadLimits(connect_seconds=2.0))).fetch(
            url, part, 10, Cancellation()
        )

    assert caught.value.reason == "NoAnswer"


@pytest.mark.parametrize("status", [403, 500])
def test_no_message_shows_the_signature_in_an_address(server: FileServer, part: Path, status: int) -> None:
    server.behaviour = Behaviour(status=status)
    url = f"{server.url(PATH)}?X-Amz-Signature=secret"

    with pytest.raises(Unavailable) as caught:
        Downloader().fetch(url, part, 10, Cancellation())

    assert "secret" not in str(caught.value)


def test_cancelling_ends_a_transfer_that_waits_for_bytes(server: FileServer, part: Path) -> None:
    server.behaviour = Behaviour(pause_after=1000)
    cancellation, ended = Cancellation(), threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            policy = DownloadPolicy(limits=DownloadLimits(stall_seconds=300))
            Downloader(policy).fetch(server.url(PATH), part, len(DATA), cancellation)
        except Cancelled as error:
            errors.append(error)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    while not (part.exists() and server.seen):
        ended.wait(0.01)
    cancellation.cancel()

    assert ended.wait(30)
    assert len(errors) == 1


def test_a_cancelled_transfer_does_not_begin(server: FileServer, part: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()

    with pytest.raises(Cancelled):
        Downloader().fetch(server.url(PATH), part, len(DATA), cancellation)

    assert server.seen == []


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"downloadCAFile: .*nowhere\.pem"):
        Downloader(DownloadPolicy(ca_file=tmp_path / "nowhere.pem"))


@pytest.mark.parametrize("url", ["http://[/", "http://host:port/x", "https://[::1/x"])
def test_an_address_that_is_none_is_no_answer_and_no_defect(part: Path, url: str) -> None:
    with pytest.raises(EdgecanaryError) as caught:
        Downloader().fetch(url, part, 10, Cancellation())
    assert caught.value.reason == "HostInvalid"
