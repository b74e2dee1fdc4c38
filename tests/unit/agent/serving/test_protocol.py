"""The Open Inference Protocol v2 over real HTTP and a real runtime."""

from pathlib import Path

import pytest

from edgecanary.agent.ports import ModelKey
from edgecanary.api.artifacts import DataType, ModelIO
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    REVISION_B,
    adding_model,
    identity_model,
    install,
    logarithm_model,
    lookup_io,
    lookup_model,
    row_io,
    spec,
)
from tests.unit.agent.serving.harness import Json, Node, output_data, rows, tensor


@pytest.fixture(autouse=True)
async def model(node: Node, tmp_path: Path) -> None:
    """`plant.pump`, which adds 2 to each value."""
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))


async def test_the_server_tells_its_name_version_and_extensions(node: Node) -> None:
    answer = await node.get("/v2")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "name": "edgecanary-agent",
        "version": "1.2.3",
        "extensions": ["binary_tensor_data", "model_feedback"],
    }


async def test_the_server_is_live_and_ready(node: Node) -> None:
    assert (await node.get("/v2/health/live")).json == {"live": True}
    assert (await node.get("/v2/health/ready")).json == {"ready": True}


@pytest.mark.parametrize("name", ["plant.door", "door"])
async def test_after_a_start_the_node_is_ready_and_answers_once_its_models_are_back(
    node: Node, tmp_path: Path, name: str
) -> None:
    door = ModelKey("plant", "door")
    node.server.expect([door])
    assert (await node.get("/v2/health/ready")).status == 503
    answer = await node.get(f"/v2/models/{name}/ready")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error == f"model {name!r} is being loaded, try again"
    assert (await node.get("/v2/models/pump/ready")).status == 200
    await node.server.activate(install(tmp_path, adding_model(1), row_io(), key=door))
    assert (await node.get("/v2/health/ready")).json == {"ready": True}
    assert (await node.get(f"/v2/models/{name}/ready")).status == 200


async def test_a_model_that_turns_out_to_be_lost_is_not_waited_for(node: Node) -> None:
    door = ModelKey("plant", "door")
    node.server.expect([door])
    await node.server.deactivate(door)
    assert (await node.get("/v2/health/ready")).status == 200
    assert (await node.get("/v2/models/door/ready")).status == 404


@pytest.mark.parametrize("path", ["/v2/models/plant.pump", f"/v2/models/pump/versions/{REVISION_A}"])
async def test_a_models_metadata_has_its_revision_and_tensors(node: Node, path: str) -> None:
    answer = await node.get(path)
    assert answer.status == 200
    assert answer.json == {
        "name": path.split("/")[3],
        "versions": [REVISION_A],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
    }


@pytest.mark.parametrize("path", ["/v2/models/pump/ready", f"/v2/models/pump/versions/{REVISION_A}/ready"])
async def test_an_active_model_is_ready(node: Node, path: str) -> None:
    answer = await node.get(path)
    assert answer.status == 200
    assert answer.json == {"name": "pump", "ready": True, "model_version": REVISION_A}


