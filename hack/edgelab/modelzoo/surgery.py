"""Rewrites of the published model's graph that change how it computes, not what it means."""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from edgelab.errors import LabError
from edgelab.modelzoo.published import INPUT_NAME


def with_table_lookup(source: Path, *, rows: int | None = None) -> ModelProto:
    """Look the byte embeddings up in their table, in place of a product with one-hot vectors.

    The answers are the same to the bit and an array of 2,048 x 257 per file is saved. With `rows` the table
    is cut: a value beyond it makes the runtime fail on that input, at run time only.
    Raises LabError when the graph is not the published one.
    """
    model = onnx.load(str(source))
    product = next((node for node in model.graph.node if node.op_type == "MatMul"), None)
    if product is None or not _reads_one_hot(model.graph, product):
        raise LabError(f"{source}: its first MatMul is not the embedding of one-hot vectors")
    table_name = product.input[1]
    _cut_rows(model.graph, table_name, rows)
    lookup = onnx.helper.make_node(
        "Gather", [table_name, INPUT_NAME], list(product.output), name="embedding", axis=0
    )
    place = list(model.graph.node).index(product)
    model.graph.node.remove(product)
    model.graph.node.insert(place, lookup)
    _remove_unused(model.graph)
    onnx.checker.check_model(model)
    return model


def _reads_one_hot(graph: GraphProto, product: NodeProto) -> bool:
    makers = {output: node for node in graph.node for output in node.output}
    cast = makers.get(product.input[0])
    return cast is not None and cast.op_type == "Cast" and makers[cast.input[0]].op_type == "Equal"


def _cut_rows(graph: GraphProto, name: str, rows: int | None) -> None:
    for initializer in graph.initializer:
        if initializer.name == name:
            table = numpy_helper.to_array(initializer)[:rows]
            initializer.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(table), name))


def _remove_unused(graph: GraphProto) -> None:
    """Drop nodes and constants that no output depends on."""
    while unused := [node for node in graph.node if not _used(graph).intersection(node.output)]:
        for node in unused:
            graph.node.remove(node)
    used = _used(graph)
    for initializer in [constant for constant in graph.initializer if constant.name not in used]:
        graph.initializer.remove(initializer)


def _used(graph: GraphProto) -> frozenset[str]:
    inputs = {name for node in graph.node for name in node.input}
    return frozenset(inputs | {output.name for output in graph.output})
