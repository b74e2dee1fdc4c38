"""Golden cases: inputs with the outputs that a model must give, read from an npz file and compared.

Names, types and shapes follow the rules that the operator checks too (`edgecanary.artifact.golden`).
"""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from edgecanary.agent.runtime.base import Array
from edgecanary.agent.tensors import ANY, NUMPY_TYPES, TensorType
from edgecanary.artifact.golden import CaseForm, case_form, form_rule
from edgecanary.base.errors import EdgecanaryError

MAX_UNPACKED_BYTES = 256 * 2**20
"""The most that all arrays of a golden file may take in memory."""

_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    # From numpy's second try at a header that is no Python literal: it cuts it into tokens.
    SyntaxError,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the expected one: `absolute` + `relative` times the expected value."""

    relative: float
    absolute: float


@dataclass(frozen=True)
class GoldenCases:
    """Cases ready to run; every array has the cases first, then the tensor's own shape."""

    count: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    def feeds(self, case: int) -> dict[str, Array]:
        """The inputs of one case."""
        return {name: array[case, ...] for name, array in self.inputs.items()}


def load(path: Path, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> GoldenCases:
    """Reads a golden file for a model with these tensors.

    Raises EdgecanaryError with reason GoldenInvalid, naming the array and the rule that it breaks.
    """
    wanted = {f"input:{tensor.name}": tensor for tensor in inputs}
    wanted |= {f"output:{tensor.name}": tensor for tensor in outputs}
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, tuple(wanted))
            arrays = {key: _read(archive, members[key], key, tensor) for key, tensor in wanted.items()}
    except _UNREADABLE as error:
        raise _invalid(f"the golden file is not a readable npz: {error}") from error
    count = _case_count(arrays)
    _check_finite({key: array for key, array in arrays.items() if key.startswith("output:")})
    return GoldenCases(
        count=count,
        inputs={tensor.name: arrays[f"input:{tensor.name}"] for tensor in inputs},
        outputs={tensor.name: arrays[f"output:{tensor.name}"] for tensor in outputs},
    )


def zero_feeds(inputs: Sequence[TensorType]) -> dict[str, Array]:
    """Inputs full of zeros (empty strings for BYTES), one element long where any length is accepted."""
    feeds: dict[str, Array] = {}
    for tensor in inputs:
        shape = tuple(1 if length == ANY else length for length in tensor.shape)
        feeds[tensor.name] = np.full(
            shape, "" if tensor.dtype == "BYTES" else 0, dtype=NUMPY_TYPES[tensor.dtype]
        )
    return feeds


def compare(cases: GoldenCases, case: int, given: Mapping[str, Array], tolerance: Tolerance) -> None:
    """Checks the outputs that a model gave for one case.

    Raises EdgecanaryError with reason GoldenMismatch, naming output, case, value, expected value and tolerance.
    """
    for name, array in given.items():
        expected = cases.outputs[name][case, ...]
        where = f"output {name!r}, case {case}"
        if array.shape != expected.shape:
            raise _mismatch(f"{where}: shape is {list(array.shape)}, expected {list(expected.shape)}")
        check_finite(array, where)
        wrong = _differences(array, expected, tolerance)
        if wrong is not None:
            raise _mismatch(
                f"{where}, element {list(wrong)}: the model gives {_text(array[wrong])}, expected "
                f"{_text(expected[wrong])} within {tolerance.absolute:g} plus {tolerance.relative:g} times the "
                "expected value"
            )


def check_finite(array: Array, where: str) -> None:
    """Refuses NaN and infinity in an output. Raises EdgecanaryError with reason GoldenMismatch."""
    at = first_not_finite(array)
    if at is not None:
        raise _mismatch(
            f"{where}, element {list(at)}: the model gives {_text(array[at])}, which must be a finite number"
        )


def first_not_finite(array: Array) -> tuple[int, ...] | None:
    """Where the first NaN or infinity is, if there is one."""
    if array.dtype.kind != "f":
        return None
    finite = np.isfinite(array)
    return None if finite.all() else _first(~finite)


