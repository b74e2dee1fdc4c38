"""Where connections really go: names that lie, names that change their mind, and proxies of the surroundings."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from urllib3.util.connection import create_connection

from edgecanary.base.errors import NotAllowed, Unavailable, WrongAnswer
from edgecanary.base.hosts import parse_rule
from edgecanary.base.reach import LocalRule, Reach
from edgecanary.clients import guard
from edgecanary.clients.download import Cancellation, Downloader
from edgecanary.clients.http import Exchange, Request
from edgecanary.clients.objectstore import ObjectStore, S3Credentials
from edgecanary.clients.prometheus import Prometheus
from tests.unit.fileserver import Behaviour, FileServer, file_server

DATA = b"model " * 100
STRICT = LocalRule(loopback=False)
NAME = "store.example"
Names = Callable[..., None]


@pytest.fixture
def server() -> Iterator[FileServer]:
    """What must not be reached."""
    with file_server() as running:
        running.put("/x", DATA)
        yield running


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver that says, at each look, the next of these lists of addresses, and then the last for ever."""

    def answer(*turns: list[str]) -> None:
        left = list(turns)

        def getaddrinfo(host: str, port: int, *rest: object) -> list[object]:
            found = [host] if host[0].isdigit() else left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return answer


def by_exchange(url: str, reach: Reach, path: Path) -> bytes:
    with Exchange(Request("GET", url, reach=reach), seconds=20) as exchange:
        return exchange.read(10_000)


def by_download(url: str, reach: Reach, path: Path) -> bytes:
    Downloader().fetch(url, path / "part", len(DATA), Cancellation(), reach)
    return (path / "part").read_bytes()


Fetch = Callable[[str, Reach, Path], bytes]
WAYS = pytest.mark.parametrize("fetch", [by_exchange, by_download])


@WAYS
@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.255.0.1", "127.0.0.1"], ["127.0.0.1", "10.255.0.1"]]
)
def test_a_name_that_leads_to_this_machine_sends_it_no_byte(
    server: FileServer, names: Names, tmp_path: Path, fetch: Fetch, addresses: list[str]
) -> None:
    names(addresses)
    with pytest.raises(
        NotAllowed, match=rf"{NAME}:{server.port} is 127\.0\.0\.1, which is the machine itself"
    ):
        fetch(f"http://{NAME}:{server.port}/x", Reach(STRICT), tmp_path)
    assert server.seen == []


