"""The protocol of a model runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgecanary.agent.tensors import TensorType
from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
Feeds: TypeAlias = "Mapping[str, Array]"


class LoadFault(EdgecanaryError):
    """The runtime cannot load the model."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__("LoadFailed", message)
        self.out_of_memory = out_of_memory


class RunFault(EdgecanaryError):
    """The model failed instead of giving an output."""

    def __init__(self, message: str, *, out_of_memory: bool = False, not_finite: bool = False) -> None:
        super().__init__("RunFailed", message)
        self.out_of_memory = out_of_memory
        self.not_finite = not_finite


class Run(Protocol):
    """One execution of a session, which another thread can end. Holds the model until it was executed."""

    def execute(self, feeds: Feeds, outputs: Sequence[str]) -> "list[Array]":
        """Runs the model, once, and returns the named outputs in order. Raises RunFault."""
        ...

    def interrupt(self) -> None:
        """Makes a running `execute` end soon with RunFault; a later one ends at once."""
        ...


class Session(Protocol):
    """A loaded model."""

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorType, ...]:
        """The model's outputs."""
        ...

    def new_run(self) -> Run:
        """A fresh execution. Executions of one session may overlap."""
        ...


class Runtime(Protocol):
    """Loads models of one format."""

    @property
    def platform(self) -> str:
        """What the protocol's model metadata calls `platform`."""
        ...

    def load(self, model: Path, *, threads: int) -> Session:
        """Loads the model file, computing on `threads` threads. Raises LoadFault."""
        ...
