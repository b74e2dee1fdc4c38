"""Small real ONNX models and golden files for the agent's tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.api.artifacts import (
    DataType,
    Format,
    Golden,
    ModelFile,
    ModelIO,
    TensorSpec,
    Variant,
    VariantBudget,
)

KEY = ModelKey("plant", "pump")
MODEL_FILE = "model.onnx"
REVISION_A = "a" * 64
REVISION_B = "b" * 64
REVISION_C = "c" * 64

ONNX_TYPES = {
    DataType.BOOL: onnx.TensorProto.BOOL,
    DataType.UINT8: onnx.TensorProto.UINT8,
    DataType.UINT16: onnx.TensorProto.UINT16,
    DataType.UINT32: onnx.TensorProto.UINT32,
    DataType.UINT64: onnx.TensorProto.UINT64,
    DataType.INT8: onnx.TensorProto.INT8,
    DataType.INT16: onnx.TensorProto.INT16,
    DataType.INT32: onnx.TensorProto.INT32,
    DataType.INT64: onnx.TensorProto.INT64,
    DataType.FP16: onnx.TensorProto.FLOAT16,
    DataType.FP32: onnx.TensorProto.FLOAT,
    DataType.FP64: onnx.TensorProto.DOUBLE,
    DataType.BYTES: onnx.TensorProto.STRING,
}

Dims = Sequence[int | str]


def spec(name: str, dtype: DataType, *shape: int) -> TensorSpec:
    """A declared tensor."""
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def row_io(name_in: str = "x", name_out: str = "y", dtype: DataType = DataType.FP32) -> ModelIO:
    """Any number of rows of four values, in and out."""
    return ModelIO(inputs=(spec(name_in, dtype, -1, 4),), outputs=(spec(name_out, dtype, -1, 4),))


def value(name: str, dtype: DataType, dims: Dims) -> onnx.ValueInfoProto:
    """A tensor of a graph."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[dtype], dims)


def model_bytes(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> bytes:
    """A model file of this graph, in versions that every supported runtime reads."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(constants))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def identity_model(dtype: DataType = DataType.FP32) -> bytes:
    """Gives its rows of four back."""
    return model_bytes(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", dtype, ["n", 4])],
        [value("y", dtype, ["n", 4])],
    )


def adding_model(summand: float) -> bytes:
    """Adds a number to each value."""
    return model_bytes(
        [helper.make_node("Add", ["x", "k"], ["y"])],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [helper.make_tensor("k", onnx.TensorProto.FLOAT, [1], [summand])],
    )


def logarithm_model() -> bytes:
    """Gives NaN for negative numbers and minus infinity for 0."""
    return model_bytes(
        [helper.make_node("Log", ["x"], ["y"])],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
    )


def root_model() -> bytes:
    """Gives NaN for negative numbers and is fine for all others, zeros among them."""
    return model_bytes(
        [helper.make_node("Sqrt", ["x"], ["y"])],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
    )


def lookup_model() -> bytes:
    """Looks numbers up in a table of two: anything but 0 and 1 makes the runtime fail."""
    return model_bytes(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [value("x", DataType.INT64, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [helper.make_tensor("table", onnx.TensorProto.FLOAT, [2], [10.0, 20.0])],
    )


def lookup_io() -> ModelIO:
    """What `lookup_model` takes and gives."""
    return ModelIO(inputs=(spec("x", DataType.INT64, -1, 4),), outputs=(spec("y", DataType.FP32, -1, 4),))


def counting_model() -> bytes:
    """Counts up to its input in a loop, one pass at a time: the input decides how long it takes."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["sum", "one"], ["next"])],
        "body",
        [value("pass", DataType.INT64, []), value("go", DataType.BOOL, []), value("sum", DataType.FP32, [])],
        [value("go_on", DataType.BOOL, []), value("next", DataType.FP32, [])],
    )
    return model_bytes(
        [helper.make_node("Loop", ["x", "yes", "zero"], ["y"], body=body)],
        [value("x", DataType.INT64, [])],
        [value("y", DataType.FP32, [])],
        [
            helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True]),
            helper.make_tensor("zero", onnx.TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0]),
        ],
    )


def counting_io() -> ModelIO:
    """What `counting_model` takes and gives."""
    return ModelIO(inputs=(spec("x", DataType.INT64),), outputs=(spec("y", DataType.FP32),))


