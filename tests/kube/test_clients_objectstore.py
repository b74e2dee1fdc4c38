"""The object store client, with a real S3 server and with servers that answer wrongly."""

import http.client
import logging
import urllib.error
import urllib.request

import pytest

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotAllowed, NotFound, Unavailable
from edgecanary.base.hosts import parse_rule
from edgecanary.base.reach import LocalRule, Reach
from edgecanary.clients.objectstore import ObjectStore, S3Credentials
from edgelab.certificates import Authority, KeyPair
from edgelab.ports import free_port
from edgelab.s3 import S3Server
from tests.kube.wrong_servers import Behaviour, answer, cut_short, drip, hang_up, serving, silence

CONTENT = bytes(range(256)) * 5000


def secret(s3: S3Server, **changes: str) -> dict[str, bytes]:
    return {key: value.encode() for key, value in {**s3.environment, **changes}.items()}


def store(s3: S3Server, **changes: str) -> ObjectStore:
    return ObjectStore(S3Credentials.from_secret(secret(s3, **changes), name="model-bucket"))


def read(found: ObjectStore, uri: str, *, seconds: float = 20.0) -> bytes:
    with found.open(uri, seconds=seconds) as download:
        return b"".join(download.chunks)


def fetch(address: str) -> bytes:
    """As a node does: without keys."""
    with urllib.request.urlopen(address, timeout=20) as found:
        content: bytes = found.read()
    return content


