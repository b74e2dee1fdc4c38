"""A revision's identity: the digest of all that decides a model's behaviour."""

import hashlib
import json

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.fields import JsonObject


def revision_digest(spec: EdgeModelSpec) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of what decides the model's behaviour.

    In: the variants with their files' paths, digests and sizes, requirements and budgets; the tensors; the
    golden cases and tolerances; the drift profile; `serve`. Out: the version's name, where the files lie, the
    Secret to get them with and the deltas between files. So moving files to another bucket, renaming the version or
    adding a delta rolls nothing out, and a rejected model stays rejected under a new name.
    """
    return digest_of(behaviour(spec))


def digest_of(content: JsonObject) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of a behaviour."""
    return hashlib.sha256(canonical(content)).hexdigest()


def canonical(content: JsonObject) -> bytes:
    """The one form in which JSON is hashed and signed: sorted keys, no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def behaviour(spec: EdgeModelSpec) -> JsonObject:
    """What decides the model's behaviour, as JSON."""
    return spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={
            "version": True,
            "source_secret_ref": True,
            "signature": True,
            "golden": {"uri"},
            "profile": {"uri"},
            "variants": {"__all__": {"files": {"__all__": {"uri", "deltas"}}}},
        },
    )
