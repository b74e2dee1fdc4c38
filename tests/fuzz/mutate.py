"""Small changes to inputs, the same ones for the same seed: at the level of bytes, and of JSON where it is JSON."""

import json
import random
from collections.abc import Sequence

_NUMBERS = (0, 1, -1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**30)
_WORDS = (
    b"\0",
    b"\xff" * 4,
    b"%00",
    b"..",
    b"/",
    b"[" * 64,
    b"{" * 64,
    b'"',
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"-",
    b"\r\n",
)
_VALUES: tuple[object, ...] = (
    None, True, False, *_NUMBERS, 0.5, 1e308, "", "a", "\ud800", "x" * 300, "../../etc", [], {}, [[]], [None], {"": {}},
)  # fmt: skip


def mutate(data: bytes, others: Sequence[bytes], chance: random.Random, limit: int) -> bytes:
    """The input with one to four changes."""
    if data[:1] in (b"{", b"[") and chance.random() < 0.6:
        changed = _mutate_json(data, chance)
        if changed is not None:
            return changed[:limit]
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        _change(found, others, chance)
    return bytes(found[:limit])


def _change(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.randrange(256)
        case 2:
            data[at:at] = chance.choice(_WORDS)
        case 3:
            del data[at : at + chance.randint(1, 16)]
        case 4:
            number = chance.choice(_NUMBERS) & 2**64 - 1
            size = chance.choice((1, 2, 4, 8))
            data[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(
                size, chance.choice(("little", "big"))
            )
        case 5:
            other = chance.choice(others)
            begin = chance.randrange(len(other) + 1)
            data[at : at + chance.randint(0, 64)] = other[begin : begin + chance.randint(1, 64)]
        case _:
            begin = chance.randrange(len(data) + 1)
            data[at:at] = data[begin : begin + chance.randint(1, 64)]


def _mutate_json(data: bytes, chance: random.Random) -> bytes | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(chance.randint(1, 2)):
        places = list(_places(value))
        if places:
            holder, key = chance.choice(places)
            _set(holder, key, chance)
    return json.dumps(value).encode()


def _set(holder: "dict[str, object] | list[object]", key: "str | int", chance: random.Random) -> None:
    if chance.random() < 0.25:
        del holder[key]  # type: ignore[arg-type]
    elif isinstance(holder, list) and chance.random() < 0.2:
        holder.extend([holder[key]] * chance.randint(1, 20))  # type: ignore[index]
    else:
        holder[key] = chance.choice(_VALUES)  # type: ignore[index]


def _places(value: object) -> "list[tuple[dict[str, object] | list[object], str | int]]":
    found: list[tuple[dict[str, object] | list[object], str | int]] = []
    if isinstance(value, dict):
        found += [(value, key) for key in value]
    elif isinstance(value, list):
        found += [(value, place) for place in range(len(value))]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found += _places(inner)
    return found
