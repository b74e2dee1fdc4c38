"""Requests in JSON mean the same to the native parser as to Python's own, which stays the judge."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import simdjson
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.agent.serving import decoding, jsonreading
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.tensors import NUMPY_TYPES, TensorType

NUMERIC = sorted(set(NUMPY_TYPES) - {"BYTES", "BOOL"})
integers = st.integers(-(2**70), 2**70) | st.integers(-130, 260)
numbers = (
    integers | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, -0.0, 1e39, 1e-46])
)
values: st.SearchStrategy[object] = numbers | st.sampled_from([True, None, "1", [1], [], {}])


class NoNumbers(Exception):
    """The list was made into Python objects."""


def outcome(body: bytes, tensor: TensorType) -> tuple[str, bytes]:
    """The type and bytes of the decoded input, or the refusal."""
    try:
        array = decoding.decode(bytearray(body), None, (tensor,), (tensor,)).feeds[tensor.name]
    except HttpFault as fault:
        return fault.message, b""
    return f"{array.dtype}{array.shape}", array.tobytes()


def by_python(body: bytes, tensor: TensorType) -> tuple[str, bytes]:
    """The same without the native parser."""
    with patch.object(simdjson, "Parser", side_effect=ValueError):
        return outcome(body, tensor)


def body_of(data: object, datatype: str, shape: list[int], **more: object) -> bytes:
    item = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"inputs": [item]} | more).encode()


@settings(max_examples=300)
@given(st.sampled_from(NUMERIC), st.lists(numbers, min_size=2, max_size=2) | st.lists(values, max_size=4))
def test_both_parsers_give_the_same_arrays_and_the_same_refusals(datatype: str, data: list[object]) -> None:
    body = body_of(data, datatype, [1, 2])
    tensor = TensorType("x", datatype, (-1, 2))
    assert outcome(body, tensor) == by_python(body, tensor)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_plain_numbers_are_not_made_into_python_objects(datatype: str) -> None:
    with (
        patch.object(jsonreading.Numbers, "values", side_effect=NoNumbers),
        patch.object(decoding, "_flatten", side_effect=NoNumbers),
    ):
        kind, data = outcome(body_of([1, 2], datatype, [1, 2]), TensorType("x", datatype, (-1, 2)))
    assert kind == f"{np.dtype(NUMPY_TYPES[datatype])}(1, 2)"
    assert np.frombuffer(data, NUMPY_TYPES[datatype]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("data", "accepted"),
    [([[1.5, 2], [3, 4]], True), ([1.5, 2, 3, 4], True), ([1, [2], 3, 4], False), ([[1, 2, 3], [4]], False)],
)
def test_lists_within_the_data_must_be_as_the_shape_says(data: list[object], *, accepted: bool) -> None:
    tensor = TensorType("x", "FP32", (-1, 2))
    for more in ({}, {"outputs": [{"name": "x"}]}, {"parameters": {"note": "[["}}):
        body = body_of(data, "FP32", [2, 2], **more)
        kind, _ = outcome(body, tensor)
        assert (kind == "float32(2, 2)") == accepted
        assert outcome(body, tensor) == by_python(body, tensor)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + body_of([1], "FP32", [1]),
        body_of([1], "FP32", [1]) + b" x",
        body_of([float("nan")], "FP32", [1]),
        body_of([1], "FP32", [1])[:-1],
        b'{"inputs":' + b"[" * 2000 + b"]" * 2000 + b"}",
        body_of([2**64], "UINT64", [1]),
        body_of([1e300], "FP32", [1]),
        body_of([70000], "FP16", [1]),
        b'{"inputs":[],"inputs":%b' % body_of([1], "FP32", [1]).removeprefix(b'{"inputs":'),
        body_of([1], "FP32", [1]).replace(b'"data"', b'"data":[2,3],"data"'),
        body_of([1], "FP32", [1], id="\ud800"),
    ],
)
def test_odd_requests_mean_what_python_reads_in_them(body: bytes) -> None:
    datatype = json.loads(body)["inputs"][0]["datatype"] if body.endswith(b"}]}") else "FP32"
    tensor = TensorType("x", datatype, (-1,))
    assert outcome(body, tensor) == by_python(body, tensor)
