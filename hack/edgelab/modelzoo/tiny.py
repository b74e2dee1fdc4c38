"""Models of a kilobyte with the file-type model's signature, for tests of what a node does with a model.

`tiny_model` is well-behaved; the others each have one fault.
"""

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgelab.modelzoo.features import FEATURE_COUNT
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME

IR_VERSION = 8
OPSET = 17
LABEL_COUNT = 214
ENDLESS_TRIPS = 2**62
HUGE_ELEMENTS = 2**34
"""64 GiB of FP32."""


def tiny_model(
    seed: int = 0,
    *,
    input_name: str = INPUT_NAME,
    element: int = TensorProto.INT32,
    width: int = FEATURE_COUNT,
    output_name: str = OUTPUT_NAME,
) -> ModelProto:
    """A softmax over weights drawn from `seed`, times the mean byte; each seed makes another digest.

    The other arguments change the signature, which makes it a model that its declared `io` does not fit.
    """
    weights = np.random.default_rng(seed).normal(size=(1, LABEL_COUNT)).astype(np.float32)
    nodes = [
        *_mean_byte(input_name),
        helper.make_node("Mul", ["mean", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [output_name], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        f"tiny-{seed}",
        [helper.make_tensor_value_info(input_name, element, ["files", width])],
        [_output(output_name)],
        [numpy_helper.from_array(weights, "weights")],
    )
    return _model(graph)


def looping_model(trips: int = ENDLESS_TRIPS) -> ModelProto:
    """A model that loads at once and goes round a loop `trips` times, by default for ever, then answers."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_still"]),
            helper.make_node("Sub", ["value", "value"], ["nothing"]),
            helper.make_node("Add", ["value", "nothing"], ["next_value"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["files", 1]),
        ],
        [
            helper.make_tensor_value_info("go_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_value", TensorProto.FLOAT, ["files", 1]),
        ],
    )
    nodes = [
        *_mean_byte(INPUT_NAME),
        helper.make_node("Loop", ["trips", "always", "mean"], ["looped"], body=body),
        *_scores_from("looped"),
    ]
    constants = [
        numpy_helper.from_array(np.array(trips, dtype=np.int64), "trips"),
        numpy_helper.from_array(np.array(True), "always"),
    ]
    return _model(helper.make_graph(nodes, "looping", [_input()], [_output()], [*constants, _ones()]))


def hungry_model(elements: int = HUGE_ELEMENTS) -> ModelProto:
    """A model that asks for an array of that many FP32 elements when it runs; by default 64 GiB.

    Run it only under a memory limit: where the system grants memory it does not have, the model takes it.
    """
    nodes = [
        *_mean_byte(INPUT_NAME),
        helper.make_node("Shape", [INPUT_NAME], ["shape"]),
        helper.make_node("Sub", ["shape", "shape"], ["zeros"]),
        helper.make_node("Add", ["zeros", "sizes"], ["wanted"]),
        helper.make_node("ConstantOfShape", ["wanted"], ["array"], value=_one()),
        helper.make_node("ReduceSum", ["array"], ["sum"], keepdims=0),
        helper.make_node("Add", ["mean", "sum"], ["fed"]),
        *_scores_from("fed"),
    ]
    sizes = numpy_helper.from_array(np.array([1, elements], dtype=np.int64), "sizes")
    return _model(helper.make_graph(nodes, "hungry", [_input()], [_output()], [sizes, _ones()]))


def _mean_byte(input_name: str) -> list[NodeProto]:
    return [
        helper.make_node("Cast", [input_name], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["mean"], axes=[1], keepdims=1),
    ]


def _scores_from(name: str) -> list[NodeProto]:
    return [
        helper.make_node("Mul", [name, "ones"], ["scores"]),
        helper.make_node("Softmax", ["scores"], [OUTPUT_NAME], axis=1),
    ]


def _ones() -> TensorProto:
    return numpy_helper.from_array(np.ones((1, LABEL_COUNT), dtype=np.float32), "ones")


def _one() -> TensorProto:
    return helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])


def _input() -> ValueInfoProto:
    return helper.make_tensor_value_info(INPUT_NAME, TensorProto.INT32, ["files", FEATURE_COUNT])


def _output(name: str = OUTPUT_NAME) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["files", LABEL_COUNT])


def _model(graph: GraphProto) -> ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    model.producer_name = "edgelab"
    onnx.checker.check_model(model, full_check=True)
    return model
