"""Segments: files of records, each with a checksum, so that what a crash left half-written is seen.

A record is its header (length, checksum, time, number of samples) and the snappy-compressed WriteRequest. The
checksum covers all but itself.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER = struct.Struct("<IIqI")
_CHECKED = struct.Struct("<IqI")
MAX_PAYLOAD = 16 * 2**20
"""Longer records are damage: the samples of one moment are a few hundred KiB at most."""

_SUFFIX = ".segment"


@dataclass(frozen=True)
class Entry:
    """The samples of one moment."""

    timestamp_ms: int
    samples: int
    payload: bytes
    """A WriteRequest, compressed with snappy."""

    @property
    def size(self) -> int:
        """Bytes that it takes on disk."""
        return HEADER.size + len(self.payload)


@dataclass
class Segment:
    """One file; `size` is how much of it is whole."""

    path: Path
    number: int
    size: int = 0
    unsent: int = 0
    """Samples that were not acknowledged yet."""


def encode(entry: Entry) -> bytes:
    """A record."""
    checked = _CHECKED.pack(len(entry.payload), entry.timestamp_ms, entry.samples)
    checksum = zlib.crc32(entry.payload, zlib.crc32(checked))
    return HEADER.pack(len(entry.payload), checksum, entry.timestamp_ms, entry.samples) + entry.payload


def read(path: Path, start: int, end: int | None = None) -> Iterator[tuple[Entry, int]]:
    """The records from byte `start` on, each with where it ends, up to the first that is not whole.

    Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(start)
        at = start
        while end is None or at < end:
            head = file.read(HEADER.size)
            if len(head) < HEADER.size:
                return
            length, checksum, timestamp, samples = HEADER.unpack(head)
            if length > MAX_PAYLOAD:
                return
            payload = file.read(length)
            checked = _CHECKED.pack(length, timestamp, samples)
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(checked)) != checksum:
                return
            at += HEADER.size + length
            yield Entry(timestamp, samples, payload), at


def path_of(folder: Path, number: int) -> Path:
    """Where a segment lies; by name the oldest is the first."""
    return folder / f"{number:016d}{_SUFFIX}"


def numbers(folder: Path) -> list[int]:
    """The segments in a folder, the oldest first."""
    stems = (path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def scan(folder: Path, number: int, acknowledged: int) -> tuple[Segment, int | None]:
    """A segment as a crash may have left it, and the time of its last record. Raises OSError."""
    segment, newest = Segment(path_of(folder, number), number), None
    for entry, end in read(segment.path, 0):
        segment.size, newest = end, entry.timestamp_ms
        if end > acknowledged:
            segment.unsent += entry.samples
    return segment, newest


def append(segment: Segment, entry: Entry) -> None:
    """Adds a record; when this returns it survives a power cut. Raises OSError, and then nothing was added."""
    record = encode(entry)
    handle = os.open(segment.path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(handle, segment.size)
        _write_all(handle, record, segment.size)
        os.fsync(handle)
    except OSError:
        _take_back(handle, segment)
        raise
    finally:
        os.close(handle)
    segment.size += len(record)
    segment.unsent += entry.samples


def _take_back(handle: int, segment: Segment) -> None:
    """Leaves nothing of a record that could not be written whole."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, segment.size)
        if segment.size == 0:
            segment.path.unlink()


def _write_all(handle: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(handle, left, offset)
        left, offset = left[written:], offset + written
