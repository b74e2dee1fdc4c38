"""Which operators an ONNX file calls and which files it would read, wherever it hides them."""

import contextlib
from collections.abc import Callable

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgecanary.artifact.onnx_content import (
    DEFAULT_DOMAINS,
    ExternalTensor,
    Operator,
    check_content,
    read_content,
)
from edgecanary.artifact.onnx_wire import WireReader
from edgecanary.base.errors import InvalidInput

SIZES = {"sub/model.onnx": 100, "sub/w.bin": 64}


def external(**entries: str) -> onnx.TensorProto:
    tensor = TensorProto(name="k", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph_of(*nodes: onnx.NodeProto, tensors: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], list(tensors))


def model_of(graph: onnx.GraphProto, change: Callable[[onnx.ModelProto], object] = lambda _: None) -> bytes:
    model = onnx.ModelProto(ir_version=10, graph=graph)
    change(model)
    return bytes(model.SerializeToString())


def hidden_in_attribute() -> bytes:
    return model_of(graph_of(helper.make_node("Constant", [], ["y"], value=external(location="/etc/passwd"))))


def hidden_in_list_attribute() -> bytes:
    node = helper.make_node("F", [], ["y"])
    node.attribute.add(name="a", type=onnx.AttributeProto.TENSORS).tensors.append(
        external(location="/etc/passwd")
    )
    return model_of(graph_of(node))


def hidden_in_subgraph() -> bytes:
    inner = graph_of(tensors=(external(location="/etc/passwd"),))
    for _ in range(20):
        inner = graph_of(helper.make_node("If", ["c"], ["y"], then_branch=inner))
    return model_of(inner)


def hidden_in_sparse_tensor() -> bytes:
    sparse = onnx.SparseTensorProto(values=external(location="/etc/passwd"), dims=[4])
    return model_of(graph_of(), lambda model: model.graph.sparse_initializer.append(sparse))


def hidden_in_sparse_indices() -> bytes:
    sparse = onnx.SparseTensorProto(indices=external(location="/etc/passwd"), dims=[4])
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.CopyFrom(
        sparse
    )
    return model_of(graph_of(node))


def hidden_in_function() -> bytes:
    node = helper.make_node("Constant", [], ["b"], value=external(location="/etc/passwd"))
    function = helper.make_function("local", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    return model_of(graph_of(), lambda model: model.functions.append(function))


def hidden_in_training() -> bytes:
    inner = graph_of(tensors=(external(location="/etc/passwd"),))
    training = onnx.TrainingInfoProto(initialization=inner)
    return model_of(graph_of(), lambda model: model.training_info.append(training))


def hidden_in_a_second_graph() -> bytes:
    """Two graph fields, which protocol buffers merge into one."""
    return model_of(graph_of()) + model_of(graph_of(tensors=(external(location="/etc/passwd"),)))


def hidden_as_if_inside_the_file() -> bytes:
    tensor = external(location="/etc/passwd")
    tensor.data_location = TensorProto.DEFAULT
    return model_of(graph_of(tensors=(tensor,)))


HIDDEN = [
    hidden_in_attribute,
    hidden_in_list_attribute,
    hidden_in_subgraph,
    hidden_in_sparse_tensor,
    hidden_in_sparse_indices,
    hidden_in_function,
    hidden_in_training,
    hidden_in_a_second_graph,
    hidden_as_if_inside_the_file,
]


def check(data: bytes, domains: tuple[str, ...] = DEFAULT_DOMAINS) -> None:
    check_content(
        memoryview(data), entrypoint="sub/model.onnx", sizes=SIZES, domains=domains, field="files[0]"
    )


def refused(data: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check(data)
    return caught.value


@pytest.mark.parametrize("make", HIDDEN, ids=lambda make: make.__name__)
def test_a_file_outside_is_found_wherever_it_is_hidden(make: Callable[[], bytes]) -> None:
    error = refused(make())
    assert error.reason == "ExternalDataRefused"
    assert "files[0]: tensor 'k' reads '/etc/passwd', which must be one of the variant's files" in str(error)


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "./w.bin",
        "sub/w.bin",
        "w.bin/",
        "w.bin\0",
        "",
        "W.BIN",
        "a/../w.bin",
        "w.bin ",
        "model.onnx",
    ],
)
def test_only_the_plain_name_of_a_declared_file_is_allowed(location: str) -> None:
    assert refused(model_of(graph_of(tensors=(external(location=location),)))).reason == "ExternalDataRefused"


