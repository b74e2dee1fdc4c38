"""The published file-type model, really trained a little further, on files of this machine's Python."""

import sysconfig
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edgelab.modelzoo.features import features_of_file
from edgelab.modelzoo.published import INPUT_NAME, published_model

Weights = dict[str, NDArray[np.float32]]

_FILES = 48
_HEAD_STEPS = 20
_HEAD_RATE = 0.05
_STEP = 1e-5
"""How far a step moves a weight, relative to the spread of its tensor: that of a careful fine-tuning."""

_KINDS = {".py": "python", ".txt": "txt", ".so": "elf", ".h": "c"}


def head_trained(model: bytes) -> bytes:
    """The model after steps of gradient descent on its last layer: what a new site's labels would do."""
    graph = onnx.load_model_from_string(model)
    last = [node for node in graph.graph.node if node.op_type == "MatMul"][-1]
    inputs, labels = _samples()
    features = _run(_with_output(model, last.input[0]), inputs)[-1].astype(np.float64)
    (tensor,) = [one for one in graph.graph.initializer if one.name == last.input[1]]
    weights = numpy_helper.to_array(tensor).astype(np.float64)
    wanted = np.eye(weights.shape[1])[labels]
    for _ in range(_HEAD_STEPS):
        scores = features @ weights
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        weights -= _HEAD_RATE * features.T @ (odds - wanted) / len(labels)
    tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), tensor.name))
    made: bytes = graph.SerializeToString()
    return made


def further_trained(model: bytes, steps: int) -> bytes:
    """The model after steps on all its weights at once, by simultaneous perturbation (SPSA).

    Each step asks the model for its loss at two places, and moves every weight along the difference.
    """
    graph = onnx.load_model_from_string(model)
    tensors = {
        one.name: one
        for one in graph.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) >= 64
    }
    weights: Weights = {name: numpy_helper.to_array(one).copy() for name, one in tensors.items()}
    spread = {name: float(values.std()) or 1.0 for name, values in weights.items()}
    inputs, labels = _samples()
    source = np.random.default_rng(1)
    for _ in range(steps):
        ways = {name: source.choice((-1.0, 1.0), values.shape) for name, values in weights.items()}
        losses = []
        for sign in (1.0, -1.0):
            tried = {
                name: (values + sign * 1e-3 * spread[name] * ways[name]).astype(np.float32)
                for name, values in weights.items()
            }
            losses.append(_loss(_with_weights(graph, tensors, tried), inputs, labels))
        slope = float(np.sign(losses[0] - losses[1])) or 1.0
        for name, values in weights.items():
            # Steps as an adaptive optimizer makes them: of one size, in the direction of the slope.
            sizes = _STEP * spread[name] * source.random(values.shape)
            weights[name] = (values - slope * sizes * ways[name]).astype(np.float32)
    return _with_weights(graph, tensors, weights)


def _samples() -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Files whose kind their names tell, the same number of each where there are enough."""
    names = published_model().labels
    root = Path(sysconfig.get_paths()["stdlib"])
    rows, labels = [], []
    for ending, kind in _KINDS.items():
        for path in sorted(root.rglob(f"*{ending}"))[: _FILES // len(_KINDS)]:
            rows.append(features_of_file(path))
            labels.append(names.index(kind))
    return np.stack(rows), np.array(labels)


def _loss(model: bytes, inputs: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    odds = _run(model, inputs)[0]
    return float(-np.log(np.maximum(odds[np.arange(len(labels)), labels], 1e-9)).mean())


def _run(model: bytes, inputs: NDArray[np.int32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {INPUT_NAME: inputs})
    return found


def _with_output(model: bytes, name: str) -> bytes:
    graph = onnx.load_model_from_string(model)
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    made: bytes = graph.SerializeToString()
    return made


def _with_weights(graph: onnx.ModelProto, tensors: dict[str, onnx.TensorProto], weights: Weights) -> bytes:
    for name, values in weights.items():
        tensors[name].raw_data = values.tobytes()
    made: bytes = graph.SerializeToString()
    return made
