"""Golden files: what is refused, and how outputs are compared."""

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib import format as npy

from edgecanary.agent import golden
from edgecanary.agent.golden import GoldenCases, Tolerance
from edgecanary.agent.tensors import TensorType
from edgecanary.base.errors import EdgecanaryError
from tests.unit.agent.modelmaking import write_golden

Arrays = dict[str, npt.NDArray[np.generic]]

INPUTS = (TensorType("x", "INT32", (-1, 4)),)
OUTPUTS = (TensorType("y", "FP32", (-1, 2)),)
GOOD: Arrays = {
    "input:x": np.arange(12, dtype=np.int32).reshape(3, 4),
    "output:y": np.arange(6, dtype=np.float32).reshape(3, 2),
}
EXACT = Tolerance(relative=0, absolute=0)


def load(path: Path) -> GoldenCases:
    return golden.load(path, INPUTS, OUTPUTS)


def refusal(path: Path) -> str:
    with pytest.raises(EdgecanaryError) as caught:
        load(path)
    assert caught.value.reason == "GoldenInvalid"
    return str(caught.value)


def test_each_row_is_a_case_with_a_batch_of_one(tmp_path: Path) -> None:
    cases = load(write_golden(tmp_path / "golden.npz", GOOD))
    assert cases.count == 3
    assert cases.feeds(1)["x"].tolist() == [[4, 5, 6, 7]]


def test_an_array_of_one_rank_more_holds_a_whole_tensor_for_each_case(tmp_path: Path) -> None:
    arrays = {
        "input:x": np.zeros((3, 5, 4), np.int32),
        "output:y": np.zeros((3, 5, 2), np.float32),
    }
    cases = load(write_golden(tmp_path / "golden.npz", arrays))
    assert cases.feeds(2)["x"].shape == (5, 4)


def test_a_scalar_tensor_has_one_value_for_each_case(tmp_path: Path) -> None:
    path = write_golden(tmp_path / "g.npz", {"input:n": np.arange(3), "output:m": np.arange(3.0)})
    cases = golden.load(path, (TensorType("n", "INT64", ()),), (TensorType("m", "FP64", ()),))
    assert cases.feeds(2)["n"].shape == ()


def test_big_endian_and_column_major_arrays_are_read_as_the_same_numbers(tmp_path: Path) -> None:
    arrays = {**GOOD, "input:x": np.asfortranarray(GOOD["input:x"]).astype(">i4")}
    cases = load(write_golden(tmp_path / "golden.npz", arrays))
    assert cases.feeds(1)["x"].tolist() == [[4, 5, 6, 7]]
    assert cases.feeds(1)["x"].flags.c_contiguous


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_read_from_unicode_and_from_utf8(tmp_path: Path, kind: str) -> None:
    texts = np.array([["grün"], ["rot"]])
    array = texts if kind == "U" else np.char.encode(texts, "utf-8")
    path = write_golden(tmp_path / "golden.npz", {"input:t": array, "output:t": array})
    tensors = (TensorType("t", "BYTES", (-1, 1)),)
    assert golden.load(path, tensors, tensors).feeds(0)["t"].tolist() == [["grün"]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"input:x": GOOD["input:x"]}, "array 'output:y' is missing; the arrays must be input:x, output:y"),
        ({**GOOD, "input:z": GOOD["input:x"]}, "array 'input:z' belongs to no tensor"),
        ({**GOOD, "input:x": np.zeros((3, 4))}, "array 'input:x' has dtype float64, it must be INT32"),
        ({**GOOD, "output:y": np.zeros((3, 2), ">f8")}, "array 'output:y' has dtype >f8, it must be FP32"),
        ({**GOOD, "input:x": np.zeros((3, 5), np.int32)}, "array 'input:x' has shape [3, 5]; it must be"),
        ({**GOOD, "input:x": np.int32(7)}, "array 'input:x' has shape []; it must be"),
        (
            {**GOOD, "output:y": np.zeros((2, 2), np.float32)},
            "same number of cases, got input:x: 3, output:y: 2",
        ),
        ({key: array[:0] for key, array in GOOD.items()}, "at least one case, got 0"),
        (
            {**GOOD, "output:y": np.full((3, 2), np.nan, np.float32)},
            "array 'output:y', element [0, 0, 0]: expected values must be finite",
        ),
    ],
    ids=[
        "missing",
        "unknown",
        "dtype",
        "dtype of output",
        "shape",
        "scalar",
        "counts",
        "empty",
        "not finite",
    ],
)
def test_an_array_that_does_not_fit_is_named_with_the_rule(
    tmp_path: Path, arrays: Arrays, words: str
) -> None:
    assert words in refusal(write_golden(tmp_path / "golden.npz", arrays))


