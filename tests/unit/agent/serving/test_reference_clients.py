"""The agent as a process, asked by a client of another project and by requests made from its own document."""

import json
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
import schemathesis
import tritonclient.http as triton
from schemathesis import Case
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from tritonclient.utils import InferenceServerException

from edgecanary.agent.serving.routes import ROUTES
from edgecanary.agent.tensors import NUMPY_TYPES
from edgecanary.api.artifacts import DataType
from tests.unit.agent.modelmaking import adding_model, identity_model, row_io
from tests.unit.agent.serving.agent_process import AgentProcess, Model, running_agent
from tests.unit.agent.serving.test_binary import EXTREMES

MODELS = {
    "pump": Model(adding_model(2), row_io()),
    **{f"same-{dtype.lower()}": Model(identity_model(dtype), row_io(dtype=dtype)) for dtype in DataType},
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with running_agent(tmp_path_factory.mktemp("agent"), MODELS) as running:
        yield running


@pytest.fixture
def client(agent: AgentProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{agent.port}") as made:
        yield made


def values_of(dtype: DataType) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    return np.array([EXTREMES[dtype]], dtype=NUMPY_TYPES[dtype])


def tensor(dtype: str, data: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", *, binary: bool) -> object:
    made = triton.InferInput("x", list(data.shape), dtype)
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def test_tritons_client_finds_the_server_and_its_models(
    agent: AgentProcess, client: triton.InferenceServerClient
) -> None:
    revision = agent.revisions["pump"]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pump")
    assert client.is_model_ready("plant.pump", revision)
    assert not client.is_model_ready("pump", "0" * 64)
    assert not client.is_model_ready("fan")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("pump", revision)
    assert metadata["versions"] == [revision]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


@pytest.mark.parametrize("dtype", list(DataType))
def test_tritons_client_gets_every_type_back_whole_as_binary_and_as_json(
    client: triton.InferenceServerClient, dtype: DataType
) -> None:
    data = values_of(dtype)
    for binary_in in (True, False):
        if dtype is DataType.FP16 and not binary_in:
            continue  # The client itself refuses to write FP16 as JSON; test_binary sends it.
        for binary_out in (True, False):
            answer = client.infer(
                f"same-{dtype.lower()}",
                [tensor(dtype, data, binary=binary_in)],
                outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
                request_id="7",
            )
            given = answer.as_numpy("y")
            if dtype is DataType.BYTES and binary_out:
                given = np.array([[text.decode() for text in given[0]]], dtype=object)
            if dtype is DataType.FP16 and not binary_out:
                given = np.array([answer.get_output("y")["data"]], np.float16)
            np.testing.assert_array_equal(given, data)
            assert answer.get_response()["id"] == "7"


def test_tritons_client_may_name_the_revision_and_send_parameters(
    agent: AgentProcess, client: triton.InferenceServerClient
) -> None:
    data = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    answer = client.infer(
        "plant.pump",
        [tensor("FP32", data, binary=True)],
        model_version=agent.revisions["pump"],
        priority=3,
        timeout=1000,
        parameters={"site": "north", "weight": 0.5, "dry": True},
        response_compression_algorithm="gzip",
    )
    np.testing.assert_array_equal(answer.as_numpy("y"), data + 2)
    assert answer.get_response()["model_version"] == agent.revisions["pump"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sequence_id": 4, "sequence_start": True}, "sequence_id: is not supported"),
        ({"request_compression_algorithm": "gzip"}, "Content-Encoding: 'gzip' is not supported"),
        ({"model_version": "9"}, "revision '9' of model plant.pump does not answer here"),
        (
            {"outputs": [triton.InferRequestedOutput("y", class_count=2)]},
            "outputs[0].parameters.classification: is not supported",
        ),
    ],
    ids=["sequence", "compression", "revision", "classes"],
)
def test_what_is_not_supported_is_refused_in_words_that_tritons_client_shows(
    client: triton.InferenceServerClient, how: dict[str, object], said: str
) -> None:
    data = np.zeros((1, 4), np.float32)
    with pytest.raises(InferenceServerException, match=r".*") as caught:
        client.infer("pump", [tensor("FP32", data, binary=True)], **how)
    assert said in str(caught.value)


EXAMPLES = {"GET": 4, "POST": 16}
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


def test_requests_made_from_the_document_are_answered_as_it_says(agent: AgentProcess) -> None:
    connection = agent.connect()
    connection.request("GET", "/openapi.json")
    document = json.loads(connection.getresponse().read())
    for path, item in document["paths"].items():
        for operation in item.values():
            fix_places(path, operation, agent)
    fix_tensor(document["components"]["schemas"]["InferRequest"])
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://127.0.0.1:{agent.port}")
    checks = CHECKS.get_by_names(list(_CHECKS))
    statuses: set[tuple[str, int]] = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        @hypothesis.seed(5)
        @hypothesis.settings(
            max_examples=EXAMPLES[operation.method.upper()],
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
            | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        )
        def asked(case: Case[Any]) -> None:
            answer = case.call()
            statuses.add((case.operation.definition.raw["operationId"], answer.status_code))
            case.validate_response(answer, checks=[*checks])  # type: ignore[list-item]

        asked()
    actions = {f"{route.action}{more}" for route in ROUTES for more in ("", "OfRevision")[: len(route.paths)]}
    assert {action for action, status in statuses if status == 200} == actions
    assert {action for action, status in statuses if status == 400} >= {"modelInfer", "modelFeedback"}


def fix_tensor(request: dict[str, dict[str, object]]) -> None:
    """Makes the valid requests such as the model takes."""
    item = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": "x"},
            "datatype": {"const": "FP32"},
            "shape": {"const": [1, 4]},
            "data": {
                "type": "array",
                "items": {"type": "number", "minimum": -1e6, "maximum": 1e6},
                "minItems": 4,
                "maxItems": 4,
            },
        },
        "additionalProperties": False,
    }
    request["properties"]["inputs"] = {"type": "array", "items": item, "minItems": 1, "maxItems": 1}
    request["properties"]["outputs"] = {"const": [{"name": "y"}]}


def fix_places(path: str, operation: dict[str, object], agent: AgentProcess) -> None:
    """Names the model that is there, so that more than the 404 is tried."""
    parameters = operation["parameters"]
    assert isinstance(parameters, list), path
    for parameter in parameters:
        known = {"model": ["pump", "plant.pump"], "revision": [agent.revisions["pump"]]}
        if parameter["name"] in known:
            parameter["schema"] = {"enum": known[parameter["name"]]}
