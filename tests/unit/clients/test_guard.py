"""Where a redirect may lead."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import WrongAnswer
from edgecanary.base.hosts import parse_rule
from edgecanary.clients.download import Cancellation, Downloader, DownloadPolicy
from tests.unit.fileserver import Behaviour, FileServer, file_server

DATA = b"model " * 100


@pytest.fixture
def inside() -> Iterator[FileServer]:
    """What must not be reached."""
    with file_server() as running:
        running.put("/secret", DATA)
        yield running


@pytest.fixture
def front() -> Iterator[FileServer]:
    """The store that the release names."""
    with file_server() as running:
        running.put("/model", DATA)
        yield running


def fetch(front: FileServer, tmp_path: Path, *allowed: str) -> bytes:
    part = tmp_path / "part"
    Downloader(DownloadPolicy(redirect_hosts=tuple(map(parse_rule, allowed)))).fetch(
        front.url("/model"), part, len(DATA), Cancellation()
    )
    return part.read_bytes()


def names() -> list[str]:
    """Ways to write this machine, as far as it knows them itself."""
    known = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "0.0.0.0"]  # noqa: S104
    return [name for name in known if _resolves(name)]


def _resolves(name: str) -> bool:
    try:
        found = socket.getaddrinfo(name, 80, socket.AF_INET)
    except OSError:
        return False
    return bool(found)


@pytest.mark.parametrize("name", names())
def test_a_redirect_to_this_machine_sends_it_no_byte(
    front: FileServer, inside: FileServer, tmp_path: Path, name: str
) -> None:
    front.behaviour = Behaviour(status=302, location=f"http://{name}:{inside.port}/secret")

    with pytest.raises(
        WrongAnswer, match=r"redirects to .*(--download-redirect-host|must spell an IPv4)"
    ) as caught:
        fetch(front, tmp_path)

    assert caught.value.reason == "RedirectRefused"
    assert inside.seen == []
    assert not (tmp_path / "part").exists()


def test_a_second_redirect_is_looked_at_as_the_first(
    front: FileServer, inside: FileServer, tmp_path: Path
) -> None:
    with file_server() as middle:
        front.behaviour = Behaviour(status=302, location=f"http://localhost:{middle.port}/x")
        middle.behaviour = Behaviour(status=302, location=inside.url("/secret"))
        with pytest.raises(WrongAnswer) as caught:
            fetch(front, tmp_path, "localhost")

    assert caught.value.reason == "RedirectRefused"
    assert len(middle.seen) == 1
    assert inside.seen == []


def test_a_redirect_is_followed_to_a_host_that_the_node_allows(
    front: FileServer, inside: FileServer, tmp_path: Path
) -> None:
    front.behaviour = Behaviour(status=302, location=inside.url("/secret"))

    assert fetch(front, tmp_path, "127.0.0.1") == DATA


def test_a_redirect_within_the_store_that_the_release_names_is_followed(
    front: FileServer, tmp_path: Path
) -> None:
    front.put("/moved", DATA)
    front.behaviour = Behaviour(raw=_redirect("/moved", front))
    with pytest.raises(WrongAnswer, match="more than 3 redirects"):
        fetch(front, tmp_path)

    assert [seen.path for seen in front.seen] == ["/model", "/moved", "/moved", "/moved"]


def _redirect(path: str, server: FileServer) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {server.url(path)}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://", "//", "http:///etc/passwd", "\\\\host\\share", "gopher://x/"]
)
def test_a_redirect_that_is_no_address_is_refused(front: FileServer, tmp_path: Path, location: str) -> None:
    front.behaviour = Behaviour(status=302, location=location)

    with pytest.raises(WrongAnswer) as caught:
        fetch(front, tmp_path)

    assert caught.value.reason in ("RedirectRefused", "TooManyRedirects")
