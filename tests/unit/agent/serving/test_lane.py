"""Connections that a model's thread answers itself: nothing is different for a client."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.serving import loan
from edgecanary.agent.serving.lane import Form, Lane
from edgecanary.agent.serving.messages import HttpLimits
from edgecanary.agent.serving.settings import BatchSettings, ServingSettings
from tests.unit.agent.modelmaking import KEY, adding_model, counting_io, counting_model, install, row_io
from tests.unit.agent.serving.harness import Json, Node, rows, running_node, tensor
from tests.unit.agent.serving.wire import Wire, post

FAN = ModelKey("plant", "fan")
PATH = "/v2/models/pump/infer"
READY = b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n"


def infer(content: Json, *headers: str, path: str = PATH) -> bytes:
    return post(json.dumps(content).encode(), *headers, path=path)


def counted_to(number: int) -> bytes:
    return infer({"inputs": [tensor("x", "INT64", [], [number])]})


QUICK = infer(rows(0, 10, 20, 30))


@contextlib.asynccontextmanager
async def wired(node: Node) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.server.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def lane_of(node: Node, key: ModelKey = KEY) -> Lane | None:
    active = node.server._registry.active(key)
    return None if active is None else active.lane


def guests(node: Node, key: ModelKey = KEY) -> int:
    lane = lane_of(node, key)
    return 0 if lane is None else len(lane._guests)


async def lent(node: Node, wire: Wire, request: bytes = QUICK, key: ModelKey = KEY) -> None:
    """Asks until the model's thread has the connection: on a busy machine an answer may be too slow for that."""
    async with asyncio.timeout(60):
        while not guests(node, key):
            await wire.send(request)
            assert (await wire.answer())[0] == 200
            await asyncio.sleep(0.01)


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def outputs(body: bytes) -> list[float]:
    values = json.loads(body)["outputs"][0]["data"]
    assert isinstance(values, list)
    return values


async def test_what_a_lane_answers_is_counted_like_everything_else(node: Node, tmp_path: Path) -> None:
    installed = install(tmp_path, adding_model(1), row_io())
    await node.server.activate(installed)
    async with wired(node) as wire:
        await lent(node, wire)
        lane = lane_of(node)
        assert lane is not None
        before, answered = node.server.counters(KEY, installed.revision), lane._answered
        waiting = asyncio.create_task(node.server.more_answers(KEY, installed.revision, before))
        for number in range(5):
            await wire.send(infer(rows(number, 0, 0, 0) | {"id": "x" * number}))
            status, headers, body = await wire.answer()
            assert (status, headers["content-type"]) == (200, "application/json")
            assert outputs(body) == [number + 1, 1, 1, 1]
            assert json.loads(body)["model_version"] == installed.revision
        assert lane._answered == answered + 5
        after = node.server.counters(KEY, installed.revision)
        assert (after.requests, after.errors) == (before.requests + 5, before.errors)
        labels = {
            "namespace": "plant",
            "model": "pump",
            "revision": installed.revision,
            "version": installed.version,
        }
        assert node.metric("edgecanary_requests_total", outcome="ok", **labels) == after.requests
        assert node.metric("edgecanary_request_duration_seconds_count", **labels) == after.requests
        async with asyncio.timeout(30):
            await waiting


