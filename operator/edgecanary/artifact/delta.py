"""Deltas between two versions of a file: when one is worth taking, and how one is laid out.

A delta is MAGIC, one byte for the format, and one block after the other. Each block says where in the old
file its source lies and how long that is, how the bytes were prepared (`width`), how many bytes it makes and
how many packed ones follow. All numbers are little-endian. Every block makes BLOCK_BYTES, but the last.

ZstdPatch: the packed bytes are a zstd frame whose dictionary is the source (`width` 0). XorZstd: they are a
zstd frame of the source XOR the new bytes, taken apart into `width` planes: first every byte whose place is
0 modulo `width`, then those of 1, and so on. The sign and exponent of neighbouring weights so lie side by
side, and a weight that moved a little leaves them 0.
"""

import struct
from dataclasses import dataclass

from edgecanary.api.artifacts import DeltaFormat
from edgecanary.base.errors import EdgecanaryError

BLOCK_BYTES = 4 * 2**20
"""What one block makes; with the source this bounds the memory that both sides need."""

SOURCE_BYTES = 8 * 2**20
"""The most of the old file that one block refers to."""

WIDTHS = (1, 2, 4, 8)
"""Sizes of the numbers that planes are made for, in bytes."""

WORTH_PERCENT = 85
"""A delta has to be smaller than this share of what it saves."""

MAGIC = b"ecdelta1"
CODES = {DeltaFormat.ZSTD_PATCH: 1, DeltaFormat.XOR_ZSTD: 2}
FORMATS = {code: kind for kind, code in CODES.items()}
HEAD_BYTES = len(MAGIC) + 1
_BLOCK = struct.Struct("<BQIII")
BLOCK_HEAD_BYTES = _BLOCK.size


class DeltaInvalid(EdgecanaryError):
    """A delta that cannot be applied; the whole file is to be taken instead."""

    def __init__(self, message: str) -> None:
        super().__init__("DeltaInvalid", message)


@dataclass(frozen=True)
class BlockHead:
    """What precedes a block's packed bytes."""

    width: int
    source_offset: int
    source_length: int
    length: int
    packed: int

    def to_bytes(self) -> bytes:
        """As it stands in the file."""
        return _BLOCK.pack(self.width, self.source_offset, self.source_length, self.length, self.packed)


def is_worth_it(delta_bytes: int, full_bytes: int) -> bool:
    """Whether fetching the delta saves enough beside what is left of the full file."""
    return delta_bytes * 100 < full_bytes * WORTH_PERCENT


def file_head(kind: DeltaFormat) -> bytes:
    """How a delta begins."""
    return MAGIC + bytes([CODES[kind]])


def read_file_head(data: bytes) -> DeltaFormat:
    """The delta's format. Raises DeltaInvalid."""
    if len(data) != HEAD_BYTES or not data.startswith(MAGIC) or data[-1] not in FORMATS:
        raise DeltaInvalid(f"must begin with {MAGIC.decode()} and a known format, got {data[:16]!r}")
    return FORMATS[data[-1]]


def read_block_head(data: bytes, kind: DeltaFormat, left: int) -> BlockHead:
    """A block's head, when `left` bytes of the new file are still to come. Raises DeltaInvalid.

    What it allows bounds all that a block can cost: memory, reading, and bytes made.
    """
    if len(data) != BLOCK_HEAD_BYTES:
        raise DeltaInvalid(f"ends {left} bytes before the new file is whole")
    head = BlockHead(*_BLOCK.unpack(data))
    wanted = min(BLOCK_BYTES, left)
    if head.length != wanted:
        raise DeltaInvalid(f"has a block of {head.length} bytes where {wanted} are due")
    most = SOURCE_BYTES if kind is DeltaFormat.ZSTD_PATCH else head.length
    if head.source_length > most:
        raise DeltaInvalid(
            f"refers to {head.source_length} bytes of the old file at once, {most} are allowed"
        )
    if not 0 < head.packed <= packed_bound(head.length):
        raise DeltaInvalid(f"has {head.packed} packed bytes for {head.length}")
    if head.width not in ((0,) if kind is DeltaFormat.ZSTD_PATCH else WIDTHS):
        raise DeltaInvalid(f"has planes of width {head.width}, which {kind} does not know")
    return head


def packed_bound(length: int) -> int:
    """The most bytes that zstd makes of so many."""
    return length + length // 128 + 1024


def to_planes(data: bytes, width: int) -> bytes:
    """Takes the bytes apart by their place modulo `width`."""
    return data if width == 1 else b"".join(data[place::width] for place in range(width))


def from_planes(data: bytes, width: int) -> bytes:
    """The inverse of `to_planes`."""
    if width == 1:
        return data
    made, at = bytearray(len(data)), 0
    for place in range(width):
        count = len(range(place, len(data), width))
        made[place::width] = data[at : at + count]
        at += count
    return bytes(made)


def xor(left: bytes, right: bytes) -> bytes:
    """Byte by byte; the shorter one counts as filled up with zeros."""
    size = max(len(left), len(right))
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(size, "little")
