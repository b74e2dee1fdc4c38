"""JSON requests read by a native parser, their numbers straight into arrays without a Python object for each.

What the parser does not take, and what is not plain numbers, is read by Python's own: that one decides what is
valid and says what is wrong, so that this one only has to be fast.
"""

import json
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import orjson
import simdjson

from edgecanary.agent.runtime.base import Array

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BUFFERS: Mapping[str, tuple[Literal["d", "i", "u"], str]] = {
    "f": ("d", "<f8"),
    "i": ("i", "<i8"),
    "u": ("u", "<u8"),
}
"""By numpy's kind of the wanted type: the parser's name of a buffer of numbers, and numpy's."""
_MOST_KEPT_BYTES = 64 * 1024
"""Of a list; the parser's memory is about fourteen times that, and kept for the next one."""
_REFUSED = (ValueError, RuntimeError, TypeError, LookupError, MemoryError)
"""What the parser raises, for whatever reason."""


class Numbers:
    """A list of a request that may be all numbers and was not made into Python objects yet."""

    def __init__(self, array: simdjson.Array) -> None:
        self._array = array

    def values(self) -> list[object]:
        """As Python objects."""
        return list(self._array.as_list())

    def read(self, dtype: "np.dtype[np.generic]", count: int) -> "Array | None":
        """So many numbers of this type; None unless the list is exactly that, and each fits the type."""
        return _read(self._array, dtype, count)


class ListReader:
    """Reads flat lists of numbers one after the other, in memory that is made once. For one thread."""

    def __init__(self) -> None:
        self._parser = simdjson.Parser()

    def read(self, data: memoryview, dtype: "np.dtype[np.generic]", shape: tuple[int, ...]) -> "Array | None":
        """The numbers of a JSON list as an array; None where it is not exactly that, and for texts."""
        parser = self._parser if len(data) <= _MOST_KEPT_BYTES else simdjson.Parser()
        try:
            found = parser.parse(data)
        except _REFUSED:
            return None
        if not isinstance(found, simdjson.Array):
            return None
        numbers = _read(found, dtype, math.prod(shape))
        return None if numbers is None else numbers.reshape(shape)


def _read(found: simdjson.Array, dtype: "np.dtype[np.generic]", count: int) -> "Array | None":
    buffer = _BUFFERS.get(dtype.kind)
    if buffer is None or len(found) != count:
        return None
    try:
        wide = np.frombuffer(found.as_buffer(of_type=buffer[0]), buffer[1])
    except _REFUSED:
        return None
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    fits = np.isfinite(array).all() if dtype.kind == "f" else (array == wide).all()
    return array if fits else None


def parse(data: bytearray | memoryview) -> object:
    """The JSON value. Lists called `data` directly in `inputs` may be Numbers.

    Raises ValueError when it is not JSON, RecursionError when it is nested too deeply.
    """
    try:
        if not isinstance(data, bytearray):
            # Binary tensors follow: there are few numbers in it.
            return orjson.loads(data)
        if not data.startswith(_BYTE_ORDER_MARK):
            found = simdjson.Parser().parse(data)
            if isinstance(found, simdjson.Object):
                return _opened(found, data)
    except _REFUSED:
        pass
    return _DECODER.decode(str(data, "utf-8"))


def _opened(found: simdjson.Object, data: bytearray) -> object:
    request = _members(found)
    inputs = None if request is None else request.get("inputs")
    if request is None or not isinstance(inputs, simdjson.Array):
        return found.as_dict()
    # Lists within `data` would come out flat. With the brackets of a request that has none, there are none.
    if _has_more(data, b"[", 1 + 2 * len(inputs) + ("outputs" in request)):
        return found.as_dict()
    tensors = [_tensor(item) for item in inputs]
    return {name: tensors if name == "inputs" else _plain(value) for name, value in request.items()}


def _has_more(data: bytearray, mark: bytes, count: int) -> bool:
    """Whether the mark occurs more often than that. Much quicker than counting all of them."""
    at = -1
    for _ in range(count + 1):
        at = data.find(mark, at + 1)
        if at < 0:
            return False
    return True


def _members(item: simdjson.Object) -> "dict[str, object] | None":
    """What is in it, unread; None where a name is there twice, of which the last must count."""
    names = list(item)
    members: dict[str, object] = {name: item[name] for name in names}
    return members if len(members) == len(names) else None


def _tensor(item: object) -> object:
    members = _members(item) if isinstance(item, simdjson.Object) else None
    if members is None:
        return _plain(item)
    return {
        name: Numbers(value) if name == "data" and isinstance(value, simdjson.Array) else _plain(value)
        for name, value in members.items()
    }


def _plain(value: object) -> object:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
