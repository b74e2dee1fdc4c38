"""A hundred switches under load: every answer is there, names its revision, and is that revision's answer."""

import asyncio
import contextlib
import json
from pathlib import Path

import numpy as np

from edgecanary.agent.ports import ModelKey
from tests.unit.agent.modelmaking import KEY, adding_model, install, row_io
from tests.unit.agent.serving.harness import Node, rows
from tests.unit.agent.serving.wire import Wire, post

SWAPS = 120
CLIENTS = 3
"""Of each format."""
SUMMANDS = {f"{number:x}" * 64: float(number) for number in range(1, 9)}
"""What each revision adds, by its digest."""

_HEAD = json.dumps(
    {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()
PATH = f"/v2/models/{KEY}/infer"
AS_JSON = post(json.dumps(rows(0, 10, 20, 30)).encode(), path=PATH)
AS_BINARY = post(
    _HEAD + np.array([0, 10, 20, 30], "<f4").tobytes(),
    f"inference-header-content-length: {len(_HEAD)}",
    path=PATH,
)


class Client:
    """One connection that is kept, and what its answers said."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.revisions: list[str] = []

    async def send(self, port: int, stop: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        wire = Wire(reader, writer)
        while not stop.is_set():
            await wire.send(self.request)
            status, headers, body = await wire.answer()
            assert status == 200, body
            assert "connection" not in headers
            self.take(headers, body)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def take(self, headers: dict[str, str], body: bytes) -> None:
        length = headers.get("inference-header-content-length")
        head = json.loads(body if length is None else body[: int(length)])
        values = head["outputs"][0]["data"] if length is None else np.frombuffer(body[int(length) :], "<f4")
        summand = SUMMANDS[head["model_version"]]
        assert list(values) == [summand, 10 + summand, 20 + summand, 30 + summand]
        self.revisions.append(head["model_version"])


async def test_a_hundred_switches_under_load_fail_no_answer_and_mix_none(node: Node, tmp_path: Path) -> None:
    revisions = [
        install(tmp_path, adding_model(summand), row_io(), revision=revision)
        for revision, summand in SUMMANDS.items()
    ]
    other = ModelKey("plant", "fan")
    await node.server.activate(install(tmp_path, adding_model(1), row_io(), key=other))
    await node.server.activate(revisions[0])
    clients = [Client(request) for request in (AS_JSON, AS_BINARY) for _ in range(CLIENTS)]
    stop = asyncio.Event()
    order = [revisions[0].revision]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.send(node.server.port, stop))
        for number in range(1, SWAPS + 1):
            answered = [len(client.revisions) for client in clients]
            revision = revisions[number % len(revisions)]
            await node.server.activate(revision)
            order.append(revision.revision)
            async with asyncio.timeout(60):
                while any(
                    len(client.revisions) <= before for client, before in zip(clients, answered, strict=True)
                ):
                    await asyncio.sleep(0.001)
        stop.set()
    for client in clients:
        assert len(client.revisions) >= SWAPS
        assert is_in_order(client.revisions, order)


def is_in_order(seen: list[str], order: list[str]) -> bool:
    """Whether the answers follow the switches: none from a revision that had been replaced before."""
    at = 0
    for revision in seen:
        while order[at] != revision:
            at += 1
            if at == len(order):
                return False
    return True


def test_an_older_revision_after_a_newer_one_is_noticed() -> None:
    assert is_in_order(["a", "a", "c"], ["a", "b", "c"])
    assert not is_in_order(["a", "b", "a"], ["a", "b", "c"])
