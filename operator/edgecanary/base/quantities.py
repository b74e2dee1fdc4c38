"""Kubernetes quantities of bytes, and byte counts and durations for people."""

import re
from decimal import Decimal

from edgecanary.base.errors import InvalidInput

_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$")
_FACTORS = {
    None: 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def parse_bytes(text: str, *, field: str) -> int:
    """Bytes of a Kubernetes memory quantity such as `256Mi`.

    Raises InvalidInput naming `field` when the text is not one.
    """
    match = _QUANTITY.match(text)
    if match is None:
        raise InvalidInput(field, f"must be a quantity of bytes such as 256Mi, got {text!r}")
    return int(Decimal(match[1]) * _FACTORS[match[2]])


def human_bytes(count: int) -> str:
    """`count` bytes for a person: `3.1 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """A duration for a person, in its two largest units: `1 h 5 min`, `40 s`."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"
