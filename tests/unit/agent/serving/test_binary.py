"""The binary tensor extension, with every element type through a real runtime."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecanary.agent.serving import decoding
from edgecanary.agent.serving.encoding import to_binary
from edgecanary.agent.tensors import NUMPY_TYPES, TensorType
from edgecanary.api.artifacts import DataType
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    adding_model,
    identity_model,
    install,
    logarithm_model,
    row_io,
)
from tests.unit.agent.serving.harness import Answer, Json, Node, output_data

Values = npt.NDArray[np.generic]

EXTREMES: dict[DataType, list[object]] = {
    DataType.BOOL: [True, False, False, True],
    DataType.UINT8: [0, 1, 254, 255],
    DataType.UINT16: [0, 1, 256, 65535],
    DataType.UINT32: [0, 1, 2**16, 2**32 - 1],
    DataType.UINT64: [0, 1, 2**32, 2**64 - 1],
    DataType.INT8: [-128, -1, 0, 127],
    DataType.INT16: [-(2**15), -1, 0, 2**15 - 1],
    DataType.INT32: [-(2**31), -1, 0, 2**31 - 1],
    DataType.INT64: [-(2**63), -1, 0, 2**63 - 1],
    DataType.FP16: [-65504.0, -0.5, 0.0, 65504.0],
    DataType.FP32: [-3.4e38, -0.1, 0.0, 1e-38],
    DataType.FP64: [-1.7e308, -0.1, 0.0, 5e-324],
    DataType.BYTES: ["", "a", "grün", "\N{SNOWMAN}\x00x"],
}


def request(header: Json, *tensors: bytes) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(header).encode()
    return b"".join([head, *tensors]), {"Inference-Header-Content-Length": str(len(head))}


def binary_input(datatype: str, shape: list[int], size: int, name: str = "x") -> Json:
    return {
        "name": name,
        "datatype": datatype,
        "shape": [*shape],
        "parameters": {"binary_data_size": size},
    }


async def post(node: Node, header: Json, *tensors: bytes) -> Answer:
    body, headers = request(header, *tensors)
    return await node.call("POST", "/v2/models/pump/infer", body, headers)


def split(answer: Answer) -> tuple[Json, bytes]:
    length = int(answer.headers["inference-header-content-length"])
    return Answer(answer.status, answer.body[:length]).json, answer.body[length:]


@pytest.mark.parametrize("dtype", list(DataType))
async def test_every_type_comes_back_as_it_went_in_both_as_binary_and_as_json(
    node: Node, tmp_path: Path, dtype: DataType
) -> None:
    await node.server.activate(install(tmp_path, identity_model(dtype), row_io(dtype=dtype)))
    values = np.array([EXTREMES[dtype]], dtype=NUMPY_TYPES[dtype])
    data = to_binary(values)
    header: Json = {
        "inputs": [binary_input(dtype, [1, 4], len(data))],
        "parameters": {"binary_data_output": True},
    }
    answer = await post(node, header, data)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    head, tail = split(answer)
    assert head["outputs"] == [
        {"name": "y", "shape": [1, 4], "datatype": dtype, "parameters": {"binary_data_size": len(data)}}
    ]
    assert tail == data

    as_json = await node.infer(
        {"inputs": [{"name": "x", "datatype": dtype, "shape": [1, 4], "data": values[0].tolist()}]}
    )
    assert as_json.status == 200, as_json.body
    assert np.array([output_data(as_json)], dtype=NUMPY_TYPES[dtype]).tolist() == values.tolist()
    assert as_json.json["outputs"] == [
        {"name": "y", "shape": [1, 4], "datatype": dtype, "data": output_data(as_json)}
    ]


def test_binary_data_is_little_endian_row_major_and_texts_follow_their_length() -> None:
    assert to_binary(np.array([[1, 2], [3, 4]], ">i2")) == b"\x01\0\x02\0\x03\0\x04\0"
    assert to_binary(np.array([[1, 2], [3, 4]], "<i2").T) == b"\x01\0\x03\0\x02\0\x04\0"
    assert to_binary(np.array([True, False])) == b"\x01\0"
    assert to_binary(np.array(["ja", ""], dtype=object)) == b"\x02\0\0\0ja\0\0\0\0"


async def test_json_and_binary_tensors_may_be_mixed_in_both_directions(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    data = np.array([[1, 2, 3, 4]], "<f4").tobytes()
    json_out = await post(node, {"inputs": [binary_input("FP32", [1, 4], 16)]}, data)
    assert json_out.headers["content-type"] == "application/json"
    assert json_out.json["outputs"] == [
        {"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [3, 4, 5, 6]}
    ]
    asked: Json = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    head, tail = split(await node.infer(asked))
    assert np.frombuffer(tail, "<f4").tolist() == [3, 4, 5, 6]
    overruled = asked | {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
    }
    assert (await node.infer(overruled)).headers["content-type"] == "application/json"
    assert head["model_version"] == REVISION_A


def test_tensors_that_start_at_odd_bytes_are_moved_to_where_every_processor_reads_them() -> None:
    tensors = (TensorType("x", "FP64", (-1, 4)),)
    for padding in range(8):
        header: Json = {"id": "i" * padding, "inputs": [binary_input("FP64", [1, 4], 32)]}
        body, headers = request(header, bytes(32))
        length = int(headers["Inference-Header-Content-Length"])
        assert decoding.decode(bytearray(body), length, tensors, tensors).feeds["x"].flags.aligned


async def test_tensors_that_start_at_odd_bytes_are_read(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, identity_model(DataType.FP64), row_io(dtype=DataType.FP64)))
    values = np.array([[1.5, 2.5, 3.5, 4.5]])
    for padding in range(8):
        header: Json = {"id": "i" * padding, "inputs": [binary_input("FP64", [1, 4], 32)]}
        answer = await post(node, header, values.tobytes())
        assert answer.json["outputs"] == [
            {"name": "y", "shape": [1, 4], "datatype": "FP64", "data": [1.5, 2.5, 3.5, 4.5]}
        ]


@pytest.mark.parametrize(
    ("size", "data", "words"),
    [
        (16, b"x" * 15, "binary_data_size: is 16, but only 15 bytes of the body are left"),
        (12, b"x" * 12, "binary_data_size: is 12, must be 16 for FP32 [1, 4]"),
        (16, b"x" * 17, "the body: has 1 bytes after the last tensor"),
        (-1, b"x" * 16, "binary_data_size: is -1, must be a number of bytes"),
        (True, b"x" * 16, "binary_data_size: is true, must be a number of bytes"),
    ],
)
async def test_sizes_that_do_not_add_up_are_refused(
    node: Node, tmp_path: Path, size: int, data: bytes, words: str
) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    answer = await post(node, {"inputs": [binary_input("FP32", [1, 4], size)]}, data)
    assert answer.status == 400
    assert words in answer.error


async def test_binary_and_json_data_for_one_tensor_are_refused(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    both = binary_input("FP32", [1, 4], 16) | {"data": [1, 2, 3, 4]}
    answer = await post(node, {"inputs": [both]}, bytes(16))
    assert "data: must be absent when binary_data_size is given" in answer.error


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("100000", "Inference-Header-Content-Length: is 100000, but the body has"),
        ("-1", "Inference-Header-Content-Length: is '-1', must be a number of bytes"),
        ("ten", "Inference-Header-Content-Length: is 'ten', must be a number of bytes"),
        ("3", "the request: must be JSON"),
    ],
)
async def test_a_wrong_json_length_is_refused(node: Node, tmp_path: Path, value: str, words: str) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    headers = {"Inference-Header-Content-Length": value}
    answer = await node.call("POST", "/v2/models/pump/infer", b'{"inputs":[]}', headers)
    assert answer.status == 400
    assert words in answer.error


@pytest.mark.parametrize(
    "data",
    [b"", b"\x04\0\0\0ab", b"\xff\xff\xff\xffab", b"\x01\0\0\0\xff", b"\0\0", b"\x01\0\0\0a\x01\0\0\0b"],
    ids=["nothing", "cut short", "huge length", "not UTF-8", "half a length", "one too many"],
)
async def test_broken_texts_are_refused(node: Node, tmp_path: Path, data: bytes) -> None:
    await node.server.activate(
        install(tmp_path, identity_model(DataType.BYTES), row_io(dtype=DataType.BYTES))
    )
    one = {"name": "x", "datatype": "BYTES", "shape": [1, 4], "parameters": {"binary_data_size": len(data)}}
    answer = await post(node, {"inputs": [one]}, data)  # type: ignore[list-item]
    assert answer.status == 400
    assert "inputs[0] (x)" in answer.error


async def test_binary_booleans_must_be_0_or_1(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, identity_model(DataType.BOOL), row_io(dtype=DataType.BOOL)))
    answer = await post(node, {"inputs": [binary_input("BOOL", [1, 4], 4)]}, b"\0\x01\x02\0")
    assert (answer.status, answer.error) == (400, "inputs[0] (x): binary BOOL data must be bytes of 0 or 1")


async def test_an_answer_spoiled_by_the_clients_own_nan_is_not_the_models_error(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    data = np.array([[1, 2, np.nan, 4]], "<f4").tobytes()
    answer = await post(node, {"inputs": [binary_input("FP32", [1, 4], 16)]}, data)
    assert answer.status == 400
    assert "inputs (x): has values that are not finite" in answer.error
    assert node.server.counters(KEY, REVISION_A).requests == 0


async def test_a_nan_that_the_model_itself_makes_is_its_error(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, logarithm_model(), row_io()))
    data = np.array([[1, 2, -1, 4]], "<f4").tobytes()
    answer = await post(node, {"inputs": [binary_input("FP32", [1, 4], 16)]}, data)
    assert answer.status == 500
    assert node.server.counters(KEY, REVISION_A).errors == 1
