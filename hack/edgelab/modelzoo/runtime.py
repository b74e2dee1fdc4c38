"""A typed window on onnxruntime, as an edge node uses it: one thread, CPU."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

Tensor: TypeAlias = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float32]

LOAD_ERRORS: tuple[type[Exception], ...] = (
    native.Fail,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NotImplemented,
)
RUN_ERRORS: tuple[type[Exception], ...] = (native.Fail, native.InvalidArgument, native.RuntimeException)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a model's signature; -1 in the shape is any size."""

    name: str
    element: str
    shape: tuple[int, ...]


class Model:
    """A model loaded from a file.

    Raises one of LOAD_ERRORS when the file is not a model that this runtime can run.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(_info(node.name, node.type, node.shape) for node in self._session.get_inputs())
        self.outputs = tuple(_info(node.name, node.type, node.shape) for node in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        """Answer one batch; raises one of RUN_ERRORS when the model fails on it."""
        run: Callable[[None, dict[str, Tensor]], list[NDArray[np.float32]]] = self._session.run
        answers = run(None, dict(inputs))
        return {info.name: answer for info, answer in zip(self.outputs, answers, strict=True)}


def _info(name: str, element: str, shape: list[int | str | None]) -> TensorInfo:
    return TensorInfo(name, element, tuple(size if isinstance(size, int) else -1 for size in shape))
