"""Envelopes and statements: what is signed, what counts, and what is never read in two ways."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from edgecanary.api.artifacts import Profile
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.fields import JsonObject
from edgecanary.artifact.envelope import (
    MAX_ENVELOPE,
    BadKey,
    Envelope,
    Refused,
    Signature,
    key_id,
    read_envelope,
    read_private_key,
    read_public_keys,
    verify,
)
from edgecanary.artifact.revision import canonical, digest_of, revision_digest
from edgecanary.artifact.signed import PAYLOAD_TYPE, Surroundings, read_statement, surroundings_differ
from tests.unit.agent.releasing import statement
from tests.unit.signing import CI, MODEL, NOW, OLD, STRANGER, key, roots, sealed, spec_of

SPEC = spec_of(statement("1", golden=b"golden"))


def signed(*keys: object) -> Envelope:
    envelope = sealed(SPEC, sequence=5)
    for one in (CI, OLD):
        if one in keys:
            envelope = envelope.signed_by(one)
    return envelope


def refused(reason: str, action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        action()
    assert caught.value.reason == reason
    return caught.value.message


class TestEnvelope:
    """Who signed, and what."""

    def test_what_is_signed_is_what_dsse_says(self) -> None:
        (signature,) = signed(CI).signatures
        payload = sealed(SPEC, sequence=5).payload
        head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode()
        CI.public_key().verify(signature.value, head + payload)

    def test_it_is_read_as_it_was_written(self) -> None:
        envelope = signed(CI, OLD)
        assert read_envelope(envelope.to_text()) == envelope

    def test_a_signature_counts_for_its_payload_type_alone(self) -> None:
        envelope = signed(CI)
        other = Envelope("application/vnd.other", envelope.payload, envelope.signatures)
        refused("BadSignature", lambda: verify(other, roots(CI).keys, threshold=1))

    def test_a_bad_signature_beside_enough_good_ones_does_no_harm(self) -> None:
        envelope = signed(CI)
        spoilt = Envelope(
            envelope.payload_type,
            envelope.payload,
            (*envelope.signatures, Signature(key_id(OLD.public_key()), b"\0" * 64)),
        )
        assert verify(spoilt, roots(CI, OLD).keys, threshold=1) == envelope.payload
        refused("BadSignature", lambda: verify(spoilt, roots(CI, OLD).keys, threshold=2))

    def test_the_same_key_counts_once(self) -> None:
        envelope = signed(CI)
        twice = Envelope(envelope.payload_type, envelope.payload, envelope.signatures * 2)
        refused("ThresholdNotMet", lambda: verify(twice, roots(CI, OLD).keys, threshold=2))

    def test_a_signature_under_another_keys_id_does_not_count(self) -> None:
        envelope = sealed(SPEC).signed_by(STRANGER)
        posing = Envelope(
            envelope.payload_type,
            envelope.payload,
            (Signature(key_id(CI.public_key()), envelope.signatures[0].value),),
        )
        refused("BadSignature", lambda: verify(posing, roots(CI).keys, threshold=1))

    def test_signing_again_with_a_key_replaces_its_signature(self) -> None:
        assert len(signed(CI).signed_by(CI).signatures) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{}",
            "null",
            '{"payload":"","payloadType":1,"signatures":[]}',
            '{"payload":"?","payloadType":"","signatures":[]}',
            '{"payload":"é","payloadType":"","signatures":[]}',
            '{"payload":"","payloadType":"","signatures":[1]}',
            '{"payload":"","payloadType":"","signatures":[{"keyid":"a"}]}',
            '{"payload":"","payloadType":"","signatures":[{"keyid":"a","sig":5}]}',
            json.dumps({"payload": "", "payloadType": "", "signatures": [{"keyid": "a", "sig": ""}] * 17}),
            "[" * MAX_ENVELOPE,
            "9" * MAX_ENVELOPE,
            " " * (MAX_ENVELOPE + 1),
        ],
    )
    def test_what_is_no_envelope_is_refused(self, text: str) -> None:
        refused("BadEnvelope", lambda: read_envelope(text))

    def test_an_envelope_longer_than_its_field_cannot_be_written(self) -> None:
        (variant,) = SPEC.variants
        many = tuple(
            variant.model_copy(update={"name": f"v{n}", "files": variant.files * 9}) for n in range(16)
        )
        message = refused("StatementTooLong", lambda: sealed_of(many).to_text())
        assert f"must have at most {MAX_ENVELOPE}" in message

    def test_sixteen_variants_of_one_file_with_three_signatures_fit(self) -> None:
        (variant,) = SPEC.variants
        many = tuple(variant.model_copy(update={"name": f"v{n}"}) for n in range(16))
        envelope = sealed_of(many).signed_by(CI).signed_by(OLD).signed_by(STRANGER)
        assert len(envelope.to_text()) <= MAX_ENVELOPE


def sealed_of(variants: object) -> Envelope:
    return sealed(SPEC.model_copy(update={"variants": variants}))


class TestStatement:
    """What the payload says."""

    def test_it_says_what_was_signed(self) -> None:
        stated = read_statement(sealed(SPEC, sequence=5).payload, PAYLOAD_TYPE)
        assert (stated.model, stated.sequence, stated.revision) == (MODEL, 5, revision_digest(SPEC))
        assert stated.issued == NOW - timedelta(days=1)
        assert stated.expires == NOW + timedelta(days=30)
        assert stated.spec.variants[0].files[0].size_bytes == SPEC.variants[0].files[0].size_bytes

    def test_a_drift_profile_is_part_of_it_and_where_it_lies_is_not(self) -> None:
        here = Profile(uri="s3://models/profile.json", sha256="a" * 64, size_bytes=100)
        spec = SPEC.model_copy(update={"profile": here})
        envelope = sealed(spec)
        signed = read_statement(envelope.payload, envelope.payload_type)

        def around(profile: Profile | None) -> Surroundings:
            return Surroundings(spec.io, spec.golden, profile, spec.serve)

        moved = here.model_copy(update={"uri": "https://elsewhere.example.com/profile.json"})
        assert not surroundings_differ(signed, around(moved))
        for other in (None, here.model_copy(update={"sha256": "b" * 64})):
            assert surroundings_differ(signed, around(other))

    def test_names_and_places_are_not_part_of_it(self) -> None:
        moved = EdgeModelSpec.model_validate(
            {
                **json.loads(SPEC.model_dump_json(by_alias=True).replace("models.example.com", "elsewhere")),
                "version": "renamed",
            }
        )
        assert moved != SPEC
        assert sealed(moved).payload == sealed(SPEC).payload

    def test_a_field_of_a_newer_program_counts_for_the_digest_and_is_left_alone(self) -> None:
        content = claims()
        behaviour = content["behaviour"]
        assert isinstance(behaviour, dict)
        behaviour["novelty"] = True
        content["revision"] = digest_of(behaviour)
        assert read_statement(canonical(content), PAYLOAD_TYPE).revision == content["revision"]
        assert content["revision"] != revision_digest(SPEC)

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"[]",
            b"\xff",
            b"[" * 5000,
            json.dumps(json.loads(sealed(SPEC).payload)).encode(),
            sealed(SPEC).payload + b" ",
            sealed(SPEC).payload.replace(b'"sequence":1', b'"sequence":1,"sequence":1'),
            sealed(SPEC).payload.replace(b'"sequence":1', b'"sequence":1e0'),
            b'{"a":NaN}',
        ],
    )
    def test_what_can_be_read_in_two_ways_or_not_at_all_is_refused(self, payload: bytes) -> None:
        refused("BadStatement", lambda: read_statement(payload, PAYLOAD_TYPE))

    @pytest.mark.parametrize(
        ("field", "value", "told"),
        [
            ("sequence", 0, "sequence"),
            ("sequence", True, "sequence"),
            ("sequence", "5", "sequence"),
            ("sequence", 2**53, "sequence"),
            ("issued", "2026-05-01T12:00:00+02:00", "issued must be a time"),
            ("expires", "2026-02-30T00:00:00Z", "expires must be a time that exists"),
            ("expires", "2020-01-01T00:00:00Z", "expires must be after issued"),
            ("revision", "0" * 64, "holds another one"),
            ("model", {"namespace": "plant"}, "model.name"),
            ("model", {"namespace": "Plant", "name": "pump"}, "model.namespace"),
            ("behaviour", [], "behaviour"),
            ("behaviour", {}, "variants"),
        ],
    )
    def test_a_field_that_breaks_a_rule_is_named(self, field: str, value: object, told: str) -> None:
        content = claims()
        content[field] = value  # type: ignore[assignment]
        message = refused("BadStatement", lambda: read_statement(canonical(content), PAYLOAD_TYPE))
        assert told in message

    def test_another_type_of_payload_is_refused(self) -> None:
        refused("BadStatement", lambda: read_statement(sealed(SPEC).payload, "text/plain"))


def claims() -> JsonObject:
    found: JsonObject = json.loads(sealed(SPEC).payload)
    return found


class TestKeys:
    """Key files."""

    def test_several_public_keys_may_be_in_one_file(self) -> None:
        data = pem(CI) + b"a comment\n" + pem(OLD)
        assert [key_id(found) for found in read_public_keys(data)] == [
            key_id(CI.public_key()),
            key_id(OLD.public_key()),
        ]

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (b"", "got 0"),
            (b"hello", "got 0"),
            (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key"),
            (b"-----BEGIN PUBLIC KEY-----\n", "is not a public key"),
            (b"-----BEGIN PRIVATE KEY-----\n", "holds a private key"),
            (b"x" * 65537, "at most 65536 bytes"),
        ],
    )
    def test_what_is_no_public_key_is_refused(self, data: bytes, told: str) -> None:
        with pytest.raises(BadKey, match=told):
            read_public_keys(data)

    def test_more_keys_than_anybody_needs_are_refused(self) -> None:
        with pytest.raises(BadKey, match="1 to 32"):
            read_public_keys(pem(CI) * 33)

    def test_keys_of_other_kinds_are_refused(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

        with pytest.raises(BadKey, match="must be an Ed25519 key"):
            read_public_keys(pem_of(X25519PrivateKey.from_private_bytes(b"x" * 32)))

    def test_a_private_key_is_read_back(self) -> None:
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

        data = CI.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        assert key_id(read_private_key(data).public_key()) == key_id(CI.public_key())
        with pytest.raises(BadKey, match="is not a private key"):
            read_private_key(base64.b64encode(data))

    def test_a_name_makes_the_same_key_each_time(self) -> None:
        assert key_id(key("ci").public_key()) == key_id(CI.public_key())


def pem(one: object) -> bytes:
    return pem_of(one)


def pem_of(one: object) -> bytes:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    public = one.public_key()  # type: ignore[attr-defined]
    return bytes(public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
