"""Makes the new file of the old one and a delta, block by block, within bounds that the delta cannot move.

At no time more than one block, its source and its packed bytes are in memory: 35 MiB at most.
"""

from collections.abc import Iterator
from typing import Protocol

import zstandard

from edgecanary.api.artifacts import DeltaFormat
from edgecanary.artifact.delta import (
    BLOCK_BYTES,
    BLOCK_HEAD_BYTES,
    HEAD_BYTES,
    BlockHead,
    DeltaInvalid,
    from_planes,
    read_block_head,
    read_file_head,
    xor,
)

_WINDOW_BYTES = BLOCK_BYTES


class Readable(Protocol):
    """A file of bytes, read from its beginning."""

    def read(self, count: int, /) -> bytes:
        """The next bytes, fewer only at the end."""
        ...


class Seekable(Readable, Protocol):
    """A file of bytes, read anywhere."""

    def seek(self, offset: int, /) -> object:
        """Goes to a place, counted from the beginning."""
        ...


def apply_delta(delta: Readable, old: Seekable, size: int) -> Iterator[bytes]:
    """The new file in pieces, just `size` bytes in all.

    Whether they are the right ones only their digest tells. Raises DeltaInvalid, and what reading raises.
    """
    kind, left = read_file_head(delta.read(HEAD_BYTES)), size
    while left:
        head = read_block_head(delta.read(BLOCK_HEAD_BYTES), kind, left)
        packed = delta.read(head.packed)
        if len(packed) != head.packed:
            raise DeltaInvalid(f"ends in the middle of a block, {left} bytes before the new file is whole")
        yield _make(kind, head, packed, _source(old, head))
        left -= head.length
    if delta.read(1):
        raise DeltaInvalid(f"goes on after the {size} bytes of the new file")


def _source(old: Seekable, head: BlockHead) -> bytes:
    if head.source_length == 0:
        return b""
    if head.source_offset >= 2**63:
        raise DeltaInvalid(f"refers to byte {head.source_offset} of the old file")
    old.seek(head.source_offset)
    found = old.read(head.source_length)
    if len(found) != head.source_length:
        raise DeltaInvalid(
            f"refers to bytes {head.source_offset} to {head.source_offset + head.source_length} of the old file, "
            "which is shorter"
        )
    return found


def _make(kind: DeltaFormat, head: BlockHead, packed: bytes, source: bytes) -> bytes:
    if kind is DeltaFormat.ZSTD_PATCH:
        return _unpack(packed, head.length, source)
    return xor(from_planes(_unpack(packed, head.length, b""), head.width), source)


def _unpack(packed: bytes, length: int, dictionary: bytes) -> bytes:
    """Unpacks just `length` bytes; a frame that announces more, or another window, is not begun."""
    try:
        frame = zstandard.get_frame_parameters(packed)
        if frame.content_size != length or frame.window_size > _WINDOW_BYTES:
            raise DeltaInvalid(
                f"has a frame of {frame.content_size} bytes and a window of {frame.window_size} "
                f"where {length} bytes are due"
            )
        given = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        unpacker = zstandard.ZstdDecompressor(
            dict_data=given if dictionary else None, max_window_size=_WINDOW_BYTES
        )
        made = unpacker.decompress(packed, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DeltaInvalid(f"has a block that cannot be unpacked: {error}") from error
    if len(made) != length:
        raise DeltaInvalid(f"has a block that makes {len(made)} bytes where {length} are due")
    return made
