"""Inference requests of the Open Inference Protocol v2: JSON, and the binary tensor extension.

Knows bytes and arrays, and nothing of HTTP but the length of the JSON part.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeGuard

import numpy as np

from edgecanary.agent.runtime.base import Array
from edgecanary.agent.serving import jsonreading
from edgecanary.agent.serving.jsonreading import Numbers
from edgecanary.agent.serving.messages import MAX_ID_LENGTH, HttpFault
from edgecanary.agent.tensors import ANY, NUMPY_TYPES, TensorType, shape_fits

_JSON_TYPES: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_REFUSED = {
    "classification": "is not supported: ask for the output itself and take its largest values",
    "shared_memory_region": "is not supported: send the tensor in the request",
    "sequence_id": "is not supported: a model here keeps nothing between two requests",
}
"""Parameters that change what an answer means, so that they must not be passed over."""
_RULES = {"b": "true or false", "i": "integers", "u": "integers", "f": "numbers", "O": "strings"}


_NONE: Mapping[str, object] = {}
_PLAIN = (str, int, float)


@dataclass(frozen=True)
class WantedOutput:
    """An output that the client asked for."""

    name: str
    binary: bool


@dataclass(frozen=True)
class BinaryInput:
    """An input whose elements stand behind the JSON."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    """In bytes."""
    field: str
    """What errors call it."""


@dataclass(frozen=True)
class InferRequest:
    """A decoded inference request."""

    id: str | None
    feeds: Mapping[str, Array]
    outputs: tuple[WantedOutput, ...]
    binary: tuple[BinaryInput, ...] = ()
    """The inputs as they came, where all of them are binary."""


def decode(
    body: bytearray, json_length: int | None, inputs: Sequence[TensorType], outputs: Sequence[TensorType]
) -> InferRequest:
    """Reads a request for a model with these tensors; `json_length` is the binary extension's header.

    Raises HttpFault 400, naming the field, the value and the rule.
    """
    if json_length is not None and json_length > len(body):
        raise _bad("Inference-Header-Content-Length", f"is {json_length}, but the body has {len(body)} bytes")
    tail = None
    if json_length is None:
        request = _object(_parse(body), "the request")
    else:
        view = memoryview(body)
        request = _object(_parse(view[:json_length]), "the request")
        tail = _Tail(view[json_length:])
    request_id = request.get("id")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= MAX_ID_LENGTH):
        raise _bad("id", f"must be a string of at most {MAX_ID_LENGTH} characters")
    binary: list[BinaryInput] = []
    feeds = _decode_inputs(request.get("inputs"), inputs, tail, binary)
    if tail is not None:
        tail.check_used_up()
    whole = tuple(binary) if len(binary) == len(feeds) else ()
    return InferRequest(request_id, feeds, _decode_outputs(request, outputs), whole)


def decode_binary(inputs: Sequence[BinaryInput], data: memoryview) -> dict[str, Array]:
    """The tensors of a request whose JSON describes them so; `data` is what stands behind it.

    Raises HttpFault 400 as `decode` does.
    """
    tail = _Tail(data)
    feeds = {item.name: _from_binary(tail, item) for item in inputs}
    tail.check_used_up()
    return feeds


class _Tail:
    """The binary tensors that follow the JSON, in the order of the inputs."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def take(self, size: int, field: str) -> memoryview:
        left = len(self._view) - self._at
        if size > left:
            raise _bad(f"{field}.binary_data_size", f"is {size}, but only {left} bytes of the body are left")
        self._at += size
        return self._view[self._at - size : self._at]

    def check_used_up(self) -> None:
        left = len(self._view) - self._at
        if left:
            raise _bad("the body", f"has {left} bytes after the last tensor; binary_data_size must cover all")


def _parse(data: bytearray | memoryview) -> object:
    try:
        return jsonreading.parse(data)
    except RecursionError:
        raise _bad("the request", "must not be nested so deeply") from None
    except ValueError as error:
        raise _bad("the request", f"must be JSON: {error}") from None


