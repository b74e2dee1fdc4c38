"""The OpenAPI document says what the server does."""

import json
from pathlib import Path

import pytest

from edgecanary import __version__
from edgecanary.agent.serving import openapi
from edgecanary.agent.serving.routes import ROUTES, find
from edgelab.paths import ROOT
from tests.unit.agent.modelmaking import REVISION_A, adding_model, install, row_io
from tests.unit.agent.serving.harness import Node, rows

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = [path for route in ROUTES for path in route.paths]


def filled(path: str) -> str:
    return path.replace("{model}", "pump").replace("{revision}", REVISION_A)


async def test_the_server_gives_the_document_of_its_version(node: Node) -> None:
    answer = await node.get("/openapi.json")
    assert answer.json == json.loads(json.dumps(openapi.document("1.2.3")))


def test_the_reference_holds_the_document() -> None:
    written = json.loads((ROOT / "docs/reference/inference.openapi.json").read_text())
    assert written == json.loads(json.dumps(openapi.document(__version__)))


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_takes_the_methods_that_the_document_names_and_no_other(
    node: Node, tmp_path: Path, path: str
) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    named = {method.upper() for method in openapi.document("1")["paths"][path]}  # type: ignore[index]
    taken = named | ({"HEAD"} if "GET" in named else set())
    for method in METHODS:
        body = rows(1, 2, 3, 4) if method == "POST" else None
        answer = await node.call(method, filled(path), body)
        if method in taken:
            expected = {400} if path.endswith("feedback") else {200}
        else:
            expected = {405}
            assert answer.headers["allow"].split(", ") == sorted(taken)
        assert answer.status in expected, (method, path, answer.body)


def test_every_path_of_the_document_leads_to_its_own_route() -> None:
    for route in ROUTES:
        for path in route.paths:
            target = find(filled(path))
            assert target is not None
            assert target.route is route
            assert target.model == ("pump" if route.of_model else "")
            assert target.revision == (REVISION_A if "{revision}" in path else None)


@pytest.mark.parametrize(
    "path", ["", "/v2/models//infer/x", "/v2/models/a/versions", "/v2/health", "/v2/x" * 200]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert find(path) is None
