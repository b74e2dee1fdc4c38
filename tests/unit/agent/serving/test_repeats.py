"""Requests in known words are read and answered as if they were the first of their kind."""

import json
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.agent.runtime.base import Array
from edgecanary.agent.serving import decoding, encoding
from edgecanary.agent.serving.decoding import InferRequest
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.serving.repeats import Repeats
from edgecanary.agent.tensors import NUMPY_TYPES, TensorType
from tests.unit.agent.serving.test_binary import binary_input

INPUTS = (TensorType("x", "FP32", (-1, 4)), TensorType("t", "BYTES", (-1,)))
OUTPUTS = (TensorType("y", "FP32", (-1, 4)), TensorType("u", "BYTES", (-1,)))
NUMBERS = (
    TensorType("f", "FP32", (-1, 2)),
    TensorType("i", "INT8", (2,)),
    TensorType("b", "BOOL", (2,)),
    TensorType("t", "BYTES", (2,)),
)
TEXTS = [b"\x02\0\0\0ja", b"\x04\0\0\0nein", b"\0\0\0\0"]


def words(rows: int, text: bytes, *, binary: bool, request_id: str | None = None) -> bytes:
    """The JSON of a request."""
    said: dict[str, object] = {
        "inputs": [binary_input("FP32", [rows, 4], 16 * rows), binary_input("BYTES", [1], len(text), "t")],
        "parameters": {"binary_data_output": binary},
    }
    return json.dumps(said if request_id is None else said | {"id": request_id}).encode()


def outcome(read: Callable[[], InferRequest]) -> object:
    """What was read, or how it was refused."""
    try:
        request = read()
    except HttpFault as fault:
        return fault.status, fault.message
    arrays = {name: (array.dtype, array.shape, array.tolist()) for name, array in request.feeds.items()}
    return request.id, arrays, request.outputs, request.binary


class Both:
    """The same requests read with and without a memory."""

    def __init__(self, outputs: tuple[TensorType, ...] = OUTPUTS) -> None:
        self.outputs = outputs
        self.repeats = Repeats("r", INPUTS, outputs)

    def read(self, said: bytes, data: bytes) -> object:
        """What both say of it, which is the same."""
        body = said + data
        plain = outcome(lambda: decoding.decode(bytearray(body), len(said), INPUTS, self.outputs))
        assert outcome(lambda: self.repeats.decode(bytearray(body), len(said))) == plain
        return plain

    def answer(self, said: bytes, data: bytes, value: float, rows: int, text: str) -> bytes:
        """What both answer."""
        body = said + data
        arrays = {
            "y": np.full((rows, 4), value, np.float32),
            "u": np.array([text], dtype=object),
        }
        plain = decoding.decode(bytearray(body), len(said), INPUTS, self.outputs)
        known = self.repeats.decode(bytearray(body), len(said))
        wanted = encoding.encode("m", "r", plain, arrays)
        assert self.repeats.encode("m", known, arrays) == wanted
        return wanted.body


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(TEXTS),
            st.booleans(),
            st.sampled_from([None, "1", "2"]),
            st.binary(max_size=3),
            st.integers(0, 2),
        ),
        max_size=12,
    )
)
def test_requests_are_read_and_refused_as_if_each_were_the_first(
    asked: list[tuple[int, bytes, bool, str | None, bytes, int]],
) -> None:
    both = Both()
    for rows, text, binary, request_id, more, missing in asked:
        said = words(rows, text, binary=binary, request_id=request_id)
        data = np.arange(4 * rows, dtype="<f4").tobytes() + text
        both.read(said, data[: len(data) - missing] + more)


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from(["", "ab", "grün"])), max_size=12),
)
def test_answers_are_written_as_if_each_were_the_first(
    texts: bool, asked: list[tuple[int, bool, str]]
) -> None:
    both = Both(OUTPUTS if texts else OUTPUTS[:1])
    for number, (rows, binary, text) in enumerate(asked):
        said = words(rows, TEXTS[0], binary=binary)
        both.answer(said, bytes(16 * rows) + TEXTS[0], float(number), rows, text)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_every_type_is_read_again_as_it_was_at_first(dtype: str) -> None:
    tensor = (TensorType("x", dtype, (2,)),)
    values = np.array(["a", "bc"] if dtype == "BYTES" else [0, 1], dtype=NUMPY_TYPES[dtype])
    data = encoding.to_binary(values)
    said = json.dumps({"inputs": [binary_input(dtype, [2], len(data))]}).encode()
    repeats = Repeats("r", tensor, tensor)
    for turn in range(3):
        array = repeats.decode(bytearray(said + data), len(said)).feeds["x"]
        assert (array.dtype, array.tolist()) == (values.dtype, values.tolist()), f"read {turn} times before"


def test_an_answer_of_another_shape_has_its_own_words() -> None:
    both = Both(OUTPUTS[:1])
    said = words(1, TEXTS[0], binary=True)
    data = bytes(16) + TEXTS[0]
    answers = [both.answer(said, data, 1.0, rows, "a") for rows in (1, 2, 1, 2)]
    assert answers[0] == answers[2] != answers[1] == answers[3]