def test_a_declared_file_is_allowed_up_to_its_end() -> None:
    check(model_of(graph_of(tensors=(external(location="w.bin"),))))
    check(model_of(graph_of(tensors=(external(location="w.bin", offset="48", length="16"),))))
    error = refused(model_of(graph_of(tensors=(external(location="w.bin", offset="49", length="16"),))))
    assert "tensor 'k' reads 'w.bin' up to byte 65, but the file has 64 bytes" in str(error)


@pytest.mark.parametrize("offset", ["-1", "0x10", "+1", "1e3", "9" * 20, " 1"])
def test_an_offset_that_is_no_plain_number_is_refused(offset: str) -> None:
    error = refused(model_of(graph_of(tensors=(external(location="w.bin", offset=offset),))))
    assert error.reason == "ModelInvalid"
    assert "offset must be a number" in str(error)


def test_a_key_that_is_there_twice_is_refused() -> None:
    tensor = external(location="w.bin")
    tensor.external_data.add(key="location", value="/etc/passwd")
    assert "has the key 'location' twice" in str(refused(model_of(graph_of(tensors=(tensor,)))))


def test_an_operator_of_another_domain_is_refused_by_name() -> None:
    error = refused(model_of(graph_of(helper.make_node("Conjure", ["x"], ["y"], domain="com.evil"))))
    assert error.reason == "OperatorRefused"
    assert "operator 'Conjure' is of the domain 'com.evil', allowed are '', 'ai.onnx'" in str(error)
    assert "--onnx-domain" in str(error)


def test_an_operator_of_an_allowed_domain_is_allowed() -> None:
    check(model_of(graph_of(helper.make_node("Conjure", ["x"], ["y"], domain="ours"))), domains=("ours",))
    for domain in DEFAULT_DOMAINS:
        check(model_of(graph_of(helper.make_node("Anything", ["x"], ["y"], domain=domain))))


def with_function(inner_domain: str) -> bytes:
    inner = helper.make_node("Neg", ["a"], ["b"], domain=inner_domain)
    function = helper.make_function("ours", "F", ["a"], ["b"], [inner], [helper.make_opsetid("", 17)])
    call = helper.make_node("F", ["x"], ["y"], domain="ours")
    return model_of(graph_of(call), lambda model: model.functions.append(function))


def test_a_function_of_the_model_counts_by_what_it_calls() -> None:
    check(with_function(""))
    assert "operator 'Neg' is of the domain 'com.evil'" in str(refused(with_function("com.evil")))


def test_what_is_in_a_file_is_told() -> None:
    node = helper.make_node("Add", ["x", "k"], ["y"], domain="ai.onnx")
    tensor = external(location="w.bin", offset="16", length="8")
    content = read_content(memoryview(model_of(graph_of(node, tensors=(tensor,)))), field="f")
    assert content.operators == {Operator("ai.onnx", "Add")}
    assert content.external == (ExternalTensor("k", "w.bin", 16, 8),)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xba\x80\x80\x80\x10\x00", "a field number has more than 32 bits"),
        (b"\x3b", "wire type 3 does not occur"),
        (b"\x3a\x05\x00", "a field of 5 bytes runs past the end"),
    ],
)
def test_bytes_that_parsers_could_read_in_two_ways_are_refused(data: bytes, said: str) -> None:
    error = refused(data)
    assert error.reason == "ModelInvalid"
    assert said in str(error)


def test_two_values_of_one_field_are_refused() -> None:
    node = helper.make_node("Neg", ["x"], ["y"], domain="com.evil").SerializeToString()
    node += onnx.NodeProto(domain="ai.onnx").SerializeToString()
    graph = b"\x0a" + bytes([len(node)]) + node
    assert "is there twice" in str(refused(b"\x3a" + bytes([len(graph)]) + graph))


def test_depth_costs_no_stack() -> None:
    data = b""
    for _ in range(3000):
        for key in (b"\x32", b"\x2a", b"\x0a"):  # a graph in an attribute in a node in a graph
            size, length = len(data), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            data = key + length + bytes([size]) + data
    read_content(memoryview(b"\x3a" + data[1:]), field="f")


def test_the_number_of_fields_is_bounded() -> None:
    with pytest.raises(ValueError, match="it has more than 1000 fields"):
        list(WireReader(limit=1000).fields(memoryview(b"\x08\x00" * 1001), ()))


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        check(data)