def test_what_is_not_an_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(b"not an archive")
    assert "not a readable npz" in refusal(path)
    assert "not a readable npz" in refusal(tmp_path / "absent.npz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_golden(tmp_path / "golden.npz", GOOD)
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a readable npz" in refusal(path)


def test_flipped_bits_are_found_by_the_archives_checksum(tmp_path: Path) -> None:
    path = write_golden(tmp_path / "golden.npz", GOOD)
    data = bytearray(path.read_bytes())
    data[data.index(GOOD["input:x"].tobytes()) + 8] ^= 0xFF
    path.write_bytes(data)
    assert "not a readable npz" in refusal(path)


def test_a_pickled_array_is_refused_and_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    pickled = np.array([object], dtype=object)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, **{"input:x": pickled, "output:y": pickled})
    assert "array 'input:x' is pickled" in refusal(path)


def with_header(path: Path, shape: tuple[int, ...], data: bytes) -> Path:
    """A golden file whose input claims this shape and has this data."""
    member = io.BytesIO()
    npy.write_array_header_1_0(member, {"descr": "<i4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input:x.npy", member.getvalue() + data)
        output = io.BytesIO()
        npy.write_array(output, np.asanyarray(GOOD["output:y"]))
        archive.writestr("output:y.npy", output.getvalue())
    return path


def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_memory_is_taken(
    tmp_path: Path,
) -> None:
    assert "but the data is shorter" in refusal(with_header(tmp_path / "g.npz", (2**40, 4), bytes(16)))


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MAX_UNPACKED_BYTES", 1_000_000)
    path = with_header(tmp_path / "g.npz", (100_000, 4), bytes(1_600_000))
    assert path.stat().st_size < 10_000
    assert "at most 1000000 are allowed" in refusal(path)


def cases_of(outputs: npt.NDArray[np.generic]) -> GoldenCases:
    return GoldenCases(count=len(outputs), inputs={}, outputs={"y": outputs})


@pytest.mark.parametrize(
    ("expected", "given", "tolerance", "fits"),
    [
        (1.0, 1.0, EXACT, True),
        (1.0, 1.0625, EXACT, False),
        (1.0, 1.0625, Tolerance(relative=0, absolute=0.0625), True),
        (-8.0, -8.5, Tolerance(relative=0.0625, absolute=0), True),
        (-8.0, -8.75, Tolerance(relative=0.0625, absolute=0), False),
        (8.0, 8.75, Tolerance(relative=0.0625, absolute=0.25), True),
    ],
)
def test_an_output_may_differ_by_the_absolute_plus_the_relative_tolerance(
    expected: float, given: float, tolerance: Tolerance, fits: bool
) -> None:
    cases = cases_of(np.array([[expected]]))
    if fits:
        golden.compare(cases, 0, {"y": np.array([given])}, tolerance)
    else:
        with pytest.raises(EdgecanaryError):
            golden.compare(cases, 0, {"y": np.array([given])}, tolerance)


def test_a_mismatch_names_output_case_element_values_and_tolerance() -> None:
    cases = cases_of(np.array([[[1.0, 2.0]], [[3.0, 4.0]]], np.float32))
    with pytest.raises(EdgecanaryError) as caught:
        golden.compare(cases, 1, {"y": np.array([[3.0, 4.5]], np.float32)}, Tolerance(0.01, 0.001))
    assert caught.value.reason == "GoldenMismatch"
    assert str(caught.value) == (
        "output 'y', case 1, element [0, 1]: the model gives 4.5, expected 4 within 0.001 plus 0.01 times the "
        "expected value"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_never_fits(value: float) -> None:
    cases = cases_of(np.zeros((1, 1)))
    with pytest.raises(EdgecanaryError, match="must be a finite number"):
        golden.compare(cases, 0, {"y": np.array([value])}, Tolerance(relative=0, absolute=1e300))


def test_an_output_of_another_shape_is_refused() -> None:
    with pytest.raises(EdgecanaryError, match=r"output 'y', case 0: shape is \[2\], expected \[1\]"):
        golden.compare(cases_of(np.zeros((1, 1))), 0, {"y": np.zeros(2)}, EXACT)


def test_integers_booleans_and_texts_are_compared_as_such() -> None:
    for expected, other in ((np.uint8(0), np.uint8(255)), (np.True_, np.False_), ("ja", "nein")):
        dtype = object if isinstance(expected, str) else None
        cases = cases_of(np.array([[expected]], dtype=dtype))
        golden.compare(cases, 0, {"y": np.array([expected], dtype=dtype)}, EXACT)
        with pytest.raises(EdgecanaryError, match=f"the model gives {other}, expected {expected}"):
            golden.compare(cases, 0, {"y": np.array([other], dtype=dtype)}, EXACT)


def test_zeros_have_the_declared_types_and_one_element_where_any_is_accepted() -> None:
    feeds = golden.zero_feeds((TensorType("x", "FP16", (-1, 3)), TensorType("t", "BYTES", (2,))))
    assert feeds["x"].dtype == np.float16
    assert feeds["x"].tolist() == [[0.0, 0.0, 0.0]]
    assert feeds["t"].tolist() == ["", ""]