def _decode_inputs(
    items: object, inputs: Sequence[TensorType], tail: _Tail | None, binary: list[BinaryInput]
) -> dict[str, Array]:
    """The tensors by name. Adds those that stand behind the JSON to `binary`."""
    if not isinstance(items, list):
        raise _bad("inputs", "must be a list of tensors")
    wanted = {tensor.name: tensor for tensor in inputs}
    feeds: dict[str, Array] = {}
    for index, item in enumerate(items):
        field = f"inputs[{index}]"
        content = _object(item, field)
        name = content.get("name")
        if not isinstance(name, str) or name not in wanted:
            raise _bad(f"{field}.name", f"is {_shown(name)}, must be one of {_listed(wanted)}")
        if name in feeds:
            raise _bad(f"{field}.name", f"{name!r} is there twice")
        feeds[name] = _decode_input(content, wanted[name], f"{field} ({name})", tail, binary)
    missing = [name for name in wanted if name not in feeds]
    if missing:
        raise _bad("inputs", f"{missing[0]!r} is missing; the model takes {_listed(wanted)}")
    return feeds


def _decode_input(
    content: Mapping[str, object],
    tensor: TensorType,
    field: str,
    tail: _Tail | None,
    binary: list[BinaryInput],
) -> Array:
    if content.get("datatype") != tensor.dtype:
        raise _bad(f"{field}.datatype", f"is {_shown(content.get('datatype'))}, must be {tensor.dtype}")
    shape = _shape(content.get("shape"), tensor, field)
    size = _parameters(content, field).get("binary_data_size")
    if size is None:
        if "data" not in content:
            raise _bad(f"{field}.data", "is missing")
        return _from_json(content["data"], shape, tensor.dtype, f"{field}.data")
    if tail is None:
        raise _bad(
            f"{field}.binary_data_size", "needs the header Inference-Header-Content-Length on the request"
        )
    if "data" in content:
        raise _bad(f"{field}.data", "must be absent when binary_data_size is given")
    if not _is_int(size) or size < 0:
        raise _bad(f"{field}.binary_data_size", f"is {_shown(size)}, must be a number of bytes")
    binary.append(BinaryInput(tensor.name, tensor.dtype, shape, size, field))
    return _from_binary(tail, binary[-1])