@pytest.mark.parametrize("name", ["plant.pump", "pump", "plant%2Epump"])
async def test_an_answer_carries_the_model_its_revision_the_id_and_the_outputs(node: Node, name: str) -> None:
    answer = await node.infer(rows(1, 2, 3, 4) | {"id": "request-7"}, model=name)
    assert answer.status == 200
    assert answer.json == {
        "model_name": name.replace("%2E", "."),
        "model_version": REVISION_A,
        "id": "request-7",
        "outputs": [{"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [3, 4, 5, 6]}],
    }


async def test_a_request_may_name_the_active_revision(node: Node) -> None:
    path = f"/v2/models/pump/versions/{REVISION_A}/infer"
    assert (await node.call("POST", path, rows(1, 2, 3, 4))).status == 200
    answer = await node.call("POST", f"/v2/models/pump/versions/{REVISION_B}/infer", rows(1, 2, 3, 4))
    assert answer.status == 404
    assert answer.error == (
        f"revision '{REVISION_B}' of model plant.pump does not answer here; the active one is {REVISION_A}"
    )


async def test_an_answer_without_a_requests_id_has_none(node: Node) -> None:
    assert "id" not in (await node.infer(rows(1, 2, 3, 4))).json


async def test_rows_may_be_nested_and_many(node: Node) -> None:
    body: Json = {"inputs": [tensor("x", "FP32", [2, 4], [[1, 2, 3, 4], [5, 6, 7, 8.5]])]}
    answer = await node.infer(body)
    assert output_data(answer) == [3, 4, 5, 6, 7, 8, 9, 10.5]


async def test_only_the_outputs_asked_for_are_given(node: Node, tmp_path: Path) -> None:
    assert (await node.infer(rows(1, 2, 3, 4) | {"outputs": [{"name": "y"}]})).status == 200
    refused = await node.infer(rows(1, 2, 3, 4) | {"outputs": [{"name": "z"}]})
    assert (refused.status, refused.error) == (400, "outputs[0].name: is \"z\", must be one of 'y'")


async def test_the_short_name_ends_while_another_namespace_has_it_and_comes_back(
    node: Node, tmp_path: Path
) -> None:
    other = ModelKey("lab", "pump")
    await node.server.activate(install(tmp_path, adding_model(5), row_io(), key=other))
    ambiguous = await node.infer(rows(1, 2, 3, 4))
    assert ambiguous.status == 404
    assert ambiguous.error == "model 'pump' is on this node more than once: call it lab.pump or plant.pump"
    assert output_data(await node.infer(rows(0, 0, 0, 0), model="lab.pump")) == [5, 5, 5, 5]
    assert output_data(await node.infer(rows(0, 0, 0, 0), model="plant.pump")) == [2, 2, 2, 2]
    await node.server.deactivate(other)
    assert output_data(await node.infer(rows(0, 0, 0, 0))) == [2, 2, 2, 2]


async def test_a_full_name_goes_before_another_models_short_name(node: Node, tmp_path: Path) -> None:
    dotted = ModelKey("lab", "plant.pump")
    await node.server.activate(install(tmp_path, adding_model(5), row_io(), key=dotted))
    assert output_data(await node.infer(rows(0, 0, 0, 0), model="plant.pump")) == [2, 2, 2, 2]
    assert output_data(await node.infer(rows(0, 0, 0, 0), model="lab.plant.pump")) == [5, 5, 5, 5]


async def test_an_unknown_model_is_a_404_that_says_what_is_served(node: Node) -> None:
    for method, path in (
        ("GET", "/v2/models/fan"),
        ("GET", "/v2/models/fan/ready"),
        ("POST", "/v2/models/fan/infer"),
    ):
        answer = await node.call(method, path, b"{}" if method == "POST" else None)
        assert answer.status == 404
        assert answer.error == "model 'fan' is not on this node; it serves plant.pump"


async def test_a_withdrawn_model_is_a_404_that_says_so(node: Node) -> None:
    await node.server.deactivate(KEY)
    answer = await node.infer(rows(1, 2, 3, 4))
    assert answer.status == 404
    assert answer.error == "model plant.pump has no active revision on this node at present"
    assert (await node.get("/v2/models/pump/ready")).status == 404


async def test_other_paths_and_methods_are_refused_with_the_rule(node: Node) -> None:
    for path in ("/", "/v1/models", "/v2/models", "/v2/models/pump/other", "/v2/models/pump/infer/more"):
        answer = await node.get(path)
        assert answer.status == 404, path
        assert answer.error.startswith(f"there is nothing at {path}")
    assert (await node.call("GET", "/v2/models/pump/infer")).status == 405
    posted = await node.call("POST", "/v2/health/live", b"")
    assert (posted.status, posted.error) == (405, "POST /v2/health/live: the method must be GET")
    assert posted.headers["allow"] == "GET, HEAD"


def broken(**changes: object) -> Json:
    """A request whose input differs from a good one in this."""
    item: dict[str, object] = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 4],
        "data": [1, 2, 3, 4],
    } | changes
    return {"inputs": [{key: value for key, value in item.items() if value is not None}]}  # type: ignore[misc]


