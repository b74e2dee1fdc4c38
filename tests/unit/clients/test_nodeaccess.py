"""How an agent finds its API server: kubeconfig, service account or flags, each with clear refusals."""

import base64
import os
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import JsonValue

from edgecanary.base.errors import InvalidInput
from edgecanary.clients.nodeaccess import ApiAccess, Blob, direct, from_kubeconfig, in_cluster


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("pair")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=edge", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def kubeconfig(
    tmp_path: Path, *, user: dict[str, JsonValue] | None = None, cluster: dict[str, JsonValue] | None = None
) -> Path:
    path = tmp_path / "kubeconfig"
    content: dict[str, JsonValue] = {
        "current-context": "edge",
        "contexts": [{"name": "edge", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_a_token_and_a_server_are_taken_from_the_current_context(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user={"token": "secret"}))

    assert (access.server, access.bearer()) == ("https://10.0.0.1:6443", "secret")


def test_a_token_file_is_read_each_time_and_beside_the_kubeconfig(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user={"tokenFile": "token"}))
    (tmp_path / "token").write_text("one\n")
    assert access.bearer() == "one"
    (tmp_path / "token").write_text("two\n")
    assert access.bearer() == "two"


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(InvalidInput, match=r"tokenFile: .*/token"):
        direct("https://10.0.0.1", tmp_path / "token", None).bearer()


def test_certificates_are_taken_from_data(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    user: dict[str, JsonValue] = {
        "client-certificate-data": encoded(certificate),
        "client-key-data": encoded(key),
    }
    access = from_kubeconfig(
        kubeconfig(tmp_path, user=user, cluster={"certificate-authority-data": encoded(certificate)})
    )
    context = access.ssl_context()

    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_certificates_are_taken_from_files_and_a_renewed_one_is_noticed(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.write_bytes(pair[0].read_bytes())
    access = ApiAccess("https://x", certificate=Blob(path=certificate), key=Blob(path=pair[1]))
    access.ssl_context()
    before = access.stamp()
    os.utime(certificate, (1, 1))

    assert access.stamp() != before


def test_a_key_that_is_not_the_certificates_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    access = ApiAccess("https://x", certificate=Blob(path=pair[0]), key=Blob(data=b"no key"))

    with pytest.raises(InvalidInput, match="certificates: of https://x cannot be used"):
        access.ssl_context()


def test_a_server_may_be_left_unchecked_only_by_saying_so(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, cluster={"insecure-skip-tls-verify": True}))

    assert access.ssl_context().verify_mode is ssl.CERT_NONE


def test_the_servers_name_may_be_given(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, cluster={"tls-server-name": "kubernetes"}))

    assert access.server_name == "kubernetes"


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        ("user", "exec", {"command": "aws"}, "credential plugins are not run on a node"),
        ("user", "auth-provider", {"name": "gcp"}, "auth providers are not supported"),
        ("user", "username", "admin", "API servers take no passwords"),
        ("user", "as", "root", "impersonation is not supported"),
        ("cluster", "proxy-url", "http://proxy", "proxies are not supported"),
        ("user", "client-key-data", "%%%", "client-key-data: must be base64"),
        ("user", "token", 5, "token: must be text, got 5"),
        ("cluster", "server", "10.0.0.1:6443", "must be an address such as https"),
        ("cluster", "server", "", "must be an address such as https"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(
    tmp_path: Path, section: str, field: str, value: JsonValue, said: str
) -> None:
    parts = {section: {field: value}}

    with pytest.raises(InvalidInput, match=said):
        from_kubeconfig(kubeconfig(tmp_path, user=parts.get("user"), cluster=parts.get("cluster")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "is not a kubeconfig"),
        ("{", "cannot be read as a kubeconfig"),
        ("current-context: gone", "contexts: must have an entry named 'gone'"),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: gone}}]",
            "clusters: must have an entry named 'gone'",
        ),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)

    with pytest.raises(InvalidInput, match=said):
        from_kubeconfig(tmp_path / "kubeconfig")


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        from_kubeconfig(tmp_path / "nowhere")


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pod")
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}

    access = in_cluster(environment, tmp_path)

    assert (access.server, access.bearer()) == ("https://10.96.0.1:443", "pod")
    assert (
        in_cluster({**environment, "KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server
        == "https://[fd00::1]:443"
    )


def test_outside_a_pod_the_flags_to_give_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="give --kubeconfig FILE, or --server URL"):
        in_cluster({}, tmp_path)