def test_who_says_something_new_each_time_fills_no_memory() -> None:
    both = Both()
    for number in range(500):
        both.read(words(1, TEXTS[0], binary=True, request_id=str(number)), bytes(16) + TEXTS[0])
    kept = both.repeats._known
    assert 0 < len(kept) <= 32


@pytest.mark.parametrize("binary", [True, False])
def test_long_words_are_not_kept(binary: bool) -> None:
    repeats = Repeats("r", NUMBERS[:1], NUMBERS[:1])
    item = binary_input("FP32", [1, 2], 8, "f")
    if not binary:
        item = {"name": "f", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    for length, kept in ((5000, 0), (50, 1)):
        said = json.dumps({"note": "n" * length, "inputs": [item]}).encode()
        for _ in range(3):
            repeats.decode(bytearray(said + bytes(8 * binary)), len(said) if binary else None)
        assert len(repeats._known) == kept


def test_the_tensors_of_a_request_are_not_kept() -> None:
    both = Both()
    both.read(words(1, TEXTS[0], binary=True), bytes(16) + TEXTS[0])
    kept = next(iter(both.repeats._known.values()))
    assert not any(isinstance(value, np.ndarray) for value in vars(kept).values())


LISTS = [
    "[3,4]",
    "[1.5,-2e3]",
    "[ 1 , 2 ]",
    "[1,300]",
    "[1e39,0]",
    "[1,2,3,4]",
    "[[1,2]]",
    "[[1,2],[3,4]]",
    "[true,false]",
    '["a","b"]',
    '["]","["]',
    "[1,null]",
    "[]",
    "[1,2",
    "[01,2]",
    "7",
]
FORMS = [
    '{"inputs":[{"name":%s,"datatype":%s,"shape":%s,"data":%s}]}',
    '{"id":"\\"data\\": [1,2]","inputs":[{"name":%s,"datatype":%s,"shape":%s,"data":%s}]}',
    '{"inputs":[{"data":[5,6],"name":%s,"datatype":%s,"shape":%s,"data":%s}]}',
    '{"inputs":[{"name":%s,"datatype":%s,"shape":%s,"data" : %s}],"outputs":[{"name":"f"}]} ',
    '{"parameters":{"data":"[1]"},"inputs":[{"name":%s,"datatype":%s,"shape":%s,"data":%s}]}',
    '{"inputs":[{"name":%s,"datatype":%s,"shape":%s,"parameters":{},"data":%s,"data":[1,2]}]}',
]
SHAPES = {"f": "[1,2]", "i": "[2]", "b": "[2]", "t": "[2]"}


@given(
    st.sampled_from(NUMBERS),
    st.sampled_from(FORMS),
    st.lists(st.tuples(st.sampled_from(LISTS), st.sampled_from(["", "\ufeff", " "])), max_size=8),
)
def test_json_is_read_and_refused_as_if_each_request_were_the_first(
    tensor: TensorType, form: str, asked: list[tuple[str, str]]
) -> None:
    repeats = Repeats("r", (tensor,), NUMBERS)
    good = {"t": '["a","b"]', "b": "[true,false]"}.get(tensor.name, "[3,4]")
    for data, before in [(good, ""), (good, ""), (good, ""), *asked, (good, "")]:
        said = form % (json.dumps(tensor.name), json.dumps(tensor.dtype), SHAPES[tensor.name], data)
        body = bytearray((before + said).encode())
        plain = outcome(partial(decoding.decode, body, None, (tensor,), NUMBERS))
        assert outcome(partial(repeats.decode, body, None)) == plain


def test_numbers_in_known_words_are_not_read_with_the_words() -> None:
    tensor = NUMBERS[0]
    repeats = Repeats("r", (tensor,), (tensor,))
    said = FORMS[0] % ('"f"', '"FP32"', "[1,2]", "[%d,2]")
    with patch.object(decoding, "decode", wraps=decoding.decode) as decode:
        for number in range(5):
            request = repeats.decode(bytearray((said % number).encode()), None)
            assert request.feeds["f"].tolist() == [[number, 2]]
    assert decode.call_count == 2


def test_answers_to_json_are_written_as_if_each_were_the_first() -> None:
    tensor = NUMBERS[0]
    repeats = Repeats("r", (tensor,), NUMBERS)
    body = bytearray((FORMS[0] % ('"f"', '"FP32"', "[1,2]", "[1,2]")).encode())
    for turn in range(6):
        arrays: dict[str, Array] = {
            "f": np.full((1 + turn % 2, 2), turn, np.float32),
            "i": np.array([turn, -1], np.int8),
            "b": np.array([True, False]),
            "t": np.array(["x" * turn, "y"], dtype=object),
        }
        request = repeats.decode(body, None)
        assert repeats.encode("m", request, arrays) == encoding.encode("m", "r", request, arrays)


def test_an_identifier_of_its_own_in_each_request_is_no_reason_to_look_at_the_words() -> None:
    tensor = NUMBERS[0]
    repeats = Repeats("r", (tensor,), (tensor,))
    with patch("edgecanary.agent.serving.repeats._learned") as learned:
        for number in range(100):
            said = FORMS[0] % ('"f"', '"FP32"', "[1,2]", "[1,2]")
            repeats.decode(bytearray(f'{{"id":"{number}",{said[1:]}'.encode()), None)
    learned.assert_not_called()
    assert len(repeats._known) <= 32
