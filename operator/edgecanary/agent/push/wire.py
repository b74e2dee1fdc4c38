"""Prometheus remote write 1.0: the few protobuf messages that it consists of.

A WriteRequest is a list of TimeSeries, and protobuf joins two messages of a kind by joining their bytes. So each
series is encoded once, and requests are joined and split without being read.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache

STALE = struct.pack("<Q", 0x7FF0000000000002)
"""The value that ends a series: Prometheus's own mark, a NaN that is not the usual one. As bytes, since some
processors turn it into the usual one."""

_SERIES = 1 << 3 | 2
_LABELS, _SAMPLES = 1 << 3 | 2, 2 << 3 | 2
_NAME, _TEXT = 1 << 3 | 2, 2 << 3 | 2
_VALUE, _TIMESTAMP = b"\x09", b"\x10"
_CACHED_LABELS = 4096


def encode_labels(labels: Mapping[str, str]) -> bytes:
    """A series's labels, its name among them, in the order that the protocol wants."""
    return b"".join(_label(name, value) for name, value in sorted(labels.items()))


def encode_value(value: float) -> bytes:
    """A sample's value."""
    return struct.pack("<d", value)


def encode_series(labels: bytes, timestamp_ms: int, value: bytes) -> bytes:
    """One series with one sample, as a part of a WriteRequest."""
    sample = _VALUE + value + _TIMESTAMP + _varint(timestamp_ms & (1 << 64) - 1)
    return _field(_SERIES, labels + _field(_SAMPLES, sample))


def join(series: Iterable[bytes]) -> bytes:
    """A WriteRequest, from series or from other WriteRequests."""
    return b"".join(series)


def split(request: bytes) -> list[bytes]:
    """The series of a WriteRequest. Raises ValueError when it is not one of ours."""
    parts, at = [], 0
    while at < len(request):
        length, start = _read_varint(request, at + 1)
        end = start + length
        if request[at] != _SERIES or end > len(request):
            raise ValueError(f"no series at byte {at} of {len(request)}")
        parts.append(request[at:end])
        at = end
    return parts


@lru_cache(_CACHED_LABELS)
def _label(name: str, value: str) -> bytes:
    return _field(_LABELS, _field(_NAME, name.encode()) + _field(_TEXT, value.encode()))


def _field(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at that byte, and where it ends."""
    value, shift = 0, 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"no length before byte {at} of {len(data)}")