async def test_a_bad_request_in_a_lane_is_refused_and_counted(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        await wire.send(infer(rows(1, 2)))
        status, _, body = await wire.answer()
        assert (status, json.loads(body)["error"]) == (
            400,
            "inputs[0] (x).data: has 2 values where its shape must have 4",
        )
        assert node.metric("edgecanary_refused_requests_total", status="400") == 1
        assert guests(node) == 1


@pytest.mark.parametrize(
    "other",
    [
        READY,
        infer(rows(0, 0, 0, 0), path="/v2/models/fan/infer"),
        infer(rows(0, 0, 0, 0), "x-trace: 7"),
        QUICK + QUICK,
    ],
    ids=["health", "other model", "other head", "two at once"],
)
async def test_what_is_not_for_the_lane_is_answered_as_ever(node: Node, tmp_path: Path, other: bytes) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    await node.server.activate(install(tmp_path, adding_model(2), row_io(), key=FAN))
    async with wired(node) as wire:
        await lent(node, wire)
        for _ in range(2):
            await wire.send(other)
            for _ in range(other.count(b"HTTP/1.1")):
                status, _, body = await wire.answer()
                assert status == 200
                assert other is READY or outputs(body)[0] == (2 if b"/fan/" in other else 1)
            await wire.send(QUICK)
            assert outputs((await wire.answer())[2])[0] == 1


async def test_two_models_on_one_connection_are_never_taken_for_each_other(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    await node.server.activate(install(tmp_path, adding_model(2), row_io(), key=FAN))
    to_fan = infer(rows(0, 0, 0, 0), path="/v2/models/fan/infer")
    to_pump = infer(rows(0, 0, 0, 0))
    async with wired(node) as wire:
        for sent in (
            to_pump,
            to_fan,
            to_fan + to_pump,
            to_fan,
            to_pump + to_fan,
            to_pump,
            to_fan,
            to_fan + READY,
            to_pump,
        ):
            await wire.send(sent)
            for head in sent.split(b"HTTP/1.1\r\n")[:-1]:
                status, _, body = await wire.answer()
                assert status == 200
                if not head.endswith(b"/ready "):
                    assert outputs(body)[0] == (2 if head.endswith(b"/fan/infer ") else 1)


async def test_a_request_that_comes_in_pieces_is_answered_whole(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        for cut in (len(QUICK) - 3, 20, QUICK.index(b"\r\n\r\n") + 6):
            await wire.send(QUICK[:cut])
            await asyncio.sleep(0.1)
            await wire.send(QUICK[cut:])
            assert outputs((await wire.answer())[2]) == [1, 11, 21, 31]


async def test_a_connection_whose_requests_all_differ_is_not_lent_for_ever(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        for number in range(3 * loan._MOST_STRAYS):
            await wire.send(infer(rows(0, 0, 0, 0), f"x-trace: {number}"))
            assert (await wire.answer())[0] == 200
        await eventually(lambda: not node.server._app.busy)
        assert guests(node) == 0


async def test_a_long_inference_becomes_one_like_any_other(tmp_path: Path) -> None:
    settings = ServingSettings(request_seconds=3, stop_seconds=0.1)
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        async with wired(node) as slow:
            await lent(node, slow, counted_to(1))
            await slow.send(counted_to(2**40))
            await eventually(lambda: node.server._app._admission._all == 1)
            assert guests(node) == 0
            async with wired(node) as other:
                await other.send(READY)
                assert (await other.answer())[0] == 200
            status, _, body = await slow.answer()
            assert (status, json.loads(body)["error"]) == (
                504,
                f"revision {'a' * 64} did not answer within 3 seconds",
            )
            await slow.send(counted_to(3))
            assert (await slow.answer())[0] == 200


async def test_connections_behind_a_long_inference_come_back(tmp_path: Path) -> None:
    settings = ServingSettings(max_in_flight_per_model=2, stop_seconds=0.1)
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        async with wired(node) as slow:
            await lent(node, slow, counted_to(1))
            async with wired(node) as behind:
                await behind.send(counted_to(1))
                assert (await behind.answer())[0] == 200
                await slow.send(counted_to(2**40))
                await eventually(lambda: node.server._app._admission._all == 1)
                await behind.send(counted_to(1))
                await eventually(lambda: node.server._app._admission._all == 2)
                async with wired(node) as refused:
                    await refused.send(counted_to(1))
                    assert (await refused.answer())[0] == 503


async def test_a_lane_ends_with_its_revision_and_the_next_one_answers(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        await node.server.activate(install(tmp_path, adding_model(2), row_io(), revision="b" * 64))
        await wire.send(QUICK)
        assert outputs((await wire.answer())[2]) == [2, 12, 22, 32]
        await lent(node, wire)
        await node.server.deactivate(KEY)
        await wire.send(QUICK)
        assert (await wire.answer())[0] == 404


async def test_a_name_that_a_second_model_takes_is_no_name_any_more(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        await node.server.activate(install(tmp_path, adding_model(2), row_io(), key=ModelKey("mill", "pump")))
        await wire.send(QUICK)
        assert (await wire.answer())[0] == 404


async def test_an_idle_connection_in_a_lane_is_closed_on_time(tmp_path: Path) -> None:
    settings = ServingSettings(http=HttpLimits(idle_seconds=1))
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, adding_model(1), row_io()))
        async with wired(node) as wire:
            await lent(node, wire)
            assert await wire.ended()
            assert guests(node) == 0


async def test_a_client_that_goes_leaves_nothing_in_the_lane(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        await wire.send(QUICK[:-3])
    await eventually(lambda: not node.server._listener._shared.connections)
    assert guests(node) == 0


async def test_an_answer_larger_than_the_client_takes_at_once_arrives_whole(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    count = 40_000
    values: list[JsonValue] = [0.123456 for _ in range(4 * count)]
    content: Json = {"inputs": [tensor("x", "FP32", [count, 4], values)]}
    async with wired(node) as wire:
        await lent(node, wire)
        lane = lane_of(node)
        assert lane is not None
        before = lane._answered
        await wire.send(infer(content))
        await eventually(lambda: lane._answered == before + 1 or node.server._app._admission._all)
        await asyncio.sleep(0.1)
        status, _, body = await wire.answer()
        assert (status, len(outputs(body))) == (200, 4 * count)
        await wire.send(QUICK)
        assert outputs((await wire.answer())[2]) == [1, 11, 21, 31]


async def test_a_body_beyond_the_limit_is_refused_in_a_lane_too(tmp_path: Path) -> None:
    async with running_node(ServingSettings(http=HttpLimits(max_body_bytes=1000))) as node:
        await node.server.activate(install(tmp_path, adding_model(1), row_io()))
        async with wired(node) as wire:
            await lent(node, wire)
            await wire.send(infer(rows(*range(400))))
            assert (await wire.answer())[0] == 413


async def test_the_last_answer_of_a_server_that_stops_says_so(tmp_path: Path) -> None:
    async with running_node(ServingSettings(stop_seconds=60)) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        async with wired(node) as wire:
            await lent(node, wire, counted_to(1))
            await wire.send(counted_to(100_000))
            lane = lane_of(node)
            assert lane is not None
            await eventually(lambda: lane.running or node.server._app.busy)
            stopping = asyncio.create_task(node.server.stop())
            status, headers, _ = await wire.answer()
            assert (status, headers["connection"]) == (200, "close")
            await stopping


async def test_an_idle_connection_in_a_lane_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    async with running_node(ServingSettings(stop_seconds=3600)) as node:
        await node.server.activate(install(tmp_path, adding_model(1), row_io()))
        async with wired(node) as wire:
            await lent(node, wire)
            await node.server.stop()
            assert await wire.ended()


async def test_a_defect_in_a_lane_is_answered_and_ends_the_connection(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    async with wired(node) as wire:
        await lent(node, wire)
        active = node.server._registry.active(KEY)
        assert active is not None

        def broken(*_: object) -> None:
            raise LookupError("a defect")

        monkeypatch.setattr(active.engine, "_alone", broken)
        await wire.send(QUICK)
        assert (await wire.answer())[0] == 500
        assert await wire.ended()


async def test_requests_that_are_run_together_stay_with_the_event_loop(tmp_path: Path) -> None:
    async with running_node(ServingSettings(batch=BatchSettings(max_size=4))) as node:
        await node.server.activate(install(tmp_path, adding_model(1), row_io()))
        async with wired(node) as wire:
            for _ in range(3):
                await wire.send(QUICK)
                assert (await wire.answer())[0] == 200
        assert lane_of(node) is None


def test_a_form_fits_the_same_head_with_other_lengths_and_no_other() -> None:
    head = b"POST /x HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\nInference-Header-Content-Length: 7\r\n\r\n"
    form = Form(head)
    assert form.read(head + b"x" * 12) == (len(head), len(head) + 12, 7)
    longer = head.replace(b" 12", b" 120").replace(b" 7", b" 77")
    assert form.read(longer) == (len(longer), len(longer) + 120, 77)
    for other in (b"host: b", b"host: a\r\nexpect: 100-continue", b"host: a\r\ncontent-length: 1"):
        assert form.read(head.replace(b"host: a", other)) is None
    for bad in (
        b"",
        b"\r\n\r\n",
        head.replace(b"12", b"1" * 16),
        head.replace(b"Content-Length: 12", b"x: y"),
    ):
        assert form.read(bad) is None


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST /" + b"x" * 3000 + b" HTTP/1.1\r\ncontent-length: 1\r\n\r\n",
    ],
)
def test_heads_without_one_length_have_no_form(head: bytes) -> None:
    with pytest.raises(ValueError, match="the head"):
        Form(head)
