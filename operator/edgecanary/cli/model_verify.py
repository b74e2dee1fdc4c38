"""`edgecanary model verify`: what is signed in a manifest, and whether it counts, as on a node."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from edgecanary.artifact.envelope import Refused, read_envelope, verify
from edgecanary.artifact.signed import SignedModel, SignedStatement, read_statement, seal
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.errors import InvalidInput
from edgecanary.cli.model_files import Declared, declared_models, read_text
from edgecanary.clients.keyfiles import TrustRoots, load_roots


def run(options: argparse.Namespace) -> int:
    """Checks every EdgeModel in the manifest; returns the exit code."""
    roots = load_roots([Path(path) for path in options.trust_root], options.trust_threshold)
    if roots is None:
        raise InvalidInput("--trust-root", "must be given")
    good = True
    for model in declared_models(read_text(options.file), options.file, options.namespace):
        name = f"{model.namespace}/{model.name} {model.spec.version}"
        try:
            stated = _check(model, roots)
        except Refused as error:
            sys.stdout.write(f"{name}: {error.reason}: {error}\n")
            good = False
            continue
        sys.stdout.write(
            f"{name}: signed: revision {stated.revision}, sequence {stated.sequence}, "
            f"issued {to_rfc3339(stated.issued)}, expires {to_rfc3339(stated.expires)}\n"
        )
    return 0 if good else 1


def _check(model: Declared, roots: TrustRoots) -> SignedStatement:
    """The statement that the manifest's signatures make. Raises Refused."""
    if not model.spec.signature:
        raise Refused("Unsigned", "the EdgeModel has no signature")
    envelope = read_envelope(model.spec.signature)
    payload = verify(envelope, roots.keys, threshold=roots.threshold)
    stated = read_statement(payload, envelope.payload_type)
    about = SignedModel(namespace=model.namespace, name=model.name)
    if stated.model != about:
        told = f"the statement is for {stated.model.namespace}/{stated.model.name}"
        raise Refused("WrongModel", told)
    now = seal(model.spec, about, sequence=stated.sequence, issued=stated.issued, expires=stated.expires)
    if now.payload != payload:
        raise Refused("StatementMismatch", "the manifest was changed after it was signed: sign it again")
    if stated.expires <= datetime.now(UTC):
        raise Refused("Expired", f"the statement expired at {to_rfc3339(stated.expires)}: sign it again")
    return stated