def _members(archive: zipfile.ZipFile, wanted: Sequence[str]) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key not in wanted:
            raise _invalid(f"array {key!r} belongs to no tensor; the arrays must be {', '.join(wanted)}")
        if key in members:
            raise _invalid(f"array {key!r} is there twice")
        members[key] = info
        total += info.file_size
    missing = [key for key in wanted if key not in members]
    if missing:
        raise _invalid(f"array {missing[0]!r} is missing; the arrays must be {', '.join(wanted)}")
    if total > MAX_UNPACKED_BYTES:
        raise _invalid(f"the arrays unpack to {total} bytes, at most {MAX_UNPACKED_BYTES} are allowed")
    return members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, tensor: TensorType) -> Array:
    with archive.open(info) as member:
        shape, dtype = _header(member, key)
    _check_dtype(key, dtype, tensor)
    form = case_form(shape, tensor.shape)
    if form is None:
        raise _invalid(f"array {key!r} {form_rule(shape, tensor.shape)}")
    # Checked before any array is allocated: the header may claim more elements than the file holds.
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
        raise _invalid(f"array {key!r}: its header says {list(shape)} {dtype}, but the data is shorter")
    with archive.open(info) as member:
        array: Array = npy.read_array(member, allow_pickle=False)
    if form is CaseForm.ROWS:
        array = array[:, np.newaxis]
    if tensor.dtype == "BYTES":
        texts = array if array.dtype.kind == "U" else np.char.decode(array.astype(np.bytes_), "utf-8")
        return texts.astype(object)
    return np.ascontiguousarray(array, dtype=NUMPY_TYPES[tensor.dtype])


def _header(member: IO[bytes], key: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(member)
    else:
        raise _invalid(f"array {key!r}: npy format {version[0]}.{version[1]} must be 1.0 or 2.0")
    return shape, dtype


def _check_dtype(key: str, dtype: np.dtype[np.generic], tensor: TensorType) -> None:
    if dtype.hasobject:
        raise _invalid(f"array {key!r} is pickled: save plain numbers or strings (allow_pickle=False)")
    if tensor.dtype == "BYTES":
        fits = dtype.kind in "US"
    else:
        fits = dtype.newbyteorder("<") == np.dtype(NUMPY_TYPES[tensor.dtype])
    if not fits:
        raise _invalid(f"array {key!r} has dtype {dtype}, it must be {tensor.dtype}")


def _case_count(arrays: Mapping[str, Array]) -> int:
    counts = {key: len(array) for key, array in arrays.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{key}: {count}" for key, count in counts.items())
        raise _invalid(f"all arrays must have the same number of cases, got {listed}")
    count = next(iter(counts.values()))
    if count < 1:
        raise _invalid("there must be at least one case, got 0")
    return count


def _check_finite(outputs: Mapping[str, Array]) -> None:
    for key, array in outputs.items():
        at = first_not_finite(array)
        if at is not None:
            raise _invalid(f"array {key!r}, element {list(at)}: expected values must be finite numbers")


def _differences(given: Array, expected: Array, tolerance: Tolerance) -> tuple[int, ...] | None:
    wrong = given != expected
    if given.dtype.kind in "fiu":
        wanted = expected.astype(np.float64)
        allowed = tolerance.absolute + tolerance.relative * np.abs(wanted)
        wrong &= np.abs(given.astype(np.float64) - wanted) > allowed
    return _first(np.asarray(wrong)) if np.any(wrong) else None


def _first(marks: "np.ndarray[tuple[int, ...], np.dtype[np.bool]]") -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(int(np.argmax(marks)), marks.shape))


def _text(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, np.floating) else f"{str(value)[:80]}"


def _invalid(message: str) -> EdgecanaryError:
    return EdgecanaryError("GoldenInvalid", message)


def _mismatch(message: str) -> EdgecanaryError:
    return EdgecanaryError("GoldenMismatch", message)