class TestARealStore:
    def test_a_file_is_read_in_pieces_and_its_length_announced(self, s3: S3Server, bucket: str) -> None:
        uri = s3.put(bucket, "pump/2.0/model.onnx", CONTENT)
        with store(s3).open(uri, seconds=20) as download:
            chunks = list(download.chunks)
        assert download.length == len(CONTENT)
        assert b"".join(chunks) == CONTENT
        assert max(map(len, chunks)) <= 2**18

    @pytest.mark.parametrize("key", ["a b/ü.onnx", "what?#x&y=1", "plus+sign", "100%"])
    def test_a_key_with_odd_characters_is_found(self, s3: S3Server, bucket: str, key: str) -> None:
        assert read(store(s3), s3.put(bucket, key, b"x")) == b"x"

    def test_anybody_may_fetch_from_the_address_until_it_expires(self, s3: S3Server, bucket: str) -> None:
        uri = s3.put(bucket, "model.onnx", b"x")
        address = store(s3).address(uri, seconds=600)
        assert fetch(address) == b"x"
        assert "X-Amz-Expires=600" in address

    def test_an_address_lives_seven_days_at_most(self, s3: S3Server, bucket: str) -> None:
        assert "X-Amz-Expires=604800" in store(s3).address(f"s3://{bucket}/x", seconds=10**8)

    def test_the_secret_key_is_not_in_the_address(self, s3: S3Server, bucket: str) -> None:
        assert s3.secret_key not in store(s3).address(f"s3://{bucket}/x", seconds=60)

    def test_a_file_that_does_not_exist_is_named(self, s3: S3Server, bucket: str) -> None:
        with pytest.raises(
            NotFound, match=f"^s3://{bucket}/nothing: there is no such file; upload it"
        ) as found:
            read(store(s3), f"s3://{bucket}/nothing")
        assert found.value.reason == "SourceNotFound"

    def test_a_bucket_that_does_not_exist_is_named(self, s3: S3Server) -> None:
        with pytest.raises(NotFound, match="s3://no-such-bucket/x: there is no such bucket"):
            read(store(s3), "s3://no-such-bucket/x")

    def test_a_wrong_secret_key_is_named_and_not_shown(self, s3: S3Server, bucket: str) -> None:
        uri = s3.put(bucket, "model.onnx", b"x")
        with pytest.raises(Unavailable, match="the AWS_SECRET_ACCESS_KEY is wrong") as found:
            read(store(s3, AWS_SECRET_ACCESS_KEY="guessed"), uri)
        assert found.value.reason == "SourceForbidden"
        assert "guessed" not in str(found.value)

    def test_an_unknown_access_key_is_a_refusal(self, s3: S3Server, bucket: str) -> None:
        uri = s3.put(bucket, "model.onnx", b"x")
        with pytest.raises(Unavailable) as found:
            read(store(s3, AWS_ACCESS_KEY_ID="NOBODY"), uri)
        assert found.value.reason == "SourceForbidden"

    def test_a_store_that_hangs_is_given_up_at_the_deadline(self, s3: S3Server, bucket: str) -> None:
        uri = s3.put(bucket, "model.onnx", b"x")
        s3.process.pause()
        try:
            with pytest.raises(Unavailable, match=r"no complete answer within 0\.5 s") as found:
                read(store(s3), uri, seconds=0.5)
        finally:
            s3.process.resume()
        assert found.value.reason == "SourceUnavailable"

    def test_nothing_that_is_logged_or_said_holds_keys_or_signatures(
        self, s3: S3Server, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        uri, words = s3.put(bucket, "model.onnx", b"x"), []
        with caplog.at_level(logging.INFO):
            read(store(s3), uri)
            for found in (
                store(s3, AWS_SECRET_ACCESS_KEY="guessed"),
                store(s3, AWS_ENDPOINT_URL="http://127.0.0.1:1"),
            ):
                with pytest.raises(EdgecanaryError) as error:
                    read(found, uri)
                words.append(str(error.value))
        text = caplog.text + " ".join(words) + repr(S3Credentials.from_secret(secret(s3), name="x"))
        for private in ("Signature=", "guessed", s3.secret_key, s3.access_key):
            assert private not in text


class TestAStoreInTrouble:
    @pytest.mark.parametrize(
        ("behaviour", "reason", "words"),
        [
            (answer("500 Oops", b"<Error><Code>InternalError</Code></Error>"), "SourceUnavailable", "InternalError"),
            (answer("503 Slow Down", b"<Code>SlowDown</Code>"), "SourceUnavailable", "SlowDown"),
            (answer("403 Forbidden", b"<Code>AccessDenied</Code>"), "SourceForbidden", "s3:GetObject"),
            (answer("403 Forbidden", b"<Code>RequestTimeTooSkewed</Code>"), "SourceForbidden", "clock differs"),
            (answer("403 Forbidden", b"no reason"), "SourceForbidden", "refuses to give it"),
            (answer("301 Moved", b"<Code>PermanentRedirect</Code>"), "SourceForbidden", "not the bucket's"),
            (cut_short(b"half", length=8), "SourceUnavailable", "s3://"),
            (hang_up, "SourceUnavailable", "s3://"),
            (silence, "SourceUnavailable", "within 0.5 s"),
            (drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.01), "SourceUnavailable", "within 0.5 s"),
        ],
    )  # fmt: skip
    def test_every_trouble_is_said_with_the_uri(self, behaviour: Behaviour, reason: str, words: str) -> None:
        with serving(behaviour) as server:
            keys = S3Credentials("key", "secret", endpoint_url=server.url)
            seconds = 0.5 if "within 0.5 s" in words else 20.0
            with pytest.raises(Unavailable) as found:
                read(ObjectStore(keys), "s3://bucket/model.onnx", seconds=seconds)
        assert found.value.reason == reason, found.value
        assert str(found.value).startswith("s3://bucket/model.onnx: ")
        assert words in str(found.value)

    def test_nobody_listens(self) -> None:
        keys = S3Credentials("key", "secret", endpoint_url=f"http://127.0.0.1:{free_port()}")
        with pytest.raises(Unavailable, match=r"s3://bucket/x: .*Connection refused") as found:
            read(ObjectStore(keys), "s3://bucket/x")
        assert found.value.reason == "SourceUnavailable"

    def test_s3_files_need_a_secret(self) -> None:
        with pytest.raises(
            InvalidInput, match=r"^spec\.sourceSecretRef: must name a Secret with S3 keys for s3://b/x"
        ):
            ObjectStore().address("s3://b/x", seconds=60)


class TestASecret:
    @pytest.mark.parametrize(
        ("changes", "rule"),
        [
            ({"AWS_ACCESS_KEY_ID": b""}, "must hold AWS_ACCESS_KEY_ID"),
            ({"AWS_SECRET_ACCESS_KEY": b" \n"}, "must hold AWS_SECRET_ACCESS_KEY"),
            ({"AWS_SECRET_ACCESS_KEY": b"\xff"}, "must hold text under AWS_SECRET_ACCESS_KEY"),
            ({"AWS_ACCESS_KEY_ID": b"a\nb"}, "must hold one printable line under AWS_ACCESS_KEY_ID"),
            ({"AWS_ENDPOINT_URL": b"store:9000"}, "must hold an address such as https://s3.example.com"),
            ({"AWS_REGION": b"../.."}, "must hold a region such as eu-central-1 under AWS_REGION"),
        ],
    )
    def test_what_is_missing_or_wrong_is_named_with_the_key(
        self, changes: dict[str, bytes], rule: str
    ) -> None:
        data = {"AWS_ACCESS_KEY_ID": b"id", "AWS_SECRET_ACCESS_KEY": b"key", **changes}
        with pytest.raises(InvalidInput, match=f"^spec.sourceSecretRef: Secret model-bucket {rule}"):
            S3Credentials.from_secret(data, name="model-bucket")

    def test_a_newline_at_the_end_is_no_part_of_a_key(self) -> None:
        data = {"AWS_ACCESS_KEY_ID": b"id\n", "AWS_SECRET_ACCESS_KEY": b"key\n"}
        assert S3Credentials.from_secret(data, name="x") == S3Credentials("id", "key")

    def test_the_operators_own_surroundings_do_not_lead_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example")
        address = ObjectStore(S3Credentials("id", "key", region="eu-west-3")).address(
            "s3://plain/x", seconds=60
        )
        assert address.startswith("https://plain.s3.eu-west-3.amazonaws.com/x?")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> KeyPair:
    return authority.server("store")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's authority is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))


