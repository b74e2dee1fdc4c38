"""Golden files, judged by their arrays' headers against the model's tensors."""

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.api.artifacts import ModelIO
from edgecanary.artifact.golden import CaseForm, case_form, check_golden
from edgecanary.base.errors import InvalidInput

TENSORS = ModelIO.model_validate(
    {
        "inputs": [{"name": "bytes", "dtype": "INT32", "shape": [-1, 8]}],
        "outputs": [{"name": "score", "dtype": "FP32", "shape": [-1, 3]}],
    }
)


Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


def npz(**changes: Array | None) -> bytes:
    arrays: dict[str, Array | None] = {
        "input:bytes": np.zeros((5, 8), np.int32),
        "output:score": np.zeros((5, 3), np.float32),
    }
    for name, array in changes.items():
        arrays[name.replace("_", ":", 1)] = array
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    return buffer.getvalue()


def test_a_good_file_gives_its_number_of_cases() -> None:
    assert check_golden(npz(), TENSORS) == 5


def test_a_compressed_file_is_as_good() -> None:
    buffer = io.BytesIO()
    arrays = {"input:bytes": np.zeros((2, 8), np.int32), "output:score": np.zeros((2, 3), np.float32)}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    assert check_golden(buffer.getvalue(), TENSORS) == 2


@pytest.mark.parametrize(
    ("shape", "tensor", "form"),
    [
        ((5, 8), (-1, 8), CaseForm.ROWS),
        ((5, 8), (1, 8), CaseForm.ROWS),
        ((5, 1, 8), (1, 8), CaseForm.WHOLE),
        ((5, 3, 8), (-1, 8), CaseForm.WHOLE),
        ((5, 3, 224, 224), (3, 224, 224), CaseForm.WHOLE),
        ((3, 224, 224), (3, 224, 224), None),
        ((5,), (), CaseForm.WHOLE),
        ((5,), (-1,), CaseForm.ROWS),
        ((5, 8), (4, 8), None),
        ((), (-1,), None),
    ],
)
def test_a_case_is_a_row_of_the_batch_or_a_whole_tensor(
    shape: tuple[int, ...], tensor: tuple[int, ...], form: CaseForm | None
) -> None:
    assert case_form(shape, tensor) is form


def test_tensors_of_strings_have_string_arrays() -> None:
    texts = ModelIO.model_validate(
        {
            "inputs": [{"name": "t", "dtype": "BYTES", "shape": [-1, 1]}],
            "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 1]}],
        }
    )
    buffer = io.BytesIO()
    arrays = {"input:t": np.array([["a"], ["bc"]]), "output:y": np.zeros((2, 1), np.float32)}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    assert check_golden(buffer.getvalue(), texts) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: b"not a zip at all", "is not an npz file"),
        (lambda: b"", "is not an npz file"),
        (lambda: npz()[:200], "is not an npz file"),
        (lambda: npz(input_bytes=None), "must hold an array named input:bytes"),
        (lambda: npz(output_score=None), "must hold an array named output:score; it holds input:bytes"),
        (
            lambda: npz(input_bites=np.zeros((5, 8), np.int32)),
            "array input:bites that is no tensor of spec.io",
        ),
        (
            lambda: npz(input_bytes=np.zeros((5, 8), np.int64)),
            r"input:bytes must have type INT32 \(i4\), got i8",
        ),
        (
            lambda: npz(input_bytes=np.zeros((5, 9), np.int32)),
            r"has shape \[5, 9\]; it must be the number of cases",
        ),
        (lambda: npz(input_bytes=np.zeros((5,), np.int32)), r"has shape \[5\]; it must be"),
        (lambda: npz(output_score=np.zeros((4, 3), np.float32)), "the same number of cases"),
        (
            lambda: npz(input_bytes=np.zeros((0, 8), np.int32), output_score=np.zeros((0, 3), np.float32)),
            "at least one case",
        ),
        (lambda: npz(output_score=np.array([[{}]], dtype=object)), "holds Python objects"),
    ],
)
def test_a_bad_file_is_refused_by_the_name_of_the_array_and_the_rule(
    make: Callable[[], bytes], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        check_golden(make(), TENSORS)
    assert caught.value.field == "spec.golden"
    assert caught.value.reason == "GoldenInvalid"


def test_a_member_that_is_no_array_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.py", "import os")
    with pytest.raises(InvalidInput, match=r"'evil.py' is no .npy"):
        check_golden(buffer.getvalue(), TENSORS)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        check_golden(data, TENSORS)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_no_flipped_byte_makes_the_reader_fail_in_another_way(position: int, value: int) -> None:
    data = bytearray(npz())
    data[position % len(data)] = value
    try:
        cases = check_golden(bytes(data), TENSORS)
    except InvalidInput:
        return
    assert cases == 5
