"""Damage to the record's file: what it is, and whether the copy before it can be used."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecanary.agent.recordfile import NAME, PREVIOUS


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


def _flipped(share: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = int(len(data) * share)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return flip


HOW: dict[str, Callable[[bytes], bytes] | None] = {
    "empty": lambda _: b"",
    "cut after a byte": lambda data: data[:1],
    "cut in the middle": _cut(0.5),
    "cut before the checksum": lambda data: data.partition(b"\n")[0],
    "cut within the checksum": lambda data: data[:-10],
    "a bit changed at the beginning": _flipped(0.01),
    "a bit changed in the middle": _flipped(0.5),
    "a bit changed in the checksum": _flipped(0.995),
    "zeros": lambda data: bytes(len(data)),
    "another file": lambda _: b"\x7fELF\n\n" * 100,
    "valid JSON of something else": lambda _: b'{"formatVersion": 1}',
    "another version": lambda data: _resealed(data.replace(b'"formatVersion":2', b'"formatVersion":99')),
    "missing": None,
}
"""What becomes of the file's bytes; None: the file goes."""

COPIES = ("good", "damaged", "missing")
STARTS = ("at rest", "on trial")


@dataclass(frozen=True)
class Damage:
    """One case."""

    how: str
    copy: str
    start: str

    def do(self, home: Path) -> None:
        """Damages the files in a model's directory."""
        record, copy = home / NAME, home / PREVIOUS
        damage = HOW[self.how]
        if damage is None:
            record.unlink()
        else:
            record.write_bytes(damage(record.read_bytes()))
        if self.copy == "damaged":
            copy.write_bytes(_flipped(0.3)(copy.read_bytes()))
        elif self.copy == "missing":
            copy.unlink()


def _resealed(data: bytes) -> bytes:
    line = data.partition(b"\n")[0]
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


DAMAGES = [Damage(how, copy, start) for how in HOW for copy in COPIES for start in STARTS]
