"""Deltas: what comes out is what went in, and a hostile one costs nothing."""

import io
import random
import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecanary.api.artifacts import DeltaFormat
from edgecanary.artifact import delta, delta_encode
from edgecanary.artifact.delta import BlockHead, DeltaInvalid, file_head, from_planes, is_worth_it, to_planes
from edgecanary.artifact.delta_apply import apply_delta
from edgecanary.artifact.delta_encode import encode_delta

PATCH, XOR = DeltaFormat.ZSTD_PATCH, DeltaFormat.XOR_ZSTD
BOTH = pytest.mark.parametrize("kind", list(DeltaFormat))
SMALL = 4096


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a short file has many."""
    for module in (delta, delta_encode):
        monkeypatch.setattr(module, "BLOCK_BYTES", SMALL)
        monkeypatch.setattr(module, "SOURCE_BYTES", 2 * SMALL)


def encode(kind: DeltaFormat, old: bytes, new: bytes) -> bytes:
    return b"".join(encode_delta(kind, old, new, level=3))


def apply(made: bytes, old: bytes, size: int) -> bytes:
    return b"".join(apply_delta(io.BytesIO(made), io.BytesIO(old), size))


def floats(seed: int, count: int) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(0, 0.05) for _ in range(count)]


def weights(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def trained_further(seed: int, values: list[float]) -> list[float]:
    source = random.Random(seed)
    return [value * (1 + source.gauss(0, 1e-4)) for value in values]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(DeltaFormat),
    seed=st.integers(0, 2**32),
    lengths=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    edits=st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=50)), max_size=5),
)
def test_whatever_changed_the_new_file_comes_out(
    kind: DeltaFormat, seed: int, lengths: tuple[int, int], edits: list[tuple[int, bytes]]
) -> None:
    source = random.Random(seed)
    old = source.randbytes(lengths[0])
    new = (old + source.randbytes(max(0, lengths[1] - lengths[0])))[: lengths[1]]
    for place, inserted in edits:
        new = new[:place] + inserted + new[place:]

    assert apply(encode(kind, old, new), old, len(new)) == new


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 4096, 4099])
def test_planes_of_any_length_come_back(width: int, length: int) -> None:
    data = random.Random(1).randbytes(length)
    assert from_planes(to_planes(data, width), width) == data


def test_weights_that_were_trained_a_little_further_make_a_small_xor_delta() -> None:
    values = floats(1, 20_000)
    old, new = weights(values), weights(trained_further(2, values))

    assert len(encode(XOR, old, new)) < 0.65 * len(new)
    assert len(encode(PATCH, old, new)) > 0.85 * len(new)


def test_weights_that_moved_by_a_longer_header_are_found_all_the_same() -> None:
    values = floats(1, 20_000)
    old, new = b"v1" + weights(values), b"version two" + weights(trained_further(2, values))

    assert len(encode(XOR, old, new)) < 0.7 * len(new)


def test_the_same_weights_in_another_order_make_a_small_patch() -> None:
    source = random.Random(1)
    pieces = [source.randbytes(1000) for _ in range(40)]
    old, new = b"".join(pieces), b"new head" * 100 + b"".join(pieces[20:] + pieces[:20])

    # A block sees only its neighbourhood in the old file: the seam costs something.
    assert len(encode(PATCH, old, new)) < 0.3 * len(new)


@pytest.mark.parametrize(
    ("size", "worth"), [(1, True), (849, True), (850, False), (851, False), (2000, False)]
)
def test_a_delta_is_worth_it_below_85_percent(size: int, worth: bool) -> None:
    assert is_worth_it(size, 1000) is worth


OLD = random.Random(5).randbytes(3 * SMALL)
NEW = OLD[:5000] + b"new" + OLD[5000:]


def frame(data: bytes, **how: bool) -> bytes:
    return zstandard.ZstdCompressor(level=1, **how).compress(data)  # type: ignore[arg-type]


def block(kind: DeltaFormat = PATCH, packed: bytes = b"", **changes: int) -> bytes:
    """A delta of one block, which makes a file of 100 zeros unless something is changed."""
    packed = packed or frame(bytes(100))
    fields = {
        "width": 0 if kind is PATCH else 4,
        "source_offset": 0,
        "source_length": 0,
        "length": 100,
        "packed": len(packed),
    }
    return file_head(kind) + BlockHead(**{**fields, **changes}).to_bytes() + packed


def bomb(length: int, announced: int | None) -> bytes:
    """A small frame that makes a lot, and announces what it is told."""
    made = bytearray(frame(bytes(length), write_content_size=announced is not None))
    if announced is not None and announced != length:
        # The length comes behind 4 bytes of magic number, one of flags and one for the window.
        assert made[6:10] == struct.pack("<I", length)
        made[6:10] = struct.pack("<I", announced)
    return bytes(made)


HOSTILE = {
    "nothing": (b"", "must begin with ecdelta1"),
    "another file": (b"\x1f\x8b" * 20, "must begin with ecdelta1"),
    "an unknown format": (b"ecdelta1\x03" + block()[9:], "a known format"),
    "no block": (file_head(PATCH), "ends 100 bytes before"),
    "half a head": (block()[:15], "ends 100 bytes before"),
    "half a block": (block()[:-1], "ends in the middle"),
    "more than the file": (block() + b"x", "goes on after the 100 bytes"),
    "short blocks that would cost a source each": (block(length=1), "a block of 1 bytes where 100 are due"),
    "a long block": (block(length=SMALL), "where 100 are due"),
    "a huge source": (block(source_length=2**32 - 1), "8192 are allowed"),
    "a source beyond the end": (block(source_offset=len(OLD) - 5, source_length=10), "which is shorter"),
    "a source beyond any end": (block(source_offset=2**64 - 1, source_length=1), "refers to byte"),
    "a huge packing": (block(packed=b"x" * 9000), "packed bytes for 100"),
    "no packing": (file_head(PATCH) + BlockHead(0, 0, 0, 100, 0).to_bytes(), "0 packed bytes"),
    "planes of a patch": (block(width=4), "planes of width 4"),
    "planes of nothing": (block(XOR, width=0), "planes of width 0"),
    "planes of three": (block(XOR, width=3), "planes of width 3"),
    "a longer source than a block": (block(XOR, source_length=101), "100 are allowed"),
    "no frame": (block(packed=b"not a frame at all"), "cannot be unpacked"),
    "two frames": (block(packed=frame(bytes(100)) * 2), "cannot be unpacked"),
    "a bomb": (block(packed=bomb(2**20, 2**20)), "a frame of 1048576 bytes"),
    "a bomb that announces nothing": (block(packed=bomb(2**20, None)), "where 100 bytes are due"),
    "a bomb that announces little": (block(packed=bomb(2**20, 100)), "cannot be unpacked"),
    "less than announced": (block(packed=frame(bytes(99))), "a frame of 99 bytes"),
}


@pytest.mark.parametrize(("made", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_delta_is_refused(made: bytes, says: str) -> None:
    tracemalloc.start()
    found: DeltaInvalid | None = None
    try:
        apply(made, OLD, 100)
    except DeltaInvalid as error:
        found = error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found is not None
    assert says in found.message
    assert peak < 100_000


def test_the_case_that_the_hostile_ones_are_made_from_is_fine() -> None:
    assert apply(block(), OLD, 100) == bytes(100)
    assert apply(block(XOR), OLD, 100) == bytes(100)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(DeltaFormat),
    flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=4),
    cut=st.integers(0, 2**16),
    size=st.sampled_from([len(NEW), len(NEW) - 1, len(NEW) + 1, SMALL, 1]),
)
def test_a_damaged_delta_never_makes_more_than_the_file_and_fails_only_in_its_own_way(
    kind: DeltaFormat, flips: list[tuple[int, int]], cut: int, size: int
) -> None:
    made = bytearray(encode(kind, OLD, NEW))
    for place, mask in flips:
        made[place % len(made)] ^= mask
    count = 0
    try:
        for piece in apply_delta(io.BytesIO(bytes(made[: cut or None])), io.BytesIO(OLD), size):
            count += len(piece)
            assert count <= size
    except DeltaInvalid:
        return
    assert count == size


@BOTH
def test_memory_does_not_grow_with_the_file(kind: DeltaFormat) -> None:
    old = random.Random(9).randbytes(500 * SMALL)
    new = old[:100_000] + b"inserted" + old[100_000:]
    made = encode(kind, old, new)
    streams = io.BytesIO(made), io.BytesIO(old)
    tracemalloc.start()
    total = sum(len(piece) for piece in apply_delta(*streams, len(new)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total == len(new)
    assert peak < 30 * SMALL
