"""Which formats this installation can run. Loads a runtime only when a model needs it."""

from importlib import import_module, util
from typing import cast

from edgecanary.agent.runtime.base import Runtime
from edgecanary.base.errors import EdgecanaryError

_RUNTIMES = {"ONNX": ("edgecanary.agent.runtime.onnx", "onnxruntime")}
"""Our module for each format, and the package that it needs."""


def supported_formats() -> tuple[str, ...]:
    """The formats whose runtime is installed, without importing any."""
    return tuple(name for name, (_, package) in _RUNTIMES.items() if util.find_spec(package) is not None)


def runtime_for(model_format: str) -> Runtime:
    """The runtime of a format. Raises EdgecanaryError with reason UnsupportedFormat."""
    supported = supported_formats()
    if model_format not in supported:
        raise EdgecanaryError(
            "UnsupportedFormat",
            f"format: {model_format} cannot run on this node, which has {', '.join(supported) or 'no runtime'}: "
            "install the runtime on the node, or give the variant requirements that keep it away",
        )
    module = import_module(_RUNTIMES[model_format][0])
    return cast("Runtime", module.new())
