"""A running inference server with an HTTP client, for the tests of the serving layer."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp
from pydantic import JsonValue

from edgecanary.agent.serving.server import InferenceServer
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.telemetry import Telemetry

Json: TypeAlias = dict[str, JsonValue]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Json:
        content = json.loads(self.body)
        assert isinstance(content, dict)
        return content

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        return str(self.json["error"])


@dataclass(frozen=True)
class Node:
    """A server and what a test does with it."""

    server: InferenceServer
    telemetry: Telemetry
    client: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, body: bytes | Json | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with self.client.request(method, url, data=data, headers=headers) as answer:
            lowered = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, await answer.read(), lowered)

    async def get(self, path: str) -> Answer:
        return await self.call("GET", path)

    async def infer(self, body: bytes | Json, *, model: str = "pump") -> Answer:
        return await self.call("POST", f"/v2/models/{model}/infer", body)

    async def feedback(self, body: bytes | Json, *, model: str = "pump") -> Answer:
        return await self.call("POST", f"/v2/models/{model}/feedback", body)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(name, labels)


@contextlib.asynccontextmanager
async def running_node(settings: ServingSettings | None = None) -> AsyncIterator[Node]:
    """A server on a free port of the loopback."""
    telemetry = Telemetry(agent_version="1.2.3")
    server = InferenceServer(telemetry, version="1.2.3", settings=settings)
    await server.start("127.0.0.1:0")
    try:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
            yield Node(server, telemetry, client)
    finally:
        await server.stop()


def tensor(name: str, datatype: str, shape: list[int], data: list[JsonValue]) -> Json:
    """A tensor of a JSON request."""
    shape_values: list[JsonValue] = list(shape)
    return {"name": name, "datatype": datatype, "shape": shape_values, "data": data}


def rows(*values: float) -> Json:
    """A request with one row of four numbers."""
    return {"inputs": [tensor("x", "FP32", [1, 4], list(values))]}


def output_data(answer: Answer, index: int = 0) -> list[JsonValue]:
    """The values of one JSON output."""
    outputs = answer.json["outputs"]
    assert isinstance(outputs, list)
    output = outputs[index]
    assert isinstance(output, dict)
    data = output["data"]
    assert isinstance(data, list)
    return data
