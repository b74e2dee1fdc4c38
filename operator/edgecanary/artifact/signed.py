"""What is signed about a model, and whether it is what a node is given. Pure.

A statement holds everything that decides the model's behaviour, in the very JSON whose SHA-256 is the revision:
files' digests and sizes, tensors, golden cases, budgets and what each variant requires of a node. With it go
the model's name, a sequence that only grows, and when it was issued and when it expires.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, JsonValue, StrictInt, ValidationError

from edgecanary.api.artifacts import Golden, ModelIO, Profile, Variant
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.fields import ApiModel, Digest, JsonObject, ObjectName, ShortName
from edgecanary.artifact.envelope import Envelope, Refused
from edgecanary.artifact.revision import behaviour, canonical, digest_of
from edgecanary.base.clock import to_rfc3339

PAYLOAD_TYPE = "application/vnd.edgecanary.statement.v1+json"
MAX_SEQUENCE = 2**53 - 1

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_NOT_SIGNED = {"uri": "https://not.signed/file"}
"""Where a file lies is not signed; this stands in where the type wants an address."""


class SignedModel(ApiModel):
    """Which EdgeModel a statement is about."""

    namespace: ShortName
    name: ObjectName


class Claims(ApiModel):
    """A statement's JSON."""

    model: SignedModel
    revision: Digest
    sequence: Annotated[StrictInt, Field(ge=1, le=MAX_SEQUENCE)]
    issued: str
    expires: str
    behaviour: JsonObject


class SignedStatement(ApiModel):
    """A statement, read."""

    model: SignedModel
    revision: Digest
    sequence: int
    """Grows with each revision that is signed for the model."""
    issued: datetime
    expires: datetime
    spec: EdgeModelSpec
    """What was signed. Its version and the files' places are not: they are not the model's."""


def seal(
    spec: EdgeModelSpec, model: SignedModel, *, sequence: int, issued: datetime, expires: datetime
) -> Envelope:
    """The statement about the model, ready to be signed. Times are cut to seconds.

    Raises Refused with the reason BadStatement when a node would refuse it.
    """
    content = behaviour(spec)
    claims = Claims(
        model=model,
        revision=digest_of(content),
        sequence=sequence,
        issued=to_rfc3339(issued.replace(microsecond=0)),
        expires=to_rfc3339(expires.replace(microsecond=0)),
        behaviour=content,
    )
    payload = canonical(claims.model_dump(by_alias=True))
    read_statement(payload, PAYLOAD_TYPE)
    return Envelope(PAYLOAD_TYPE, payload)


def read_statement(payload: bytes, payload_type: str) -> SignedStatement:
    """The statement that was signed. Raises Refused with the reason BadStatement.

    The bytes must be what this program would write for what it reads in them, so that nothing in them can be read
    in two ways. Fields that a newer program knows count for the digest and are otherwise left alone.
    """
    if payload_type != PAYLOAD_TYPE:
        raise _bad(f"is of the type {payload_type[:80]!r}, must be {PAYLOAD_TYPE}")
    try:
        body: JsonValue = json.loads(payload)
        if not isinstance(body, dict) or canonical(body) != payload:
            raise _bad("is not in the canonical form of JSON")
        claims = Claims.model_validate(body)
        spec = _spec(claims.behaviour)
    except ValidationError as error:
        first = error.errors()[0]
        raise _bad(f"breaks a rule at {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"is not JSON ({type(error).__name__})") from error
    if digest_of(claims.behaviour) != claims.revision:
        raise _bad(f"names the revision {claims.revision[:12]} and holds another one")
    issued, expires = _time("issued", claims.issued), _time("expires", claims.expires)
    if expires <= issued:
        raise _bad(f"expires must be after issued, got {claims.expires}")
    return SignedStatement(
        model=claims.model,
        revision=claims.revision,
        sequence=claims.sequence,
        issued=issued,
        expires=expires,
        spec=spec,
    )


def variant_differs(signed: SignedStatement, variant: Variant) -> bool:
    """Whether a variant is any other than the signed one of its name. Where files lie does not count."""
    known = next((item for item in signed.spec.variants if item.name == variant.name), None)
    return known is None or _essence(known) != _essence(variant)


@dataclass(frozen=True)
class Surroundings:
    """What goes with a model's variants."""

    io: ModelIO
    golden: Golden | None
    profile: Profile | None
    serve: bool


def surroundings_differ(signed: SignedStatement, offered: Surroundings) -> bool:
    """Whether what goes with the variants is any other than what was signed."""
    spec = signed.spec
    return (
        (offered.io, offered.serve) != (spec.io, spec.serve)
        or _unplaced(offered.golden) != _unplaced(spec.golden)
        or _unplaced(offered.profile) != _unplaced(spec.profile)
    )


def _spec(content: JsonObject) -> EdgeModelSpec:
    """What was signed, as the type that it was taken from."""
    variants = content.get("variants")
    placed: JsonObject = {**content, "version": "signed"}
    if isinstance(variants, list):
        placed["variants"] = [_placed_variant(variant) for variant in variants]
    for name in ("golden", "profile"):
        if isinstance(item := content.get(name), dict):
            placed[name] = {**item, **_NOT_SIGNED}
    return EdgeModelSpec.model_validate(placed)


def _placed_variant(variant: JsonValue) -> JsonValue:
    if not isinstance(variant, dict) or not isinstance(files := variant.get("files"), list):
        return variant
    placed: list[JsonValue] = [{**file, **_NOT_SIGNED} if isinstance(file, dict) else file for file in files]
    return {**variant, "files": placed}


def _essence(variant: Variant) -> JsonObject:
    return variant.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={"files": {"__all__": {"uri", "url", "deltas"}}},
    )


def _unplaced(item: Golden | Profile | None) -> JsonObject | None:
    if item is None:
        return None
    return item.model_dump(mode="json", by_alias=True, exclude={"uri", "url"})


def _time(field: str, text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise _bad(f"{field} must be a time such as 2026-01-31T12:00:00Z, got {text[:80]!r}")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise _bad(f"{field} must be a time that exists, got {text!r}") from error


def _bad(message: str) -> Refused:
    return Refused("BadStatement", f"the signed statement {message}; sign the EdgeModel again")
