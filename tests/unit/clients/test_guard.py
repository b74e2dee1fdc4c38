"""Where a redirect may lead."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import WrongAnswer
from edgecanary.clients.download import Cancellation, Downloader, DownloadPolicy
from edgecanary.clients.guard import is_local
from tests.unit.fileserver import Behaviour, FileServer, file_server

DATA = b"model " * 100


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::7f00:1",
    ],
)
def test_an_address_of_the_machine_its_link_or_its_cloud_is_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.7",
        "192.168.1.20",
        "172.16.3.4",
        "93.184.215.14",
        "2606:4700::1",
        "fd12:3456::1",
        "::ffff:10.0.0.7",
    ],
)
def test_a_server_on_the_site_or_in_the_world_is_not(address: str) -> None:
    assert not is_local(address)


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
    Downloader(DownloadPolicy(redirect_hosts=allowed)).fetch(
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

    with pytest.raises(WrongAnswer, match="name the host with --download-redirect-host") as caught:
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
