"""What an ONNX file takes and gives, read without a runtime."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgecanary.api.artifacts import ModelIO
from edgecanary.artifact.onnx_io import check_onnx_io, read_onnx_io
from edgecanary.base.errors import InvalidInput

WHERE = "spec.variants[0].files[0]"


def build(
    *, input_type: int = TensorProto.FLOAT, shape: tuple[int | str | None, ...] = ("batch", 4)
) -> bytes:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 1], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", input_type, list(shape)),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert isinstance(made, onnx.ModelProto)
    return bytes(made.SerializeToString())


def tensors(
    name: str = "x", dtype: str = "FP32", shape: tuple[int, ...] = (-1, 4), output: str = "y"
) -> ModelIO:
    return ModelIO.model_validate(
        {
            "inputs": [{"name": name, "dtype": dtype, "shape": shape}],
            "outputs": [{"name": output, "dtype": "FP32", "shape": [-1, 1]}],
        }
    )


def check(data: bytes, wanted: ModelIO) -> None:
    check_onnx_io(memoryview(data), wanted, field=WHERE)


def test_inputs_that_initializers_fill_are_no_inputs() -> None:
    inputs, outputs = read_onnx_io(memoryview(build()), field=WHERE)
    assert [(t.name, t.shape) for t in inputs] == [("x", (-1, 4))]
    assert [(t.name, t.shape) for t in outputs] == [("y", (-1, 1))]


def test_a_model_with_the_declared_tensors_is_accepted() -> None:
    check(build(), tensors())


def test_an_open_dimension_on_either_side_accepts_the_other() -> None:
    check(build(shape=(None, 4)), tensors(shape=(16, 4)))
    check(build(shape=(16, 4)), tensors(shape=(-1, 4)))


@pytest.mark.parametrize(
    ("data", "wanted", "said"),
    [
        (build(), tensors(name="z"), r"spec.io.inputs\[0\]: the model has no input named 'z'; it has: x"),
        (build(), tensors(dtype="INT32"), r"spec.io.inputs\[0\]: x is FP32 in the model, spec.io says INT32"),
        (build(), tensors(shape=(-1, 5)), r"x has shape \[-1, 4\] in the model, spec.io says \[-1, 5\]"),
        (build(), tensors(shape=(-1, 4, 1)), r"spec.io says \[-1, 4, 1\]"),
        (build(), tensors(output="q"), r"spec.io.outputs\[0\]: the model has no output named 'q'"),
        (build(input_type=TensorProto.INT64), tensors(), "x is INT64 in the model"),
    ],
)
def test_a_model_with_other_tensors_is_refused_by_name(data: bytes, wanted: ModelIO, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        check(data, wanted)
    assert caught.value.reason == "IOMismatch"


@pytest.mark.parametrize("data", [b"", b"\x00", b"<html>not found</html>", build()[:60], b"\xff" * 40])
def test_what_is_no_onnx_model_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not an ONNX model"):
        check(data, tensors())


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        check(data, tensors())