WRONG_INPUTS: list[tuple[bytes | Json, str]] = [
    (b"", "the request: must be JSON"),
    (b"{", "the request: must be JSON"),
    (b"\xff\xfe", "the request: must be JSON"),
    (b"[" * 100_000, "the request: must not be nested so deeply"),
    (b"[1]", "the request: must be a JSON object"),
    (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,NaN]}]}',
        "NaN is not a JSON number",
    ),
    (b"1" * 5000, "the request: must be JSON"),
    ({}, "inputs: must be a list of tensors"),
    ({"inputs": {}}, "inputs: must be a list of tensors"),
    ({"inputs": []}, "inputs: 'x' is missing; the model takes 'x'"),
    ({"inputs": [1]}, "inputs[0]: must be a JSON object"),
    (rows(1, 2, 3, 4) | {"id": 7}, "id: must be a string of at most 256 characters"),
    (rows(1, 2, 3, 4) | {"id": "x" * 257}, "id: must be a string of at most 256 characters"),
    (rows(1, 2, 3, 4) | {"parameters": []}, "the request.parameters: must be a JSON object"),
    (
        rows(1, 2, 3, 4) | {"parameters": {"binary_data_output": 1}},
        "parameters.binary_data_output: is 1, must be true or false",
    ),
    (
        rows(1, 2, 3, 4) | {"parameters": {"site": None}},
        "the request.parameters.site: is null, must be a text, a number, true or false",
    ),
    (
        rows(1, 2, 3, 4) | {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        "outputs[0].parameters.classification: is not supported: ask for the output itself",
    ),
    (
        rows(1, 2, 3, 4) | {"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "outputs[0].parameters.shared_memory_region: is not supported: send the tensor in the request",
    ),
    (rows(1, 2, 3, 4) | {"outputs": []}, "outputs: must be a list of outputs, or absent"),
    (rows(1, 2, 3, 4) | {"outputs": [{"name": "y"}, {"name": "y"}]}, "outputs[1].name: 'y' is there twice"),
    (broken(name="z"), "inputs[0].name: is \"z\", must be one of 'x'"),
    (broken(name=None), "inputs[0].name: is null, must be one of 'x'"),
    (broken(datatype="FP64"), 'inputs[0] (x).datatype: is "FP64", must be FP32'),
    (broken(datatype="BF16"), 'inputs[0] (x).datatype: is "BF16", must be FP32'),
    (broken(datatype=None), "inputs[0] (x).datatype: is null, must be FP32"),
    (broken(shape=[4]), "inputs[0] (x).shape: is [4], must be [-1, 4]"),
    (broken(shape=[1, 5]), "inputs[0] (x).shape: is [1, 5], must be [-1, 4]"),
    (broken(shape=[0, 4]), "inputs[0] (x).shape: is [0, 4], must be a list of integers of 1 or more"),
    (broken(shape=[-1, 4]), "inputs[0] (x).shape: is [-1, 4], must be a list of integers of 1 or more"),
    (broken(shape=[True, 4]), "inputs[0] (x).shape: is [true, 4], must be a list of integers"),
    (broken(shape=[1.0, 4]), "inputs[0] (x).shape: is [1.0, 4], must be a list of integers"),
    (
        broken(shape=[2**62, 4]),
        "inputs[0] (x).data: has 4 values where its shape must have 18446744073709551616",
    ),
    (broken(shape="1x4"), 'inputs[0] (x).shape: is "1x4", must be a list of integers'),
    (broken(data=None), "inputs[0] (x).data: is missing"),
    (broken(data=7), "inputs[0] (x).data: must be a list of values"),
    (broken(data=[1, 2, 3]), "inputs[0] (x).data: has 3 values where its shape must have 4"),
    (broken(data=[[1, 2, 3]]), "inputs[0] (x).data: must be a flat list, or nested as its shape [1, 4]"),
    (broken(data=[[1, 2], [3, 4]]), "inputs[0] (x).data: has 2 values where its shape must have 1"),
    (broken(data=[[1, 2, 3, [4]]]), "inputs[0] (x).data: has [4], all values must be numbers for FP32"),
    (broken(data=[1, 2, 3, "4"]), 'inputs[0] (x).data: has "4", all values must be numbers for FP32'),
    (broken(data=[1, 2, 3, None]), "inputs[0] (x).data: has null, all values must be numbers for FP32"),
    (broken(data=[1, 2, 3, True]), "inputs[0] (x).data: has true, all values must be numbers for FP32"),
    (broken(data=[1, 2, 3, 1e39]), "inputs[0] (x).data: has 1e+39, must fit FP32"),
    (broken(data=[1, 2, 3, 10**400]), "inputs[0] (x).data: must fit FP32"),
    (
        broken(data=None, parameters={"binary_data_size": 16}),
        "inputs[0] (x).binary_data_size: needs the header Inference-Header-Content-Length",
    ),
    ({"inputs": [*broken()["inputs"], *broken()["inputs"]]}, "inputs[1].name: 'x' is there twice"),  # type: ignore[misc]
]


@pytest.mark.parametrize(("body", "words"), WRONG_INPUTS, ids=[words for _, words in WRONG_INPUTS])
async def test_a_wrong_request_is_a_400_that_names_field_value_and_rule(
    node: Node, body: bytes | Json, words: str
) -> None:
    answer = await node.infer(body)
    assert (answer.status, answer.error[: len(words) + 40].count(words)) == (400, 1), answer.error
    assert node.server.counters(KEY, REVISION_A).requests == 0


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("UINT8", 256, "must fit UINT8"),
        ("UINT8", -1, "must fit UINT8"),
        ("INT64", 2**63, "must fit INT64"),
        ("INT32", 1.5, "has 1.5, all values must be integers for INT32"),
        ("UINT64", True, "has true, all values must be integers for UINT64"),
        ("BOOL", 1, "has 1, all values must be true or false for BOOL"),
        ("FP16", 70000, "has 70000, must fit FP16"),
        ("BYTES", 7, "has 7, all values must be strings for BYTES"),
    ],
)
async def test_a_value_that_its_type_cannot_hold_is_refused(
    node: Node, tmp_path: Path, dtype: str, value: float, words: str
) -> None:
    kind = DataType(dtype)
    installed = install(tmp_path, identity_model(kind), row_io(dtype=kind), revision=REVISION_B)
    await node.server.activate(installed)
    answer = await node.infer({"inputs": [tensor("x", dtype, [1, 4], [value] * 4)]})
    assert answer.status == 400
    assert words in answer.error