class TestHttpsSources:
    @pytest.mark.usefixtures("trusted")
    def test_an_https_file_is_read_from_where_it_lies(self, pair: KeyPair) -> None:
        with serving(answer("200 OK", b"content"), certificate=(pair.certificate, pair.key)) as server:
            assert read(ObjectStore(), f"{server.url}/model.onnx?version=2") == b"content"
        assert server.requests[0].startswith(b"GET /model.onnx?version=2 HTTP/1.1")

    @pytest.mark.usefixtures("trusted")
    def test_a_stored_encoding_is_left_alone(self, pair: KeyPair) -> None:
        packed = answer("200 OK", b"as it lies there", "Content-Encoding: gzip")
        with serving(packed, certificate=(pair.certificate, pair.key)) as server:
            assert read(ObjectStore(), f"{server.url}/model.onnx") == b"as it lies there"

    @pytest.mark.usefixtures("trusted")
    def test_a_redirect_to_https_is_followed(self, pair: KeyPair) -> None:
        keys = (pair.certificate, pair.key)
        with serving(answer("200 OK", b"content"), certificate=keys) as final:
            redirect = answer("302 Found", b"", f"Location: {final.url}/final")
            with serving(redirect, certificate=keys) as first:
                here = Reach(LocalRule(hosts=(parse_rule("127.0.0.1"),)))
                assert read(ObjectStore(files=here), f"{first.url}/model.onnx") == b"content"

    @pytest.mark.usefixtures("trusted")
    def test_a_redirect_to_this_machine_is_refused_unless_the_host_is_named(self, pair: KeyPair) -> None:
        keys = (pair.certificate, pair.key)
        with serving(answer("200 OK", b"content"), certificate=keys) as final:
            redirect = answer("302 Found", b"", f"Location: {final.url}/final")
            with serving(redirect, certificate=keys) as first, pytest.raises(NotAllowed, match="loopback"):
                read(ObjectStore(), f"{first.url}/model.onnx")
        assert final.requests == []

    @pytest.mark.usefixtures("trusted")
    def test_a_redirect_to_plain_http_is_refused(self, pair: KeyPair) -> None:
        redirect = answer("302 Found", b"", "Location: http://127.0.0.1/x")
        with (
            serving(redirect, certificate=(pair.certificate, pair.key)) as server,
            pytest.raises(Unavailable, match="redirects to an address that is not https"),
        ):
            read(ObjectStore(), f"{server.url}/model.onnx")

    @pytest.mark.usefixtures("trusted")
    def test_redirects_in_a_circle_end(self, pair: KeyPair) -> None:
        redirect = answer("302 Found", b"", "Location: /again")
        with (
            serving(redirect, certificate=(pair.certificate, pair.key)) as server,
            pytest.raises(Unavailable, match="redirects more than 5 times"),
        ):
            read(ObjectStore(), f"{server.url}/model.onnx")
        assert len(server.requests) == 6

    def test_a_server_of_an_unknown_authority_is_refused(self, pair: KeyPair) -> None:
        with (
            serving(answer("200 OK", b""), certificate=(pair.certificate, pair.key)) as server,
            pytest.raises(Unavailable, match="certificate verify failed"),
        ):
            read(ObjectStore(), f"{server.url}/model.onnx")

    @pytest.mark.usefixtures("trusted")
    def test_a_missing_file_is_named(self, pair: KeyPair) -> None:
        with (
            serving(answer("404 Not Found", b"gone"), certificate=(pair.certificate, pair.key)) as server,
            pytest.raises(NotFound, match="there is no such file; upload it or correct the uri"),
        ):
            read(ObjectStore(), f"{server.url}/model.onnx")


def test_the_lab_server_refuses_what_it_should(s3: S3Server, bucket: str) -> None:
    """The tests above rest on the server's checking signatures."""
    address = s3.presigned_url(bucket, "x").replace("Signature=", "Signature=0")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(address)
    assert refusal.value.code == http.client.FORBIDDEN
