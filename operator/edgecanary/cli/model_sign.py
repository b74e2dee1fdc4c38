"""`edgecanary model sign`: makes keys, and signs EdgeModels where they are declared."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.artifact.envelope import (
    MAX_KEY_BYTES,
    BadKey,
    Envelope,
    Refused,
    key_id,
    read_envelope,
    read_private_key,
)
from edgecanary.artifact.signed import MAX_SEQUENCE, SignedModel, read_statement, seal
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.cli.model_files import Declared, declared_models, read_text, write_in_place
from edgecanary.cli.signature_edit import with_signatures

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAX_DAYS = 36500.0


@dataclass(frozen=True)
class _Terms:
    """What all statements of one call have in common."""

    keys: "Sequence[Ed25519PrivateKey]"
    sequence: int
    issued: datetime
    expires: datetime
    add: bool


def run(options: argparse.Namespace) -> int:
    """Makes a key, or signs; returns the exit code."""
    if options.new_key:
        if options.file or options.key:
            raise InvalidInput("--new-key", "must be given alone: make the key first, then sign with it")
        return _make_key(Path(options.new_key))
    if not options.file or not options.key:
        raise InvalidInput("model sign", "must be given FILE and --key, or --new-key")
    if options.in_place and options.file == "-":
        raise InvalidInput("--in-place", "must not be given with standard input")
    text = read_text(options.file)
    models = declared_models(text, options.file, options.namespace)
    terms = _terms(options)
    signed = with_signatures(text, {model.number: _sign(model, terms).to_text() for model in models})
    if options.in_place:
        write_in_place(Path(options.file), signed)
    else:
        sys.stdout.write(signed)
    return 0


def _make_key(path: Path) -> int:
    """Makes a key pair. Nothing that exists is overwritten."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - heavy

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    shown = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    public = path.with_name(f"{path.name}.pub")
    if public.exists():
        raise InvalidInput("--new-key", f"{public} exists and is not overwritten")
    _write_new(path, secret, 0o600)
    _write_new(public, shown, 0o644)
    sys.stdout.write(f"{key_id(key.public_key())}\n")
    sys.stderr.write(f"{path} signs: keep it off the cluster. {public} goes to the nodes (--trust-root)\n")
    return 0


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise InvalidInput("--new-key", f"{path} exists and is not overwritten") from None
    except OSError as error:
        raise EdgecanaryError("CannotWrite", f"{path}: cannot be written: {error.strerror}") from error


def _terms(options: argparse.Namespace) -> _Terms:
    issued = datetime.now(UTC)
    if not 0 < options.days <= _MAX_DAYS:
        raise InvalidInput("--days", f"must be above 0 and at most {_MAX_DAYS:g}, got {options.days:g}")
    sequence = int(issued.timestamp()) if options.sequence is None else options.sequence
    if not 1 <= sequence <= MAX_SEQUENCE:
        raise InvalidInput("--sequence", f"must be from 1 to {MAX_SEQUENCE}, got {sequence}")
    keys = [_read_key(Path(path)) for path in options.key]
    return _Terms(keys, sequence, issued, issued + timedelta(days=options.days), options.add)


def _read_key(path: Path) -> "Ed25519PrivateKey":
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                rule = f"{path} must be readable for its owner alone; run chmod 600 on it"
                raise InvalidInput("--key", rule)
            return read_private_key(file.read(MAX_KEY_BYTES + 1))
    except OSError as error:
        raise InvalidInput("--key", f"{path} cannot be read: {error.strerror}") from error
    except BadKey as error:
        raise InvalidInput("--key", f"{path} {error}") from error


def _sign(model: Declared, terms: _Terms) -> Envelope:
    about = SignedModel(namespace=model.namespace, name=model.name)
    try:
        if terms.add:
            envelope = _present(model, about)
        else:
            envelope = seal(
                model.spec, about, sequence=terms.sequence, issued=terms.issued, expires=terms.expires
            )
        for key in terms.keys:
            envelope = envelope.signed_by(key)
        stated = read_statement(envelope.payload, envelope.payload_type)
        envelope.to_text()
    except Refused as error:
        raise InvalidInput(model.place, str(error), reason=error.reason) from error
    sys.stderr.write(
        f"{model.namespace}/{model.name} {model.spec.version}: revision {stated.revision[:12]}, "
        f"sequence {stated.sequence}, expires {stated.expires:%Y-%m-%d}, "
        f"signatures: {', '.join(entry.key_id[:12] for entry in envelope.signatures)}\n"
    )
    return envelope


def _present(model: Declared, about: SignedModel) -> Envelope:
    """The statement that the manifest has, which must be about what the manifest declares. Raises Refused."""
    if not model.spec.signature:
        raise Refused("Unsigned", "--add: there is no signature yet; sign without --add first")
    envelope = read_envelope(model.spec.signature)
    stated = read_statement(envelope.payload, envelope.payload_type)
    now = seal(model.spec, about, sequence=stated.sequence, issued=stated.issued, expires=stated.expires)
    if now.payload != envelope.payload:
        told = "--add: the statement that is there is not about what the manifest declares now"
        raise Refused("StatementMismatch", f"{told}; sign it anew, without --add")
    return envelope
