"""The inputs and outputs that an ONNX file declares, read without a runtime.

ONNX files are protocol buffers (onnx.proto, ModelProto). Only the few fields on the way to the graph's
inputs and outputs are walked; weights are stepped over, so a model of any size costs next to nothing.
"""

from dataclasses import dataclass

from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.artifact.onnx_wire import WireReader
from edgecanary.base.errors import InvalidInput

_GRAPH = 7  # ModelProto.graph
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12  # GraphProto
_MAX_TENSORS = 4096

ELEMENT_TYPES: dict[int, DataType] = {
    1: DataType.FP32,
    2: DataType.UINT8,
    3: DataType.INT8,
    4: DataType.UINT16,
    5: DataType.INT16,
    6: DataType.INT32,
    7: DataType.INT64,
    8: DataType.BYTES,
    9: DataType.BOOL,
    10: DataType.FP16,
    11: DataType.FP64,
    12: DataType.UINT32,
    13: DataType.UINT64,
}
"""TensorProto.DataType to the names of the Open Inference Protocol."""


@dataclass(frozen=True)
class DeclaredTensor:
    """A tensor as the file declares it; -1 stands for a dimension that is open or named."""

    name: str
    dtype: DataType | None
    shape: tuple[int, ...]


def check_onnx_io(data: memoryview, tensors: ModelIO, *, field: str) -> None:
    """Checks that an ONNX file takes and gives just the tensors of `spec.io`.

    `field` is the path of the file's entry in the spec. Raises InvalidInput naming the tensor.
    """
    inputs, outputs = read_onnx_io(data, field=field)
    _compare("input", inputs, tensors.inputs, field=field)
    _compare("output", outputs, tensors.outputs, field=field)


def read_onnx_io(
    data: memoryview, *, field: str
) -> tuple[tuple[DeclaredTensor, ...], tuple[DeclaredTensor, ...]]:
    """The inputs (without those that initializers fill) and outputs of an ONNX file.

    Raises InvalidInput when the bytes are no ONNX model.
    """
    try:
        graph = _only(data, _GRAPH)
        filled = {_name_of(tensor, 8) for tensor in _all(graph, _INITIALIZER)}
        inputs = tuple(t for t in map(_tensor, _all(graph, _INPUT)) if t.name not in filled)
        outputs = tuple(map(_tensor, _all(graph, _OUTPUT)))
    except (ValueError, IndexError, UnicodeDecodeError) as e:
        raise InvalidInput(field, f"is not an ONNX model: {e}", reason="ModelInvalid") from e
    return inputs, outputs


def _compare(
    kind: str, found: tuple[DeclaredTensor, ...], wanted: tuple[TensorSpec, ...], *, field: str
) -> None:
    by_name = {tensor.name: tensor for tensor in found}
    for index, spec in enumerate(wanted):
        where = f"spec.io.{kind}s[{index}]"
        tensor = by_name.get(spec.name)
        if tensor is None:
            have = ", ".join(sorted(by_name)) or "none"
            raise _mismatch(where, f"the model has no {kind} named {spec.name!r}; it has: {have}", field)
        if tensor.dtype != spec.dtype:
            raise _mismatch(
                where, f"{spec.name} is {tensor.dtype} in the model, spec.io says {spec.dtype}", field
            )
        if not _shapes_agree(tensor.shape, spec.shape):
            raise _mismatch(
                where,
                f"{spec.name} has shape {list(tensor.shape)} in the model, spec.io says {list(spec.shape)}",
                field,
            )
    if extra := sorted(set(by_name) - {spec.name for spec in wanted}):
        raise _mismatch(
            f"spec.io.{kind}s", f"the model has the {kind} {extra[0]!r}, which spec.io lacks", field
        )


def _shapes_agree(declared: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(declared) == len(wanted) and all(
        -1 in (have, want) or have == want for have, want in zip(declared, wanted, strict=True)
    )


def _mismatch(where: str, message: str, field: str) -> InvalidInput:
    return InvalidInput(where, f"{message} (checked {field})", reason="IOMismatch")


def _tensor(data: memoryview) -> DeclaredTensor:
    name = _name_of(data, 1)
    tensor_type = _only(_only(data, 2), 1)  # ValueInfoProto.type, TypeProto.tensor_type
    element = next((v for _, v in WireReader().fields(tensor_type, (1,)) if isinstance(v, int)), 0)
    shapes = _all(tensor_type, 2)
    dims = tuple(_dimension(dim) for shape in shapes for dim in _all(shape, 1))
    return DeclaredTensor(name, ELEMENT_TYPES.get(element), dims)


def _dimension(data: memoryview) -> int:
    value = next((v for _, v in WireReader().fields(data, (1,)) if isinstance(v, int)), -1)
    return value if 0 < value < 2**31 else -1


def _name_of(data: memoryview, number: int) -> str:
    return next((bytes(part).decode() for _, part in WireReader().parts(data, number)), "")


def _only(data: memoryview, number: int) -> memoryview:
    found = _all(data, number)
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} parts with field number {number}, one was expected")
    return found[0]


def _all(data: memoryview, number: int) -> list[memoryview]:
    found = [part for _, part in WireReader().parts(data, number)]
    if number in (_INPUT, _OUTPUT) and len(found) > _MAX_TENSORS:
        raise ValueError(f"it declares {len(found)} tensors, more than {_MAX_TENSORS}")
    return found
