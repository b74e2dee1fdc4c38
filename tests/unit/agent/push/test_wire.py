"""The encoder of remote write, held against a decoder that follows protobuf's rules."""

import contextlib
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.agent.push.sampling import compress, decompress
from edgecanary.agent.push.wire import STALE, encode_labels, encode_series, encode_value, join, split
from tests.unit.agent.push.receiver import decode

TEXT = st.sampled_from(["", "a", "ü", "x" * 127, "x" * 128, "y" * 20_000])
LABELS = st.dictionaries(st.sampled_from(["__name__", "le", "node", "é"]), TEXT, min_size=1)
SERIES = st.tuples(LABELS, st.integers(0, 2**50), st.floats())


@settings(max_examples=50, deadline=None)
@given(st.lists(SERIES, max_size=4))
def test_what_is_encoded_is_read_the_same_by_protobufs_rules(
    series: list[tuple[dict[str, str], int, float]],
) -> None:
    parts = [encode_series(encode_labels(labels), at, encode_value(value)) for labels, at, value in series]
    request = join(parts)
    assert split(request) == parts
    found = decode(decompress(compress(request)))
    for sample, (labels, at, value) in zip(found, series, strict=True):
        assert sample.labels == tuple(sorted(labels.items()))
        assert sample.timestamp_ms == at
        assert sample.bits == struct.unpack("<Q", struct.pack("<d", value))[0]


def test_the_mark_that_ends_a_series_keeps_its_bits() -> None:
    (sample,) = decode(encode_series(encode_labels({"__name__": "up"}), 1, STALE))
    assert sample.bits == 0x7FF0000000000002
    assert math.isnan(sample.value)


@given(st.binary(max_size=64))
def test_what_is_no_request_is_refused_and_never_loops(noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert join(split(noise)) == noise


@given(st.binary(max_size=64))
def test_what_snappy_did_not_write_is_refused(noise: bytes) -> None:
    with contextlib.suppress(ValueError):
        decompress(noise)


def test_requests_are_joined_by_joining_their_bytes() -> None:
    one = encode_series(encode_labels({"__name__": "a"}), 1, encode_value(1.0))
    two = encode_series(encode_labels({"__name__": "b"}), 2, encode_value(2.0))
    assert [sample.name for sample in decode(join([join([one, two]), join([two])]))] == ["a", "b", "b"]


def test_half_a_request_is_refused() -> None:
    whole = encode_series(encode_labels({"__name__": "a"}), 1, encode_value(1.0))
    with pytest.raises(ValueError, match="no series at byte 0"):
        split(whole[:-1])
