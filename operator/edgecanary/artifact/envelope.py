"""Signed bytes with their signatures: a DSSE envelope with Ed25519, read strictly and verified.

What is signed is the payload together with its type (DSSE's pre-authentication encoding), so a signature can
never be taken for one about something else. A payload is decoded only after enough keys signed it.

`cryptography` is imported when a key is read or used: a node without trust roots never loads it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

MAX_ENVELOPE = 16384
"""The longest envelope, in characters: what the field `signature` takes."""
MAX_SIGNATURES = 16
MAX_KEY_BYTES = 64 * 1024
"""The longest file with keys."""
MAX_KEYS = 32

_MAX_NAME = 128
"""The longest payload type or key id."""

_BEGIN = b"-----BEGIN "
_PUBLIC_END = b"-----END PUBLIC KEY-----"


class Refused(EdgecanaryError):
    """A signature or a statement that does not count; the reason is a word of docs/guides/signing.md."""


class BadKey(EdgecanaryError):
    """A file that holds no usable key."""

    def __init__(self, message: str) -> None:
        super().__init__("BadKey", message)


@dataclass(frozen=True)
class Signature:
    """One signature, and the key that it says it was made with."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """Bytes, what they are, and who signed them. Nothing in it is to be believed before `verify`."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    def to_text(self) -> str:
        """The envelope as JSON. Raises Refused when it is longer than the field it goes into."""
        body = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": entry.key_id, "sig": base64.b64encode(entry.value).decode()}
                for entry in self.signatures
            ],
        }
        text = json.dumps(body, separators=(",", ":"))
        if len(text) > MAX_ENVELOPE:
            message = (
                f"the envelope has {len(text)} characters and must have at most {MAX_ENVELOPE}: "
                "declare fewer variants or files in one model, or take signatures away"
            )
            raise Refused("StatementTooLong", message)
        return text

    def signed_by(self, key: "Ed25519PrivateKey") -> "Envelope":
        """The envelope with the key's signature; one that it had from this key is replaced."""
        own = key_id(key.public_key())
        value = key.sign(_authenticated(self.payload_type, self.payload))
        others = tuple(entry for entry in self.signatures if entry.key_id != own)
        return Envelope(self.payload_type, self.payload, (*others, Signature(own, value)))


def read_envelope(text: str) -> Envelope:
    """The envelope that a text holds. Raises Refused with the reason BadEnvelope."""
    if len(text) > MAX_ENVELOPE:
        raise _bad(f"has {len(text)} characters, at most {MAX_ENVELOPE} are allowed")
    if not text.isascii():
        raise _bad("must be plain ASCII")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"is not JSON ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise _bad("is not a JSON object")
    kind, entries = body.get("payloadType"), body.get("signatures")
    if not _is_name(kind) or not isinstance(entries, list):
        raise _bad("must have payload, payloadType and signatures")
    if len(entries) > MAX_SIGNATURES:
        raise _bad(f"has {len(entries)} signatures, at most {MAX_SIGNATURES} are allowed")
    return Envelope(kind, _bytes(body, "payload"), tuple(map(_signature, entries)))


def verify(envelope: Envelope, keys: Mapping[str, "Ed25519PublicKey"], *, threshold: int) -> bytes:
    """The payload, which at least `threshold` of the keys signed.

    Raises Refused with the reason Unsigned, UnknownKey, BadSignature or ThresholdNotMet.
    """
    if not envelope.signatures:
        raise Refused("Unsigned", "the statement bears no signature: sign the EdgeModel")
    named = {entry.key_id for entry in envelope.signatures}
    if not named & keys.keys():
        told = f"signed by {_short(named)}, trusted are {_short(keys)}: sign the EdgeModel with one of these"
        raise Refused("UnknownKey", told)
    message = _authenticated(envelope.payload_type, envelope.payload)
    good = {
        entry.key_id
        for entry in envelope.signatures
        if entry.key_id in keys and _is_good(keys[entry.key_id], entry.value, message)
    }
    if len(good) >= threshold:
        return envelope.payload
    if bad := (named & keys.keys()) - good:
        raise Refused("BadSignature", f"the signature of {_short(bad)} does not fit the statement")
    told = f"signed by {len(good)} of the trusted keys ({_short(good)}), {threshold} must sign"
    raise Refused("ThresholdNotMet", f"{told}: add signatures with `edgecanary model sign --add`")


def key_id(key: "Ed25519PublicKey") -> str:
    """The key's name in envelopes: the SHA-256 of its 32 bytes, in hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def read_public_keys(data: bytes) -> "Sequence[Ed25519PublicKey]":
    """The public keys in a PEM file, one or several. Raises BadKey."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - heavy

    if len(data) > MAX_KEY_BYTES:
        raise BadKey(f"must have at most {MAX_KEY_BYTES} bytes, got {len(data)}")
    if b"PRIVATE KEY-----" in data:
        raise BadKey("holds a private key: nodes get the public one, and this file belongs to whoever signs")
    blocks = [_BEGIN + part for part in data.split(_BEGIN)[1:]]
    if not blocks or len(blocks) > MAX_KEYS:
        raise BadKey(f"must hold 1 to {MAX_KEYS} public keys in PEM, got {len(blocks)}")
    found = []
    for block in blocks:
        try:
            key: PublicKeyTypes = load_pem_public_key(block[: block.find(_PUBLIC_END) + len(_PUBLIC_END)])
        except Exception as error:
            raise BadKey(f"is not a public key in PEM: {type(error).__name__}") from error
        found.append(_ed25519_public(key))
    return found


def read_private_key(data: bytes) -> "Ed25519PrivateKey":
    """The private key in a PEM file without a password. Raises BadKey."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - heavy

    if len(data) > MAX_KEY_BYTES:
        raise BadKey(f"must have at most {MAX_KEY_BYTES} bytes, got {len(data)}")
    try:
        key: PrivateKeyTypes = load_pem_private_key(data, password=None)
    except Exception as error:
        raise BadKey(f"is not a private key in PEM without a password: {type(error).__name__}") from error
    return _ed25519_private(key)


def _ed25519_public(key: "PublicKeyTypes") -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - heavy

    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"must be an Ed25519 key, got {type(key).__name__}")
    return key


def _ed25519_private(key: "PrivateKeyTypes") -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - heavy

    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"must be an Ed25519 key, got {type(key).__name__}")
    return key


def _authenticated(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _is_good(key: "Ed25519PublicKey", signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - heavy

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _signature(entry: object) -> Signature:
    if not isinstance(entry, dict) or not _is_name(name := entry.get("keyid")):
        raise _bad("must have a keyid and a sig in each signature")
    return Signature(name, _bytes(entry, "sig"))


def _is_name(value: object) -> TypeGuard[str]:
    """Whether it is a short word that may stand in messages."""
    return isinstance(value, str) and len(value) <= _MAX_NAME and value.isascii() and value.isprintable()


def _bytes(body: Mapping[str, object], field: str) -> bytes:
    text = body.get(field)
    if not isinstance(text, str):
        raise _bad(f"must have a {field} in base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"has a {field} that is not base64") from error


def _short(names: "set[str] | Mapping[str, object]") -> str:
    return ", ".join(sorted(name[:12] for name in names)) or "nobody"


def _bad(message: str) -> Refused:
    return Refused("BadEnvelope", f"signature {message}; make it with `edgecanary model sign`")
