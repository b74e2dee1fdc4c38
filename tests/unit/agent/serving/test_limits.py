"""How many requests may be in progress, and that a slow model starves no other."""

import asyncio
from pathlib import Path

import pytest

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.serving.admission import Admission
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.serving.settings import ServingSettings
from tests.unit.agent.modelmaking import adding_model, counting_io, counting_model, install, row_io
from tests.unit.agent.serving.harness import Json, Node, output_data, rows, running_node, tensor

FAN, PUMP, DOOR = (ModelKey("plant", name) for name in ("fan", "pump", "door"))


def count_to(number: int) -> Json:
    return {"inputs": [tensor("x", "INT64", [], [number])]}


async def in_progress(node: Node, count: int) -> None:
    async with asyncio.timeout(30):
        while node.server._app._admission._all < count:
            await asyncio.sleep(0.005)


async def test_a_model_at_its_limit_is_refused_and_others_are_not(tmp_path: Path) -> None:
    settings = ServingSettings(max_in_flight=8, max_in_flight_per_model=2, stop_seconds=0.1)
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        await node.server.activate(install(tmp_path, adding_model(1), row_io(), key=FAN))
        slow = [asyncio.create_task(node.infer(count_to(2**40))) for _ in range(2)]
        await in_progress(node, 2)
        refused = await node.infer(count_to(1))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.error == "2 requests to model plant.pump are in progress, try again"
        for _ in range(20):
            assert output_data(await node.infer(rows(0, 0, 0, 0), model="fan")) == [1, 1, 1, 1]
        assert node.metric("edgecanary_refused_requests_total", status="503") == 1
        for task in slow:
            task.cancel()


async def test_slow_models_that_fill_the_node_leave_room_for_one_request_of_every_other(
    tmp_path: Path,
) -> None:
    settings = ServingSettings(max_in_flight=2, max_in_flight_per_model=2, stop_seconds=0.1)
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        await node.server.activate(install(tmp_path, counting_model(), counting_io(), key=DOOR))
        await node.server.activate(install(tmp_path, adding_model(1), row_io(), key=FAN))
        slow = [asyncio.create_task(node.infer(count_to(2**40))) for _ in range(2)]
        await in_progress(node, 2)
        assert output_data(await node.infer(rows(0, 0, 0, 0), model="fan")) == [1, 1, 1, 1]
        slow.append(asyncio.create_task(node.infer(count_to(2**40), model="door")))
        await in_progress(node, 3)
        refused = await node.infer(count_to(1), model="door")
        assert (refused.status, refused.error) == (503, "3 requests are in progress, try again")
        assert (await node.feedback({"outcome": "correct"}, model="fan")).status == 503
        for task in slow:
            task.cancel()


def test_what_left_makes_room() -> None:
    admission = Admission(node=2, model=1)
    admission.enter(PUMP)
    with pytest.raises(HttpFault):
        admission.enter(PUMP)
    admission.enter(FAN)
    admission.enter(DOOR)
    with pytest.raises(HttpFault):
        admission.enter(None)
    admission.leave(FAN)
    admission.leave(PUMP)
    admission.enter(PUMP)
    for key in (PUMP, DOOR):
        admission.leave(key)
    assert not admission.busy
    assert not admission._models