def _shape(value: object, tensor: TensorType, field: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(_is_int(length) and length >= 1 for length in value):
        raise _bad(f"{field}.shape", f"is {_shown(value)}, must be a list of integers of 1 or more")
    shape = tuple(value)
    if not shape_fits(shape, tensor.shape):
        raise _bad(f"{field}.shape", f"is {_shown(value)}, must be {list(tensor.shape)} ({ANY} accepts any)")
    return shape


def _from_json(data: object, shape: tuple[int, ...], dtype: str, field: str) -> Array:
    target = np.dtype(NUMPY_TYPES[dtype])
    if isinstance(data, Numbers):
        numbers = data.read(target, math.prod(shape))
        if numbers is not None:
            return numbers.reshape(shape)
        data = data.values()
    flat = _flatten(data, shape, field)
    if not set(map(type, flat)) <= _JSON_TYPES[target.kind]:
        wrong = next(item for item in flat if type(item) not in _JSON_TYPES[target.kind])
        raise _bad(field, f"has {_shown(wrong)}, all values must be {_RULES[target.kind]} for {dtype}")
    with np.errstate(over="ignore"):
        try:
            array = np.array(flat, dtype=target).reshape(shape)
        except OverflowError as error:
            raise _bad(field, f"must fit {dtype}: {error}") from None
    if target.kind == "O":
        _check_encodable(flat, field)
    if target.kind == "f" and not np.isfinite(array).all():
        raise _bad(field, f"has {_shown(flat[int(np.argmin(np.isfinite(array.ravel())))])}, must fit {dtype}")
    return array


def _check_encodable(texts: list[object], field: str) -> None:
    try:
        "".join(map(str, texts)).encode()
    except UnicodeEncodeError:
        raise _bad(field, "has half a surrogate pair, all values must be whole characters") from None


def _flatten(data: object, shape: tuple[int, ...], field: str) -> list[object]:
    """The values in row-major order, from a flat list or from lists nested as the shape says."""
    if not isinstance(data, list):
        raise _bad(field, "must be a list of values")
    level: list[object] = data
    if level and isinstance(level[0], list):
        for depth, length in enumerate(shape[1:], start=1):
            _check_count(level, math.prod(shape[:depth]), field)
            rows = [item for item in level if isinstance(item, list) and len(item) == length]
            if len(rows) != len(level):
                raise _bad(field, f"must be a flat list, or nested as its shape {list(shape)}")
            level = list(chain.from_iterable(rows))
    _check_count(level, math.prod(shape), field)
    return level


def _from_binary(tail: _Tail, item: BinaryInput) -> Array:
    data, count = tail.take(item.size, item.field), math.prod(item.shape)
    if item.dtype == "BYTES":
        return np.array(_texts(data, count, item.field), dtype=object).reshape(item.shape)
    target = np.dtype(NUMPY_TYPES[item.dtype])
    if item.size != count * target.itemsize:
        raise _bad(
            f"{item.field}.binary_data_size",
            f"is {item.size}, must be {count * target.itemsize} for {item.dtype} {list(item.shape)}",
        )
    if item.dtype == "BOOL" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise _bad(item.field, "binary BOOL data must be bytes of 0 or 1")
    # Binary tensors may start at any byte, which not every processor reads.
    array = np.frombuffer(data, target).reshape(item.shape)
    return array if array.flags.aligned else array.copy()


def _texts(data: memoryview, count: int, field: str) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(data) and len(texts) < count:
        start = at + 4
        at = start + int.from_bytes(data[at:start], "little")
        try:
            texts.append(bytes(data[start:at]).decode())
        except UnicodeDecodeError as error:
            raise _bad(field, f"element {len(texts)} must be UTF-8: {error}") from None
    if at != len(data) or len(texts) != count:
        raise _bad(field, f"binary BYTES data must be {count} texts, each after its length in 4 bytes")
    return texts


def _decode_outputs(request: Mapping[str, object], outputs: Sequence[TensorType]) -> tuple[WantedOutput, ...]:
    binary = _flag(_parameters(request, "the request"), "binary_data_output", default=False)
    known = {tensor.name: tensor for tensor in outputs}
    items = request.get("outputs")
    if items is None:
        return tuple(WantedOutput(name, binary) for name in known)
    if not isinstance(items, list) or not items:
        raise _bad("outputs", "must be a list of outputs, or absent for all of them")
    wanted: dict[str, WantedOutput] = {}
    for index, item in enumerate(items):
        field = f"outputs[{index}]"
        content = _object(item, field)
        name = content.get("name")
        if not isinstance(name, str) or name not in known:
            raise _bad(f"{field}.name", f"is {_shown(name)}, must be one of {_listed(known)}")
        if name in wanted:
            raise _bad(f"{field}.name", f"{name!r} is there twice")
        wanted[name] = WantedOutput(name, _flag(_parameters(content, field), "binary_data", default=binary))
    return tuple(wanted.values())


def _flag(parameters: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise _bad(f"parameters.{name}", f"is {_shown(value)}, must be true or false")
    return value


def _parameters(content: Mapping[str, object], field: str) -> Mapping[str, object]:
    parameters = _object(content.get("parameters", _NONE), f"{field}.parameters")
    for name, value in parameters.items():
        if not isinstance(value, _PLAIN):
            raise _bad(
                f"{field}.parameters.{name}", f"is {_shown(value)}, must be a text, a number, true or false"
            )
        if name in _REFUSED:
            raise _bad(f"{field}.parameters.{name}", _REFUSED[name])
    return parameters


def _object(value: object, field: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _bad(field, "must be a JSON object")
    return value


def _check_count(values: list[object], count: int, field: str) -> None:
    if len(values) != count:
        raise _bad(field, f"has {len(values)} values where its shape must have {count}")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in names)


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bad(field: str, rule: str) -> HttpFault:
    return HttpFault(400, f"{field}: {rule}")