def endless_model() -> bytes:
    """Never answers."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Neg", ["sum"], ["next"])],
        "body",
        [
            value("pass", DataType.INT64, []),
            value("go", DataType.BOOL, []),
            value("sum", DataType.FP32, ["n", 4]),
        ],
        [value("go_on", DataType.BOOL, []), value("next", DataType.FP32, ["n", 4])],
    )
    return model_bytes(
        [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])],
    )


def stubborn_model() -> bytes:
    """Gives its rows back, and works on that, in one node that no one can interrupt, for as long as the square of
    its largest value: a million is an hour, 0 no time.
    """
    floats, integers = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    constants: list[tuple[str, int, list[int], list[float]]] = [
        ("none", integers, [], [0]),
        ("one", integers, [], [1]),
        ("around", integers, [2], [0, 2]),
        ("before", integers, [2], [0, 1]),
        ("all", integers, [1], [2**40]),
        ("stretch", floats, [4], [10] * 4),
        ("extent", floats, [4], [0, 0, 1, 1]),
        ("zero", floats, [], [0]),
        ("half", floats, [1], [0.5]),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["count"], to=integers),
        helper.make_node("Range", ["none", "count", "one"], ["order"]),
        helper.make_node("Cast", ["order"], ["at"], to=floats),
        helper.make_node("Unsqueeze", ["at", "around"], ["column"]),
        helper.make_node("Mul", ["column", "stretch"], ["corner"]),
        helper.make_node("Add", ["corner", "extent"], ["boxes"]),
        helper.make_node("Mul", ["at", "zero"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "before"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "all", "half"], ["chosen"]),
        helper.make_node("Shape", ["chosen"], ["found"]),
        helper.make_node("Cast", ["found"], ["numbers"], to=floats),
        helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    return model_bytes(
        nodes,
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [helper.make_tensor(*constant) for constant in constants],
    )


def hungry_model(gibibytes: int = 64) -> bytes:
    """Asks for that much memory when it runs; the model itself is small."""
    return model_bytes(
        [
            helper.make_node("ConstantOfShape", ["s"], ["h"]),
            helper.make_node("ReduceSum", ["h"], ["t"], keepdims=0),
            helper.make_node("Add", ["x", "t"], ["y"]),
        ],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [helper.make_tensor("s", onnx.TensorProto.INT64, [1], [gibibytes * 2**28])],
    )


def tiny_hungry_model() -> bytes:
    """64 GiB asked for by a file of fewer than 152 bytes: its only tensor is 2^34 numbers long."""
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=17)
    graph = model.graph
    graph.name = "g"
    graph.node.add(op_type="ConstantOfShape", input=["s"], output=["y"])
    graph.initializer.add(name="s", data_type=onnx.TensorProto.INT64, dims=[1], int64_data=[2**34])
    graph.input.add(name="x").type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph.input[0].type.tensor_type.shape.dim.add(dim_value=1)
    graph.output.add(name="y").type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph.output[0].type.tensor_type.shape.dim.add(dim_param="n")
    return bytes(model.SerializeToString())


def crashing_model(depth: int = 60_000) -> bytes:
    """A decision tree so deep that onnxruntime, which follows it by recursion, overflows its stack."""
    ids = list(range(2 * depth + 1))
    branches = [node % 2 == 0 and node < 2 * depth for node in ids]
    leaves = [node for node, branch in zip(ids, branches, strict=True) if not branch]
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0] * len(ids),
        nodes_nodeids=ids,
        nodes_featureids=[0] * len(ids),
        nodes_values=[float(number) for number in ids],
        nodes_modes=["BRANCH_LEQ" if branch else "LEAF" for branch in branches],
        nodes_truenodeids=[number + 2 if branch else 0 for number, branch in zip(ids, branches, strict=True)],
        nodes_falsenodeids=[
            number + 1 if branch else 0 for number, branch in zip(ids, branches, strict=True)
        ],
        target_treeids=[0] * len(leaves),
        target_nodeids=leaves,
        target_ids=[0] * len(leaves),
        target_weights=[1.0] * len(leaves),
    )
    return model_bytes([node], [value("x", DataType.FP32, ["n", 4])], [value("y", DataType.FP32, ["n", 1])])


def unknown_operator_model() -> bytes:
    """Calls an operator that no runtime has, in a domain that is allowed."""
    return foreign_operator_model("")


def foreign_operator_model(domain: str) -> bytes:
    """Calls an operator of this domain that no runtime has."""
    return model_bytes(
        [helper.make_node("Conjure", ["x"], ["y"], domain=domain)],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
    )


def external_data_model(location: str) -> bytes:
    """Adds four numbers that lie in another file."""
    weights = onnx.TensorProto(name="k", data_type=onnx.TensorProto.FLOAT, dims=[4])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model_bytes(
        [helper.make_node("Add", ["x", "k"], ["y"])],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [weights],
    )


def write_golden(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Path:
    """A golden file with these arrays."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def golden(relative: str = "0", absolute: str = "0.00001") -> Golden:
    """The declaration of a golden file."""
    return Golden(
        uri="https://models.example.com/golden.npz",
        sha256="0" * 64,
        size_bytes=1000,
        relative_tolerance=relative,
        absolute_tolerance=absolute,
    )


def install(
    directory: Path,
    model: bytes,
    io: ModelIO,
    *,
    revision: str = REVISION_A,
    key: ModelKey = KEY,
    golden_path: Path | None = None,
    budget: VariantBudget | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> InstalledRevision:
    """A revision in a directory of its own: the model and the files that lie beside it."""
    place = directory / f"{key}-{revision[:8]}"
    place.mkdir(parents=True)
    files = {MODEL_FILE: model, **(beside or {})}
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    declared = tuple(
        ModelFile(
            path=path, uri=f"https://models.example.com/{path}", sha256="0" * 64, size_bytes=len(content)
        )
        for path, content in files.items()
    )
    return InstalledRevision(
        key=key,
        revision=revision,
        version=f"1.0.{revision[0]}",
        directory=place,
        variant=Variant(name="cpu", format=Format.ONNX, files=declared, entrypoint=MODEL_FILE, budget=budget),
        io=io,
        golden_path=golden_path,
        golden=None if golden_path is None else golden(),
        serve=True,
    )
