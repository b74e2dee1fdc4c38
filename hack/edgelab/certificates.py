"""A certificate authority for one control plane."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=30)
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """Files of a certificate and its private key, in PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class SigningKey:
    """Files of a public and a private key, in PEM."""

    public: Path
    private: Path


class Authority:
    """Signs certificates for servers and users. Its files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._number = 0
        self._files = KeyPair(folder / "ca.crt", folder / "ca.key")
        if self._files.certificate.exists():
            self._name = x509.load_pem_x509_certificate(self._files.certificate.read_bytes()).subject
            self._key = _load_key(self._files.key)
        else:
            self._name = _name([], "edgelab")
            self._key = _new_key(self._files.key)
            _write(self._files.certificate, self._root())

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, which clients trust."""
        return self._files.certificate

    def server(self, name: str, *, addresses: Sequence[str] = ()) -> KeyPair:
        """A certificate for a server on the loopback interface, and on these addresses too."""
        wanted = dict.fromkeys(["127.0.0.1", *addresses])
        hosts = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(a)) for a in wanted)]
        alternatives = x509.SubjectAlternativeName(hosts)
        return self._sign(name, _name([], name), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def user(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate: the API server takes CN as the user and O as the groups."""
        self._number += 1
        return self._sign(f"user-{self._number}", _name(groups, user), ExtendedKeyUsageOID.CLIENT_AUTH)

    def signing_key(self, name: str) -> SigningKey:
        """A new key for signing service account tokens."""
        pair = SigningKey(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        public = _new_key(pair.private).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pair.public.write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
        return pair

    def _root(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _sign(
        self,
        name: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> KeyPair:
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        key = _new_key(pair.key)
        builder = _builder(subject, self._name, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        _write(pair.certificate, builder.sign(self._key, hashes.SHA256()))
        return pair


def _name(organisations: Sequence[str], common: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
    )


def _new_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return key


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} holds no elliptic curve key")
    return key


def _write(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
