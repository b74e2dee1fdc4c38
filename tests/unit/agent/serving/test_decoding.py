"""Decoding against whatever a client may send: a request or a 400, and nothing else."""

import json
from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.agent.serving import decoding
from edgecanary.agent.serving.app import decode_feedback
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.tensors import NUMPY_TYPES, TensorType, shape_fits

INPUTS = tuple(TensorType(dtype.lower(), dtype, (-1, 2)) for dtype in NUMPY_TYPES)
NAMES = st.sampled_from([tensor.name for tensor in INPUTS])

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {"name": NAMES | anything, "datatype": st.sampled_from(sorted(NUMPY_TYPES)) | anything},
    optional={
        "shape": st.just([1, 2]) | st.just([2, 2]) | anything,
        "data": st.lists(scalars, min_size=2, max_size=4) | anything,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(0, 20) | anything}) | anything,
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=4) | anything},
    optional={"id": anything, "outputs": anything, "parameters": anything},
)


def refusal(decode: Callable[[], object]) -> int | None:
    """The status with which it was refused, None when it was decoded."""
    try:
        decode()
    except HttpFault as fault:
        return fault.status
    return None


def decode_or_refuse(body: bytes, json_length: int | None, inputs: tuple[TensorType, ...] = INPUTS) -> None:
    def decode() -> None:
        request = decoding.decode(bytearray(body), json_length, inputs, inputs)
        for tensor in inputs:
            array = request.feeds[tensor.name]
            assert array.dtype == np.dtype(NUMPY_TYPES[tensor.dtype])
            assert shape_fits(array.shape, tensor.shape)

    assert refusal(decode) in {None, 400}


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_any_bytes_are_decoded_or_refused(body: bytes, json_length: int | None) -> None:
    decode_or_refuse(body, json_length)


@settings(max_examples=100)
@given(requests, st.binary(max_size=40), st.booleans())
def test_any_request_object_is_decoded_or_refused(request: object, tail: bytes, binary: bool) -> None:
    head = json.dumps(request).encode()
    decode_or_refuse(head + tail if binary else head, len(head) if binary else None)


@settings(max_examples=100)
@given(st.sampled_from(INPUTS), st.data())
def test_any_data_for_one_tensor_is_decoded_or_refused(tensor: TensorType, data: st.DataObject) -> None:
    values = data.draw(st.lists(scalars, min_size=2, max_size=2) | anything)
    item = {"name": tensor.name, "datatype": tensor.dtype, "shape": [1, 2], "data": values}
    decode_or_refuse(json.dumps({"inputs": [item]}).encode(), None, (tensor,))


@given(st.binary(max_size=100) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_feedback_is_decoded_or_refused(body: bytes) -> None:
    assert refusal(lambda: decode_feedback(bytearray(body))) in {None, 400}
