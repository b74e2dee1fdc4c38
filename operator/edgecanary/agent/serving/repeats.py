"""Requests that say the same as an earlier one but for the elements of their tensors, and their answers.

A client asks a model again and again in the same words, which need to be read and written once. Where the elements
are is plain with binary tensors. In JSON a request is cut around the first list of `data`; that a cut is right is shown
by reading the words around an empty list, and whoever is cut elsewhere is read as a whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from edgecanary.agent.runtime.base import Array
from edgecanary.agent.serving import decoding, encoding
from edgecanary.agent.serving.decoding import BinaryInput, InferRequest, WantedOutput
from edgecanary.agent.serving.encoding import Encoded, Frame
from edgecanary.agent.serving.jsonreading import ListReader
from edgecanary.agent.tensors import TensorType

_MOST_KNOWN = 32
_MOST_BYTES = 4096
"""Of the words of one request."""
_MOST_FRAMES = 8
_DATA = b'"data"'

_K = TypeVar("_K")
_V = TypeVar("_V")
_Form: TypeAlias = tuple[object, ...]
"""What the words of an answer depend on: what the client called the model, and the outputs' shapes and types."""


@dataclass(frozen=True)
class _JsonInput:
    """The only input of a request, whose numbers stand in the JSON."""

    name: str
    dtype: "np.dtype[np.generic]"
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Words:
    """What a request says besides the elements of its tensors."""

    id: str | None
    inputs: tuple[BinaryInput, ...] | _JsonInput
    outputs: tuple[WantedOutput, ...]
    frames: dict[_Form, Frame] = field(default_factory=dict)
    """Those of the answers so far."""


@dataclass(frozen=True)
class _Repeated(InferRequest):
    """A request in known words."""

    words: _Words | None = None


class Repeats:
    """Reads the requests to one revision and writes its answers. For the model's thread."""

    def __init__(self, revision: str, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> None:
        self._revision = revision
        self._inputs = inputs
        self._outputs = outputs
        self._known: dict[tuple[bytes, bytes | None], _Words | None] = {}
        """By what stands before and after the elements; None for words that were not looked at yet."""
        self._lists = ListReader()

    def decode(self, body: bytearray, json_length: int | None) -> InferRequest:
        """Reads a request as `decoding.decode` does. Raises HttpFault 400."""
        if json_length is None:
            return self._decode_json(body)
        if json_length > min(len(body), _MOST_BYTES):
            return self._decode(body, json_length)
        view = memoryview(body)
        said = bytes(view[:json_length]), None
        words = self._known.get(said)
        if words is not None and isinstance(words.inputs, tuple):
            feeds = decoding.decode_binary(words.inputs, view[json_length:])
            return _Repeated(words.id, feeds, words.outputs, words.inputs, words)
        request = self._decode(body, json_length)
        if request.binary:
            _put(self._known, said, _Words(request.id, request.binary, request.outputs), _MOST_KNOWN)
        return request

    def encode(self, name: str, request: InferRequest, arrays: Mapping[str, Array]) -> Encoded:
        """Writes an answer as `encoding.encode` does."""
        words = request.words if isinstance(request, _Repeated) else None
        if words is None:
            return encoding.encode(name, self._revision, request, arrays)
        given = [arrays[wanted.name] for wanted in words.outputs]
        form = (name, *((array.shape, array.dtype) for array in given))
        frame = words.frames.get(form)
        if frame is None:
            frame = encoding.frame(name, self._revision, words.id, words.outputs, given)
            # The length of texts is not in their shape.
            if not any(array.dtype.hasobject for array in given):
                _put(words.frames, form, frame, _MOST_FRAMES)
        return encoding.fill(frame, words.outputs, given)

    def _decode(self, body: bytearray, json_length: int | None) -> InferRequest:
        return decoding.decode(body, json_length, self._inputs, self._outputs)

    def _decode_json(self, body: bytearray) -> InferRequest:
        begin = body.find(b"[", body.find(_DATA) + 1)
        end = body.find(b"]", begin) + 1
        if not 0 < begin < end or max(begin, len(body) - end) > _MOST_BYTES:
            return self._decode(body, None)
        view = memoryview(body)
        said = bytes(view[:begin]), bytes(view[end:])
        words = self._known.get(said)
        if words is not None and isinstance(words.inputs, _JsonInput):
            wanted = words.inputs
            numbers = self._lists.read(view[begin:end], wanted.dtype, wanted.shape)
            if numbers is not None:
                return _Repeated(words.id, {wanted.name: numbers}, words.outputs, (), words)
            return self._decode(body, None)
        request = self._decode(body, None)
        # Looked at when they come again: an identifier of its own in each request is never worth it.
        again = said in self._known
        _put(self._known, said, _learned(request, *said) if again else None, _MOST_KNOWN)
        return request


def _learned(request: InferRequest, before: bytes, after: bytes) -> _Words | None:
    """The words of a request that was cut so, if that is where the elements of its only input are."""
    # A request that was read has elements; without them is who was cut there, and nobody else.
    if _data(b"".join([before, b"[]", after])) != []:
        return None
    ((name, array),) = request.feeds.items()
    return _Words(request.id, _JsonInput(name, array.dtype, array.shape), request.outputs)


def _data(body: bytes) -> object:
    """What a request says are the elements of its only input; None where it has no such thing."""
    try:
        (tensor,) = json.loads(body.decode())["inputs"]
        return tensor["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _put(known: dict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Keeps one more; of too many none, since whoever says something new each time says it once."""
    if len(known) >= most and key not in known:
        known.clear()
    known[key] = value
