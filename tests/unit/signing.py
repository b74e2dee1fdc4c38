"""Keys and signed statements for tests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.artifact.envelope import Envelope, key_id
from edgecanary.artifact.revision import revision_digest
from edgecanary.artifact.signed import SignedModel, seal
from edgecanary.clients.keyfiles import TrustRoots

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MODEL = SignedModel(namespace="plant", name="pump")


def key(name: str) -> Ed25519PrivateKey:
    """The same key for the same name, in every run."""
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


CI, OLD, STRANGER = key("ci"), key("old"), key("stranger")


def roots(*keys: Ed25519PrivateKey, threshold: int = 1) -> TrustRoots:
    return TrustRoots({key_id(one.public_key()): one.public_key() for one in keys}, threshold)


def spec_of(stated: RevisionStatement) -> EdgeModelSpec:
    """The EdgeModel that the statement was made of."""
    return EdgeModelSpec.model_validate(stated.model_dump(by_alias=True, exclude={"signature"}))


def sealed(
    spec: EdgeModelSpec,
    *,
    model: SignedModel = MODEL,
    sequence: int = 1,
    issued: datetime = NOW - timedelta(days=1),
    expires: datetime = NOW + timedelta(days=30),
) -> Envelope:
    return seal(spec, model, sequence=sequence, issued=issued, expires=expires)


def with_signature(
    stated: RevisionStatement,
    *keys: Ed25519PrivateKey,
    sequence: int = 1,
    model: SignedModel = MODEL,
    issued: datetime = NOW - timedelta(days=1),
    expires: datetime = NOW + timedelta(days=30),
    change: Callable[[str], str] = str,
) -> RevisionStatement:
    """The statement under its real digest, signed by the keys; `change` may spoil the envelope's text."""
    spec = spec_of(stated)
    envelope = sealed(spec, model=model, sequence=sequence, issued=issued, expires=expires)
    for one in keys or (CI,):
        envelope = envelope.signed_by(one)
    changes = {"revision": revision_digest(spec), "signature": change(envelope.to_text())}
    return stated.model_copy(update=changes)