@WAYS
@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_name_that_leads_to_a_metadata_service_is_not_even_connected_to(
    names: Names, tmp_path: Path, fetch: Fetch, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names([address])
    monkeypatch.setattr(guard, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(NotAllowed, match="the metadata service of a cloud"):
        fetch(f"http://{NAME}/x", Reach(), tmp_path)


@WAYS
def test_a_name_is_asked_once_and_what_was_looked_at_is_connected_to(
    server: FileServer, names: Names, tmp_path: Path, fetch: Fetch
) -> None:
    """DNS rebinding: the second answer, a moment later, is another address."""
    reach = Reach(LocalRule(loopback=False, hosts=(parse_rule("127.0.0.1"),)), hosts=(parse_rule(NAME),))
    allowing = Reach(LocalRule(loopback=False, hosts=(parse_rule(NAME),)))
    names(["127.0.0.1"], ["127.0.0.2"])
    assert fetch(f"http://{NAME}:{server.port}/x", allowing, tmp_path) == DATA
    assert len(server.seen) == 1
    with pytest.raises(NotAllowed, match=r"127\.0\.0\.2"):
        fetch(f"http://{NAME}:{server.port}/x", reach, tmp_path / "none")


@WAYS
def test_the_other_end_of_the_socket_is_looked_at_before_a_byte_is_sent(
    server: FileServer, names: Names, tmp_path: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(["10.255.0.1"])
    usual = create_connection
    monkeypatch.setattr(
        guard, "create_connection", lambda _, *rest, **more: usual(("127.0.0.1", server.port), *rest, **more)
    )
    with pytest.raises(NotAllowed, match=r"is 127\.0\.0\.1"):
        fetch(f"http://{NAME}:{server.port}/x", Reach(STRICT), tmp_path)
    assert server.seen == []


@WAYS
def test_a_host_that_is_not_granted_is_not_asked(server: FileServer, tmp_path: Path, fetch: Fetch) -> None:
    with pytest.raises(NotAllowed, match="is not granted"):
        fetch(server.url("/x"), Reach(hosts=(parse_rule(NAME),)), tmp_path)
    assert server.seen == []


@WAYS
def test_a_granted_address_of_this_machine_is_reached(
    server: FileServer, tmp_path: Path, fetch: Fetch
) -> None:
    assert (
        fetch(server.url("/x"), Reach(STRICT, hosts=(parse_rule(f"127.0.0.1:{server.port}"),)), tmp_path)
        == DATA
    )


@WAYS
def test_proxies_of_the_surroundings_are_not_used(
    server: FileServer, tmp_path: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert fetch(server.url("/x"), Reach(), tmp_path) == DATA
        assert proxy.seen == []


@WAYS
def test_a_name_without_an_address_and_a_port_without_a_server_are_tried_again(
    names: Names, tmp_path: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/x", Reach(), tmp_path)
    names([])
    with pytest.raises(Unavailable):
        fetch(f"http://{NAME}/x", Reach(), tmp_path)

    def unknown(*_: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unavailable):
        fetch(f"http://{NAME}/x", Reach(), tmp_path)


def test_the_next_address_is_tried_where_one_does_not_answer(
    server: FileServer, names: Names, tmp_path: Path
) -> None:
    names(["127.0.0.3", "127.0.0.1"])
    assert by_exchange(f"http://{NAME}:{server.port}/x", Reach(), tmp_path) == DATA


def test_a_redirect_by_a_name_that_leads_to_this_machine_is_not_followed(
    server: FileServer, names: Names, tmp_path: Path
) -> None:
    with file_server() as front:
        front.behaviour = Behaviour(status=302, location=f"http://{NAME}:{server.port}/x")
        names(["127.0.0.1"])
        with pytest.raises(WrongAnswer, match="redirects to") as caught:
            by_download(front.url("/x"), Reach(), tmp_path)
    assert caught.value.reason == "RedirectRefused"
    assert server.seen == []


def test_a_release_that_may_be_anywhere_still_may_not_be_redirected_out_of_its_grant(
    server: FileServer, tmp_path: Path
) -> None:
    with file_server() as front:
        front.behaviour = Behaviour(status=302, location=server.url("/x"))
        granted = Reach(STRICT, hosts=(parse_rule(f"127.0.0.1:{front.port}"),))
        with pytest.raises(WrongAnswer, match="is not granted"):
            by_download(front.url("/x"), granted, tmp_path)
    assert server.seen == []


def test_a_connection_under_one_rule_is_not_used_under_another(server: FileServer, tmp_path: Path) -> None:
    downloader = Downloader()
    downloader.fetch(server.url("/x"), tmp_path / "part", len(DATA), Cancellation(), Reach())
    with pytest.raises(NotAllowed):
        downloader.fetch(server.url("/x"), tmp_path / "other", len(DATA), Cancellation(), Reach(STRICT))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "endpoint",
    ["http://169.254.169.254", "http://[fd00:ec2::254]:80", "http://localhost:9000", "http://0x7f.1"],
)
def test_an_endpoint_in_a_secret_that_must_not_be_reached_is_signed_for_nobody(endpoint: str) -> None:
    data = {
        "AWS_ACCESS_KEY_ID": b"id",
        "AWS_SECRET_ACCESS_KEY": b"word",
        "AWS_ENDPOINT_URL": endpoint.encode(),
    }
    store = ObjectStore(
        S3Credentials.from_secret(data, name="keys"), stores=Reach(STRICT), files=Reach(STRICT)
    )
    for attempt in (
        lambda: store.address("s3://bucket/x", seconds=60),
        lambda: store.open("s3://bucket/x", seconds=5).__enter__(),
    ):
        with pytest.raises(NotAllowed) as caught:
            attempt()
        assert caught.value.field == "spec.sourceSecretRef: AWS_ENDPOINT_URL or AWS_REGION"
        assert caught.value.reason in ("AddressRefused", "HostInvalid")
        assert "word" not in caught.value.message
        assert "X-Amz" not in caught.value.message


@pytest.mark.parametrize("bucket", ["bucket", "with.dots"])
def test_a_store_is_granted_with_its_buckets(bucket: str) -> None:
    keys = S3Credentials("id", "word", region="eu-central-1")
    hosts = (parse_rule("s3.eu-central-1.amazonaws.com"), parse_rule("*.s3.eu-central-1.amazonaws.com"))
    granted = ObjectStore(keys, stores=Reach(STRICT, hosts=hosts))
    assert "amazonaws.com" in granted.address(f"s3://{bucket}/x", seconds=60)
    elsewhere = ObjectStore(
        S3Credentials("id", "word", region="eu-west-1"), stores=Reach(STRICT, hosts=hosts)
    )
    with pytest.raises(NotAllowed, match=r"eu-west-1\.amazonaws\.com:443 is not granted"):
        elsewhere.address(f"s3://{bucket}/x", seconds=60)


def test_prometheus_is_not_asked_where_it_must_not_be(server: FileServer, names: Names) -> None:
    names(["127.0.0.1"])
    found = Prometheus(f"http://{NAME}:{server.port}", timeout_seconds=20, reach=Reach(STRICT)).query("up")
    assert getattr(found, "reason", "") == "PrometheusRefused"
    assert "spec.analysis.prometheus.url: " in getattr(found, "message", "")
    assert "is 127.0.0.1, which is the machine itself" in getattr(found, "message", "")
    assert server.seen == []
