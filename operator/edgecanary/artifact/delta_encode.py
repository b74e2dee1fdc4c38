"""Makes deltas: block by block, each with the stretch of the old file that it resembles most."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import zstandard

from edgecanary.api.artifacts import DeltaFormat
from edgecanary.artifact.delta import (
    BLOCK_BYTES,
    SOURCE_BYTES,
    WIDTHS,
    BlockHead,
    file_head,
    to_planes,
    xor,
)

BEST_LEVEL = 19
"""zstd's level: the most that unpacking in little memory allows."""

_QUICK_LEVEL = 3
_SAMPLE_BYTES = 256 * 1024
_ANCHORS = 16
_ANCHOR_BYTES = 32
_SEARCH_BYTES = 64 * 2**20
_MIN_VARIETY = 8


class Content(Protocol):
    """Bytes that need not be in memory, such as a mapped file."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes:
        """Some of them."""
        ...

    def find(self, what: bytes, begin: int, end: int, /) -> int:
        """Where they occur first within two places; -1 if they do not."""
        ...


@dataclass(frozen=True)
class _Block:
    begin: int
    data: bytes


def encode_delta(
    kind: DeltaFormat, old: Content, new: Content, *, level: int = BEST_LEVEL
) -> Iterator[bytes]:
    """The delta in pieces. `level` is zstd's, 1 to 19: higher is smaller and slower."""
    yield file_head(kind)
    shift = 0
    for begin in range(0, len(new), BLOCK_BYTES):
        block = _Block(begin, new[begin : begin + BLOCK_BYTES])
        shift = _found_shift(old, block, shift)
        if kind is DeltaFormat.ZSTD_PATCH:
            yield from _patch(old, block, shift, level)
        else:
            shift = _closest_shift(old, block, {shift, 0, len(old) - len(new)})
            yield from _planes(old, block, shift, level)


def _patch(old: Content, block: _Block, shift: int, level: int) -> Iterator[bytes]:
    margin = (SOURCE_BYTES - len(block.data)) // 2
    begin = max(0, min(block.begin + shift - margin, len(old) - SOURCE_BYTES))
    source = old[begin : begin + SOURCE_BYTES]
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(block.data), dict_size=len(source), window_log=24
    )
    given = zstandard.ZstdCompressionDict(source, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    packer = zstandard.ZstdCompressor(compression_params=parameters, dict_data=given if source else None)
    packed = packer.compress(block.data)
    yield BlockHead(0, begin, len(source), len(block.data), len(packed)).to_bytes()
    yield packed


def _planes(old: Content, block: _Block, shift: int, level: int) -> Iterator[bytes]:
    begin = block.begin + shift
    source = old[begin : begin + len(block.data)] if begin >= 0 else b""
    difference = xor(source, block.data)
    width = min(WIDTHS, key=lambda width: _quick_size(to_planes(difference, width)))
    packed = zstandard.ZstdCompressor(level=level).compress(to_planes(difference, width))
    yield BlockHead(width, max(0, begin), len(source), len(block.data), len(packed)).to_bytes()
    yield packed


def _found_shift(old: Content, block: _Block, expected: int) -> int:
    """How far the block's bytes have moved, by the places where pieces of it occur in the old file."""
    votes: Counter[int] = Counter()
    for number in range(_ANCHORS):
        at = len(block.data) * number // _ANCHORS
        anchor = block.data[at : at + _ANCHOR_BYTES]
        if len(set(anchor)) < _MIN_VARIETY:
            continue
        place = block.begin + at + expected
        if place >= 0 and old[place : place + len(anchor)] == anchor:
            votes[expected] += 1
            continue
        found = old.find(anchor, max(0, place - _SEARCH_BYTES), max(0, place + _SEARCH_BYTES))
        if found >= 0:
            votes[found - block.begin - at] += 1
    return votes.most_common(1)[0][0] if votes else expected


def _closest_shift(old: Content, block: _Block, shifts: set[int]) -> int:
    """Of several shifts the one at which the old bytes differ least: weights that all moved a little."""
    middle = max(0, (len(block.data) - _SAMPLE_BYTES) // 2)
    sample = block.data[middle : middle + _SAMPLE_BYTES]

    def size(shift: int) -> int:
        begin = block.begin + middle + shift
        source = old[begin : begin + len(sample)] if begin >= 0 else b""
        return min(_quick_size(to_planes(xor(source, sample), width)) for width in WIDTHS)

    return min(sorted(shifts, key=abs), key=size)


def _quick_size(data: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=_QUICK_LEVEL).compress(data))
