"""Tensors by name, element type and shape, and whether a model's tensors are those declared.

Free of numpy and of the API types, since the probe's child process pays for each import.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from edgecanary.base.errors import EdgecanaryError

NUMPY_TYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
"""The protocol's element types as numpy type strings, in the byte order of the wire."""

ANY = -1
"""The dimension that accepts any length."""


@dataclass(frozen=True)
class TensorType:
    """What a tensor is called and what may be in it."""

    name: str
    dtype: str
    """Element type in the protocol's names; a runtime's own name where the protocol has none."""
    shape: tuple[int, ...]
    """Dimensions, -1 where any length is accepted."""

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


class DeclaredTensor(Protocol):
    """A tensor as the API's types declare it."""

    @property
    def name(self) -> str:
        """The tensor's name in the model."""
        ...

    @property
    def dtype(self) -> str:
        """Element type in the protocol's names."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, -1 where any length is accepted."""
        ...


def tensor_types(declared: Iterable[DeclaredTensor]) -> tuple[TensorType, ...]:
    """The declared tensors without the API's types."""
    return tuple(TensorType(spec.name, str(spec.dtype), spec.shape) for spec in declared)


def shape_fits(shape: tuple[int, ...], rule: tuple[int, ...]) -> bool:
    """Whether two shapes agree; -1 on either side accepts any length of that dimension."""
    return len(shape) == len(rule) and all(
        ANY in (length, wanted) or length == wanted for length, wanted in zip(shape, rule, strict=True)
    )


def narrowed(declared: Iterable[TensorType], actual: Iterable[TensorType]) -> tuple[TensorType, ...]:
    """The declared tensors with the model's own length wherever the declaration accepts any."""
    own = {tensor.name: tensor.shape for tensor in actual}
    return tuple(
        TensorType(tensor.name, tensor.dtype, _narrowed_shape(tensor.shape, own[tensor.name]))
        for tensor in declared
    )


def _narrowed_shape(wanted: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(own if wanted == ANY else wanted for wanted, own in zip(wanted, own, strict=True))


def check_tensors(role: str, declared: Iterable[TensorType], actual: Iterable[TensorType]) -> None:
    """Refuses a model whose tensors differ from those declared; `role` is `input` or `output`.

    Raises EdgecanaryError with reason IOMismatch, naming the tensor, what was declared and what the model has.
    """
    wanted = {tensor.name: tensor for tensor in declared}
    present = {tensor.name: tensor for tensor in actual}
    for name, tensor in wanted.items():
        _check_tensor(role, tensor, present.get(name), tuple(present))
    for name, tensor in present.items():
        if name not in wanted:
            raise EdgecanaryError(
                "IOMismatch",
                f"the model's {role} {name!r} ({tensor}) is not declared: io.{role}s must name every {role} "
                f"of the model",
            )


def _check_tensor(role: str, wanted: TensorType, present: TensorType | None, names: tuple[str, ...]) -> None:
    where = f"io.{role}s[{wanted.name!r}]"
    if present is None:
        known = ", ".join(repr(name) for name in names) or "none"
        raise EdgecanaryError("IOMismatch", f"{where}: the model has no such {role}; its {role}s are {known}")
    if present.dtype != wanted.dtype:
        raise EdgecanaryError(
            "IOMismatch", f"{where}: declared as {wanted}, the model has {present}: dtype must be the same"
        )
    if not shape_fits(present.shape, wanted.shape):
        raise EdgecanaryError(
            "IOMismatch",
            f"{where}: declared as {wanted}, the model has {present}: rank and dimensions must be the same, "
            "-1 accepts any length",
        )
