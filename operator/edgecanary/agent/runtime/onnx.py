"""ONNX models in onnxruntime on the CPU. The only module that imports onnxruntime."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edgecanary.agent.runtime.base import Array, Feeds, LoadFault, Run, RunFault
from edgecanary.agent.tensors import ANY, TensorType

_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_FATAL = 4
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory")


def _native_errors() -> tuple[type[Exception], ...]:
    """The runtime's own exceptions, which share no base, and those of the language below it."""
    own = tuple(
        item for item in vars(native).values() if isinstance(item, type) and issubclass(item, Exception)
    )
    return (*own, RuntimeError, ValueError, TypeError, MemoryError, OverflowError)


NATIVE_ERRORS = _native_errors()


class _NodeArg(Protocol):
    """What the runtime tells of one tensor."""

    name: str
    type: str
    shape: list[int | str | None]


class OnnxRun:
    """One execution of an ONNX session."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = _FATAL

    def execute(self, feeds: Feeds, outputs: Sequence[str]) -> list[Array]:
        """Runs the model, once. Raises RunFault with the runtime's words."""
        session, self._session = self._session, None
        if session is None:
            raise RuntimeError("a run is for one execution")
        try:
            return cast("list[Array]", session.run(list(outputs), dict(feeds), self._options))
        except NATIVE_ERRORS as error:
            raise RunFault(_first_line(error), out_of_memory=_is_out_of_memory(error)) from error

    def interrupt(self) -> None:
        """Ends the run before its next node or loop pass."""
        self._options.terminate = True


class OnnxSession:
    """A loaded ONNX model."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session = session
        self.inputs = _tensors(session.get_inputs())
        self.outputs = _tensors(session.get_outputs())

    def new_run(self) -> Run:
        """A fresh execution."""
        return OnnxRun(self._session)


class OnnxRuntime:
    """Loads ONNX models with few threads and little memory."""

    platform = "onnx_onnxruntime"

    def load(self, model: Path, *, threads: int) -> OnnxSession:
        """Loads the model file. Raises LoadFault with the runtime's words."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = _FATAL
        # By its bytes or its name a file could be taken for another format, which nobody has checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # A spinning pool answers sooner by microseconds and burns a core of a device that has one to give.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except NATIVE_ERRORS as error:
            text = f"{model.name}: onnxruntime cannot load it: {_first_line(error)}"
            raise LoadFault(text, out_of_memory=_is_out_of_memory(error)) from error
        return OnnxSession(session)


def new() -> OnnxRuntime:
    """The runtime, for the catalog."""
    return OnnxRuntime()


def _tensors(nodes: Iterable[_NodeArg]) -> tuple[TensorType, ...]:
    return tuple(
        TensorType(
            name=node.name,
            dtype=_TYPES.get(node.type, node.type),
            shape=tuple(length if isinstance(length, int) else ANY for length in node.shape or ()),
        )
        for node in nodes
    )


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(mark in str(error) for mark in _OUT_OF_MEMORY)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n", 1)[0]
    return text[:500] or type(error).__name__