async def test_a_missing_input_of_several_is_named(node: Node, tmp_path: Path) -> None:
    io = ModelIO(inputs=(spec("x", DataType.INT64, -1, 4),), outputs=lookup_io().outputs)
    await node.server.activate(install(tmp_path, lookup_model(), io, revision=REVISION_B))
    answer = await node.infer({"inputs": []})
    assert answer.error == "inputs: 'x' is missing; the model takes 'x'"


async def test_the_models_own_fixed_length_counts_where_the_declaration_accepts_any(
    node: Node, tmp_path: Path
) -> None:
    io = ModelIO(inputs=(spec("x", DataType.FP32, -1, -1),), outputs=(spec("y", DataType.FP32, -1, -1),))
    await node.server.activate(install(tmp_path, adding_model(2), io, revision=REVISION_B))
    answer = await node.infer(broken(shape=[2, 2]))
    assert (answer.status, answer.error) == (
        400,
        "inputs[0] (x).shape: is [2, 2], must be [-1, 4] (-1 accepts any)",
    )
    assert node.server.counters(KEY, REVISION_B).errors == 0


async def test_a_model_that_fails_at_run_time_is_a_500_and_counts_as_its_error(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, lookup_model(), lookup_io(), revision=REVISION_B))
    fine = await node.infer({"inputs": [tensor("x", "INT64", [1, 4], [0, 1, 0, 1])]})
    assert output_data(fine) == [10, 20, 10, 20]
    failed = await node.infer({"inputs": [tensor("x", "INT64", [1, 4], [0, 1, 0, 9])]})
    assert failed.status == 500
    assert f"revision {REVISION_B} failed: " in failed.error
    assert "indices element out of data bounds" in failed.error
    counters = node.server.counters(KEY, REVISION_B)
    assert (counters.requests, counters.errors) == (2, 1)


async def test_an_output_that_is_not_finite_is_the_models_error(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, logarithm_model(), row_io(), revision=REVISION_B))
    failed = await node.infer(rows(1, 1, 1, -1))
    assert failed.status == 500
    assert failed.error == (
        f"revision {REVISION_B} failed: output 'y', element [0, 3] is nan, not a finite number"
    )
    assert node.server.counters(KEY, REVISION_B).errors == 1


async def test_half_a_surrogate_pair_breaks_nothing(node: Node, tmp_path: Path) -> None:
    answer = await node.infer(rows(1, 2, 3, 4) | {"id": "\ud800"})
    assert (answer.status, answer.json["id"]) == (200, "\ud800")
    unknown = await node.feedback({"\udfff": 1})
    assert unknown.error == "\udfff: unknown field, must be one of id, outcome, revision"
    texts = install(
        tmp_path, identity_model(DataType.BYTES), row_io(dtype=DataType.BYTES), revision=REVISION_B
    )
    await node.server.activate(texts)
    refused = await node.infer({"inputs": [tensor("x", "BYTES", [1, 4], ["a", "b", "\ud800", "d"])]})
    assert refused.status == 400
    assert (
        refused.error == "inputs[0] (x).data: has half a surrogate pair, all values must be whole characters"
    )
    assert node.server.counters(KEY, REVISION_B).errors == 0


async def test_a_compressed_body_is_refused(node: Node) -> None:
    answer = await node.call("POST", "/v2/models/pump/infer", b"x", {"Content-Encoding": "gzip"})
    assert answer.status == 415
    assert answer.headers["accept-encoding"] == "identity"
