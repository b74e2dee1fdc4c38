"""From when until when a node's credentials are valid: read from themselves, and again when a file changes.

Nothing is verified here: the API server does that. Certificates are read with a few lines of DER instead of
`cryptography`, which a node without trust roots never loads.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from edgecanary.clients.nodeaccess import ApiAccess, Blob

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_MOST_BYTES = 2**20
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class Credential(StrEnum):
    """What an agent needs to talk to the API server."""

    TOKEN = "token"  # noqa: S105 - the kind, not one
    CLIENT_CERTIFICATE = "client_certificate"
    CA = "ca"


@dataclass(frozen=True)
class Validity:
    """Seconds since 1970."""

    begins: float
    ends: float


class Credentials:
    """The credentials of one access. Files are only looked at again when they change."""

    def __init__(self, access: ApiAccess) -> None:
        self._blobs = {
            Credential.TOKEN: access.token,
            Credential.CLIENT_CERTIFICATE: access.certificate,
            Credential.CA: access.authority,
        }
        self._known: dict[Credential, tuple[tuple[int, int], Validity | None]] = {}

    def validities(self) -> Mapping[Credential, Validity]:
        """What is known of each; what does not say, or cannot be read, is left out."""
        found = ((kind, self._look(kind, blob)) for kind, blob in self._blobs.items() if blob is not None)
        return {kind: validity for kind, validity in found if validity is not None}

    def _look(self, kind: Credential, blob: Blob) -> Validity | None:
        stamp, known = blob.stamp(), self._known.get(kind)
        if known is None or known[0] != stamp:
            known = self._known[kind] = (stamp, _read(kind, blob))
        return known[1]


def token_validity(token: bytes) -> Validity | None:
    """Of a JSON Web Token; None for other tokens and those that do not end."""
    parts = token.strip().split(b".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return Validity(begins=float(claims["iat"]), ends=float(claims["exp"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def certificate_validity(pem: bytes) -> Validity | None:
    """Of the certificate in a PEM file that ends first; None where there is none that can be read."""
    found = []
    for der in _certificates(pem.decode("ascii", "replace")):
        try:
            found.append(_validity(der))
        except (ValueError, IndexError):
            continue
    return min(found, key=lambda validity: validity.ends, default=None)


def _read(kind: Credential, blob: Blob) -> Validity | None:
    try:
        content = blob.read()[:_MOST_BYTES]
    except OSError:
        return None
    return token_validity(content) if kind is Credential.TOKEN else certificate_validity(content)


def _certificates(text: str) -> Iterator[bytes]:
    for part in text.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if end:
            try:
                yield ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{body}{_END}")
            except (ValueError, binascii.Error):
                continue


def _validity(der: bytes) -> Validity:
    """Certificate -> tbsCertificate -> version?, serial, algorithm, issuer, validity. Raises ValueError."""
    certificate, _ = _element(der, _SEQUENCE)
    body, _ = _element(certificate, _SEQUENCE)
    if body[0] == _VERSION:
        _, body = _element(body)
    for _ in range(3):
        _, body = _element(body)
    times, _ = _element(body, _SEQUENCE)
    begin_kind = times[0]
    begins, times = _element(times)
    ends, _ = _element(times)
    return Validity(begins=_time(begin_kind, begins), ends=_time(times[0], ends))


def _element(data: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it. Raises ValueError and IndexError."""
    if tag is not None and data[0] != tag:
        raise ValueError(f"tag {data[0]:#x} instead of {tag:#x}")
    length, start = data[1], 2
    if length & 0x80:
        width = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
    if start + length > len(data):
        raise ValueError("the element is cut off")
    return data[start : start + length], data[start + length :]


def _time(kind: int, content: bytes) -> float:
    text = content.decode("ascii")
    if kind == _UTC_TIME:
        # RFC 5280: two digits up to 49 are of this century.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif kind != _GENERALIZED_TIME:
        raise ValueError(f"tag {kind:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
