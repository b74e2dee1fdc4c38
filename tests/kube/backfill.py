"""Samples of the past, pushed to a real Prometheus by its remote-write protocol: hours of history in no time."""

import math
import struct
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The value that ends a series: Prometheus's own mark, a NaN that is not the usual one."""

_BATCH_SECONDS = 1800


@dataclass
class Line:
    """One series: its name and labels, and samples by time in Unix seconds, in any order."""

    labels: Mapping[str, str]
    samples: list[tuple[float, float]] = field(default_factory=list)


def push(remote_write_url: str, lines: Sequence[Line]) -> None:
    """Writes the samples, the oldest first. Raises AssertionError in Prometheus's words when it refuses them."""
    moments = [moment for line in lines for moment, _ in line.samples]
    if not moments:
        return
    begin = math.floor(min(moments))
    while begin <= max(moments):
        end = begin + _BATCH_SECONDS
        batch = [
            Line(
                line.labels,
                sorted((sample for sample in line.samples if begin <= sample[0] < end), key=_time),
            )
            for line in lines
        ]
        if body := b"".join(_field(1, _series(line)) for line in batch if line.samples):
            _post(remote_write_url, _snappy(body))
        begin = end


def counter(moments: Iterable[float], increments: Iterable[float]) -> Iterator[tuple[float, float]]:
    """Samples of a counter that starts at 0 and grows by each increment up to its moment."""
    value = 0.0
    for moment, increment in zip(moments, increments, strict=True):
        value += increment
        yield moment, value


def _time(sample: tuple[float, float]) -> float:
    return sample[0]


def _series(line: Line) -> bytes:
    labels = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(line.labels.items())
    )
    samples = b"".join(
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(round(moment * 1000)))
        for moment, value in line.samples
    )
    return labels + samples


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _snappy(body: bytes) -> bytes:
    """The body as one literal of the snappy format: valid, and not made any smaller."""
    return _varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body


def _post(url: str, body: bytes) -> None:
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30).close()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"remote write refused: {error.code} {error.read().decode()}") from error
