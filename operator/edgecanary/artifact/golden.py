"""Golden files: whether an `.npz` holds the arrays that a model's tensors call for.

An `.npz` is a zip archive of `.npy` members (NumPy's NEP 1 format). Only the members' headers are
read, so that a hostile file costs nothing; pickled objects are refused.
"""

import ast
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from enum import Enum

from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.base.errors import InvalidInput

FIELD = "spec.golden"
_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 4096
_MAX_MEMBERS = 128

DTYPE_CODES: dict[DataType, str] = {
    DataType.BOOL: "b1",
    DataType.UINT8: "u1",
    DataType.UINT16: "u2",
    DataType.UINT32: "u4",
    DataType.UINT64: "u8",
    DataType.INT8: "i1",
    DataType.INT16: "i2",
    DataType.INT32: "i4",
    DataType.INT64: "i8",
    DataType.FP16: "f2",
    DataType.FP32: "f4",
    DataType.FP64: "f8",
}
"""NumPy's type codes, without byte order. BYTES is any of NumPy's string types."""


class CaseForm(Enum):
    """What one case is in an array whose first dimension counts the cases."""

    ROWS = "Rows"
    """A row of the tensor's own first dimension, the batch."""
    WHOLE = "Whole"
    """A whole tensor."""


@dataclass(frozen=True)
class ArrayHeader:
    """Type code (without byte order) and shape of one array."""

    dtype: str
    shape: tuple[int, ...]


def check_golden(data: bytes, tensors: ModelIO) -> int:
    """The number of cases in a golden file.

    Raises InvalidInput naming the array, what it is and what it must be.
    """
    arrays = read_headers(data)
    wanted = {f"input:{t.name}": t for t in tensors.inputs} | {f"output:{t.name}": t for t in tensors.outputs}
    if missing := sorted(set(wanted) - set(arrays)):
        raise _invalid(f"must hold an array named {missing[0]}; it holds {_listing(arrays)}")
    if extra := sorted(set(arrays) - set(wanted)):
        raise _invalid(f"holds an array {extra[0]} that is no tensor of spec.io; rename or remove it")
    for name, spec in wanted.items():
        _check_array(name, arrays[name], spec)
    counts = {name: arrays[name].shape[0] for name in wanted}
    if len(set(counts.values())) != 1:
        raise _invalid(f"must hold the same number of cases in each array, got {_listing(counts)}")
    cases = next(iter(counts.values()))
    if cases == 0:
        raise _invalid("must hold at least one case; the first dimension of its arrays is 0")
    return cases


def read_headers(data: bytes) -> dict[str, ArrayHeader]:
    """Names, types and shapes of the arrays in an `.npz`. Raises InvalidInput when it is not one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise _invalid(f"must hold at most {_MAX_MEMBERS} arrays, got {len(members)}")
            return {_array_name(member): _read_member(archive, member) for member in members}
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
        zlib.error,
    ) as e:
        raise _invalid(f"is not an npz file ({e}); write it with numpy.savez") from e


def _array_name(member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise _invalid(f"is not an npz file: its member {member.filename!r} is no .npy")
    return member.filename.removesuffix(".npy")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayHeader:
    name = _array_name(member)
    with archive.open(member) as stream:
        start = stream.read(12)
        if len(start) < 12 or not start.startswith(_MAGIC):
            raise _invalid(f"array {name} is not in NumPy's .npy format")
        if start[6] not in (1, 2):
            raise _invalid(f"array {name}: npy format {start[6]}.{start[7]} must be 1.0 or 2.0")
        if start[6] == 1:
            length, rest = struct.unpack("<H", start[8:10])[0], start[10:]
        else:
            length, rest = struct.unpack("<I", start[8:12])[0], b""
        if length > _MAX_HEADER:
            raise _invalid(f"array {name} has a header of {length} bytes, more than {_MAX_HEADER}")
        text = rest + stream.read(length - len(rest))
    return _parse_header(name, text.decode("latin-1"))


def _parse_header(name: str, text: str) -> ArrayHeader:
    try:
        header = ast.literal_eval(text.strip())
        descr, shape = header["descr"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as e:
        raise _invalid(f"array {name} has a header that NumPy did not write") from e
    if not isinstance(descr, str) or descr.lstrip("<>|=").startswith("O"):
        raise _invalid(f"array {name} holds Python objects; only plain numbers are allowed")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise _invalid(f"array {name} has a header that NumPy did not write")
    return ArrayHeader(descr.lstrip("<>|="), shape)


def _check_array(name: str, array: ArrayHeader, spec: TensorSpec) -> None:
    if spec.dtype is DataType.BYTES:
        fits, wanted = array.dtype[:1] in ("U", "S"), "U or S"
    else:
        fits, wanted = array.dtype == DTYPE_CODES[spec.dtype], DTYPE_CODES[spec.dtype]
    if not fits:
        raise _invalid(f"array {name} must have type {spec.dtype} ({wanted}), got {array.dtype}")
    if case_form(array.shape, spec.shape) is None:
        raise _invalid(f"array {name}: {form_rule(array.shape, spec.shape)}")


def case_form(shape: tuple[int, ...], tensor: tuple[int, ...]) -> CaseForm | None:
    """How an array of this shape holds cases for a tensor of that shape (-1 accepts any); None: not at all."""
    if shape and _fits(shape[1:], tensor):
        return CaseForm.WHOLE
    batched = bool(tensor) and tensor[0] in (-1, 1)
    return CaseForm.ROWS if shape and batched and _fits(shape[1:], tensor[1:]) else None


def form_rule(shape: tuple[int, ...], tensor: tuple[int, ...]) -> str:
    """Which shapes an array may have for a tensor, for a person."""
    return (
        f"has shape {list(shape)}; it must be the number of cases followed by the dimensions of {list(tensor)}, "
        "-1 accepting any (or without the first of these, where that is -1 or 1)"
    )


def _fits(shape: tuple[int, ...], tensor: tuple[int, ...]) -> bool:
    return len(shape) == len(tensor) and all(
        want in (-1, have) for want, have in zip(tensor, shape, strict=True)
    )


def _listing(arrays: object) -> str:
    if isinstance(arrays, dict):
        return (
            ", ".join(f"{k} ({v})" if isinstance(v, int) else str(k) for k, v in sorted(arrays.items()))
            or "none"
        )
    return str(arrays)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(FIELD, message, reason="GoldenInvalid")
