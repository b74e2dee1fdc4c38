"""Whether a model's tensors are those declared."""

import pytest

from edgecanary.agent.tensors import TensorType, check_tensors, narrowed
from edgecanary.base.errors import EdgecanaryError

DECLARED = (TensorType("x", "FP32", (-1, 4)), TensorType("mask", "BOOL", (4,)))


@pytest.mark.parametrize(
    "shape", [(-1, 4), (1, 4), (8, 4), (-1, -1)], ids=["same", "fixed batch", "other batch", "all dynamic"]
)
def test_minus_one_on_either_side_accepts_any_length(shape: tuple[int, ...]) -> None:
    check_tensors("input", DECLARED, (DECLARED[1], TensorType("x", "FP32", shape)))


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (
            TensorType("z", "FP32", (-1, 4)),
            "io.inputs['x']: the model has no such input; its inputs are 'mask', 'z'",
        ),
        (
            TensorType("x", "INT32", (-1, 4)),
            "io.inputs['x']: declared as FP32 [-1, 4], the model has INT32 [-1, 4]: dtype must be the same",
        ),
        (
            TensorType("x", "FP32", (-1, 5)),
            "declared as FP32 [-1, 4], the model has FP32 [-1, 5]: rank and dimensions",
        ),
        (TensorType("x", "FP32", (-1, 4, 1)), "the model has FP32 [-1, 4, 1]: rank and dimensions"),
        (TensorType("x", "FP32", ()), "the model has FP32 []: rank and dimensions"),
    ],
    ids=["name", "dtype", "dimension", "rank", "scalar"],
)
def test_a_differing_tensor_is_named_with_what_was_declared_and_what_there_is(
    actual: TensorType, words: str
) -> None:
    with pytest.raises(EdgecanaryError) as caught:
        check_tensors("input", DECLARED, (DECLARED[1], actual))
    assert caught.value.reason == "IOMismatch"
    assert words in str(caught.value)


def test_a_tensor_that_is_not_declared_is_refused() -> None:
    with pytest.raises(
        EdgecanaryError, match=r"'extra' \(INT8 \[2\]\) is not declared: io.outputs must name"
    ):
        check_tensors("output", DECLARED, (*DECLARED, TensorType("extra", "INT8", (2,))))


def test_requests_must_fit_the_models_own_length_where_the_declaration_accepts_any() -> None:
    declared = (TensorType("x", "FP32", (-1, 4)),)
    assert narrowed(declared, (TensorType("x", "FP32", (8, -1)),)) == (TensorType("x", "FP32", (8, 4)),)
