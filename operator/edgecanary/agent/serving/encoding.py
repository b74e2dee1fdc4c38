"""Answers of the Open Inference Protocol v2: JSON, and the binary tensor extension."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from edgecanary.agent.runtime.base import Array
from edgecanary.agent.serving.decoding import InferRequest, WantedOutput
from edgecanary.agent.serving.messages import to_json
from edgecanary.agent.tensors import NUMPY_TYPES

_DATATYPES: Mapping[tuple[str, int], str] = {
    (np.dtype(numpy).kind, np.dtype(numpy).itemsize): name for name, numpy in NUMPY_TYPES.items()
}
_HALF = "%.5g"
"""Digits that give an FP16 back; fewer than its value in FP32 has."""


@dataclass(frozen=True)
class Encoded:
    """An answer's body; `json_length` is set when binary tensors follow the JSON."""

    body: bytes
    json_length: int | None


@dataclass(frozen=True)
class Frame:
    """The JSON of an answer without the elements in it."""

    pieces: tuple[bytes, ...]
    """What stands before the elements of each output, and after those of the last one."""


def encode(name: str, revision: str, request: InferRequest, arrays: Mapping[str, Array]) -> Encoded:
    """The answer of the revision of the model that the client called by this name."""
    given = [arrays[wanted.name] for wanted in request.outputs]
    return fill(frame(name, revision, request.id, request.outputs, given), request.outputs, given)


def frame(
    name: str,
    revision: str,
    request_id: str | None,
    outputs: Sequence[WantedOutput],
    arrays: Sequence[Array],
) -> Frame:
    """The frame of an answer with arrays of these shapes and types; of texts, with these very ones."""
    answer = {"model_name": name, "model_version": revision} | (
        {} if request_id is None else {"id": request_id}
    )
    pieces, piece = [], b'%b,"outputs":[' % _json(answer)[:-1]
    for wanted, array in zip(outputs, arrays, strict=True):
        head: dict[str, object] = {
            "name": wanted.name,
            "shape": list(array.shape),
            "datatype": datatype(array),
        }
        if wanted.binary:
            head["parameters"] = {"binary_data_size": _binary_size(array)}
        said = _json(head)
        pieces.append(piece + (said if wanted.binary else said[:-1] + b',"data":['))
        piece = b"," if wanted.binary else b"]},"
    return Frame((*pieces, piece.removesuffix(b",") + b"]}"))


def fill(form: Frame, outputs: Sequence[WantedOutput], arrays: Sequence[Array]) -> Encoded:
    """The answer with these elements."""
    parts: list[bytes] = []
    tail: list[bytes] = []
    for piece, wanted, array in zip(form.pieces, outputs, arrays, strict=False):
        parts.append(piece)
        if wanted.binary:
            tail.append(to_binary(array))
        else:
            parts.append(_values(array))
    parts.append(form.pieces[-1])
    length = sum(map(len, parts)) if tail else None
    return Encoded(b"".join(parts + tail), length)


def datatype(array: Array) -> str:
    """The protocol's name of an array's element type."""
    return _DATATYPES[array.dtype.kind, array.dtype.itemsize]


def to_binary(array: Array) -> bytes:
    """An array as the binary extension writes it: little-endian, row-major; texts with their length before."""
    if array.dtype.kind != "O":
        little = sys.byteorder == "little" and array.dtype.isnative
        return array.tobytes() if little else array.astype(array.dtype.newbyteorder("<")).tobytes()
    texts = [str(item).encode() for item in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _binary_size(array: Array) -> int:
    return array.nbytes if array.dtype.kind != "O" else len(to_binary(array))


def _json(content: Mapping[str, object]) -> bytes:
    """As JSON. Only half a surrogate pair, which a client may have sent, is not for the fast encoder."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return to_json(content)


def _values(array: Array) -> bytes:
    """The elements as JSON, without brackets: numbers in the fewest digits that give them back."""
    flat = array.ravel()
    if flat.dtype.kind == "O":
        return to_json(flat.tolist())[1:-1]
    if flat.dtype.char == "e":
        return ",".join([_HALF] * flat.size).encode() % tuple(flat.tolist())
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
