"""When a node's credentials end is read from themselves, and never costs the agent anything."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from edgecanary.agent.credentials import CredentialSeries
from edgecanary.clients.nodeaccess import ApiAccess, Blob
from edgecanary.clients.validity import (
    Credential,
    Credentials,
    Validity,
    certificate_validity,
    token_validity,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def token(**claims: object) -> bytes:
    parts = [{"alg": "none"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b"signature"])


def certificate(begins: datetime, ends: datetime) -> bytes:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge-" + "0" * 50)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, None)
    )
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_token_says_when_it_was_issued_and_when_it_ends() -> None:
    assert token_validity(token(iat=100, exp=3700, sub="agent") + b"\n") == Validity(100.0, 3700.0)


@pytest.mark.parametrize(
    "text", [b"", b"opaque", b"a.b.c", b"a..c", token(iat=1), token(iat="x", exp="y"), token(iat=None, exp=1)]
)
def test_a_token_that_does_not_say_is_left_out(text: bytes) -> None:
    assert token_validity(text) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_token(text: bytes) -> None:
    token_validity(b"a." + base64.urlsafe_b64encode(text) + b".c")
    token_validity(text)


@pytest.mark.parametrize("years", [1, 30])
def test_a_certificate_says_from_when_until_when(years: int) -> None:
    ends = BEGIN + timedelta(days=365 * years)
    assert certificate_validity(certificate(BEGIN, ends)) == Validity(BEGIN.timestamp(), ends.timestamp())


def test_of_several_certificates_the_one_that_ends_first_counts() -> None:
    early, late = BEGIN + timedelta(days=10), BEGIN + timedelta(days=20)
    both = certificate(BEGIN, late) + b"# comment\n" + certificate(BEGIN, early)
    found = certificate_validity(both)
    assert found is not None
    assert found.ends == early.timestamp()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_a_certificate(content: bytes) -> None:
    body = base64.b64encode(content)
    certificate_validity(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")
    certificate_validity(content)


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=0, max_value=255))
def test_a_certificate_with_a_wrong_byte_breaks_nothing(position: int, value: int) -> None:
    der = bytearray(base64.b64decode("".join(WHOLE.decode().splitlines()[1:-1])))
    der[position % len(der)] = value
    body = base64.b64encode(bytes(der))
    certificate_validity(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")


WHOLE = certificate(BEGIN, BEGIN + timedelta(days=1))


def test_a_file_that_is_renewed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(token(iat=1, exp=2))
    credentials = Credentials(ApiAccess("https://server", token=Blob(path=file)))
    assert credentials.validities() == {Credential.TOKEN: Validity(1, 2)}
    new = tmp_path / "new"
    new.write_bytes(token(iat=3, exp=4))
    new.replace(file)
    assert credentials.validities() == {Credential.TOKEN: Validity(3, 4)}
    file.unlink()
    assert credentials.validities() == {}


def test_the_metrics_show_each_that_says_when_it_ends() -> None:
    ends = BEGIN + timedelta(days=1)
    access = ApiAccess(
        "https://server",
        token=Blob(data=b"opaque"),
        certificate=Blob(data=certificate(BEGIN, ends)),
        authority=Blob(data=certificate(BEGIN, ends)),
    )
    registry = CollectorRegistry(auto_describe=True)
    registry.register(CredentialSeries(Credentials(access).validities))
    text = generate_latest(registry).decode()
    for kind in ("client_certificate", "ca"):
        line = f'edgecanary_agent_credential_expiry_timestamp_seconds{{kind="{kind}"}} '
        (value,) = (one.removeprefix(line) for one in text.splitlines() if one.startswith(line))
        assert float(value) == ends.timestamp()
    assert 'kind="token"' not in text
