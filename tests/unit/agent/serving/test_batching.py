"""Requests that are run together get what each gets alone."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecanary.agent.ports import HealthCounters
from edgecanary.agent.runtime.base import Array, Feeds
from edgecanary.agent.serving import batching
from edgecanary.agent.serving.settings import BatchSettings, ServingSettings
from edgecanary.agent.serving.worker import Ticket, Worker
from edgecanary.api.artifacts import DataType, ModelIO
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    adding_model,
    counting_io,
    counting_model,
    install,
    logarithm_model,
    lookup_io,
    lookup_model,
    model_bytes,
    row_io,
    spec,
    value,
)
from tests.unit.agent.serving.harness import Json, Node, output_data, rows, running_node, tensor

TOGETHER = ServingSettings(batch=BatchSettings(max_size=8, max_delay_seconds=0.5))


def runs_of(node: Node) -> list[int]:
    """Counts the rows of each run of the model from now on."""
    active = node.server._registry.active(KEY)
    assert active is not None
    engine, plain = active.engine, active.engine.run
    seen: list[int] = []

    def run(feeds: Feeds, names: Sequence[str], *tickets: Ticket) -> "dict[str, Array]":
        seen.append(len(next(iter(feeds.values()))))
        return plain(feeds, names, *tickets)

    engine.run = run  # type: ignore[method-assign]
    return seen


async def test_requests_at_the_same_time_are_run_together_and_each_gets_its_own_rows(tmp_path: Path) -> None:
    async with running_node(TOGETHER) as node:
        await node.server.activate(install(tmp_path, adding_model(2), row_io()))
        seen = runs_of(node)
        two: Json = {"inputs": [tensor("x", "FP32", [2, 4], [10, 20, 30, 40, 50, 60, 70, 80])]}
        asked = [rows(1, 2, 3, 4) | {"id": "a"}, two | {"id": "b"}, rows(5, 6, 7, 8) | {"id": "c"}]
        answers = await asyncio.gather(*(node.infer(body) for body in asked))
        assert seen == [4]
        assert [answer.json["id"] for answer in answers] == ["a", "b", "c"]
        assert [output_data(answer) for answer in answers] == [
            [3, 4, 5, 6],
            [12, 22, 32, 42, 52, 62, 72, 82],
            [7, 8, 9, 10],
        ]
        assert {answer.json["model_version"] for answer in answers} == {REVISION_A}
        assert node.server.counters(KEY, REVISION_A).requests == 3


async def test_answers_are_the_same_together_and_alone(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    weights = draw.standard_normal((4, 4)).astype(np.float32)
    model = model_bytes(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])],
        [value("x", DataType.FP32, ["n", 4])],
        [value("y", DataType.FP32, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    inputs = [rows(*draw.standard_normal(4).tolist()) for _ in range(24)]
    async with running_node(TOGETHER) as node:
        await node.server.activate(install(tmp_path, model, row_io()))
        seen = runs_of(node)
        together = await asyncio.gather(*(node.infer(body) for body in inputs))
        assert max(seen) == 8
    async with running_node() as node:
        await node.server.activate(install(tmp_path / "alone", model, row_io()))
        alone = [await node.infer(body) for body in inputs]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(np.array(output_data(one)), np.array(output_data(other)), rtol=1e-5)


async def test_one_that_fails_does_not_fail_the_others(tmp_path: Path) -> None:
    async with running_node(TOGETHER) as node:
        await node.server.activate(install(tmp_path, lookup_model(), lookup_io()))
        seen = runs_of(node)
        asked = [[0, 1, 0, 1], [0, 9, 0, 1], [1, 1, 1, 1]]
        good, bad, other, broken = await asyncio.gather(
            *(node.infer({"inputs": [tensor("x", "INT64", [1, 4], [*numbers])]}) for numbers in asked),
            node.infer(b"{"),
        )
        assert seen == [3, 1, 1, 1]
        assert (bad.status, broken.status) == (500, 400)
        assert output_data(good) == [10, 20, 10, 20]
        assert output_data(other) == [20, 20, 20, 20]
        assert node.server.counters(KEY, REVISION_A) == HealthCounters(3, 1)


async def test_a_value_that_is_not_finite_fails_its_own_request_only(tmp_path: Path) -> None:
    async with running_node(TOGETHER) as node:
        golden_free = install(tmp_path, logarithm_model(), row_io())
        await node.server.activate(golden_free)
        engine = node.server._registry.active(KEY)
        assert engine is not None
        good, bad = await asyncio.gather(node.infer(rows(1, 1, 1, 1)), node.infer(rows(1, -1, 1, 1)))
        assert (good.status, bad.status) == (200, 500)
        assert output_data(good) == [0, 0, 0, 0]


MIXING = model_bytes(
    [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ],
    [value("x", DataType.FP32, ["n", 4])],
    [value("y", DataType.FP32, ["n", 4])],
)


@pytest.mark.parametrize(
    ("model", "io", "said"),
    [
        (MIXING, row_io(), "output 'y' of a row depends on the rows beside it"),
        (counting_model(), counting_io(), "the first axis of 'x' is not -1"),
        (
            adding_model(1),
            ModelIO(inputs=(spec("x", DataType.FP32, 1, 4),), outputs=(spec("y", DataType.FP32, 1, 4),)),
            "the first axis of 'x' is not -1",
        ),
    ],
    ids=["rows that mix", "a scalar", "a fixed length"],
)
async def test_a_model_that_cannot_be_run_so_is_run_alone_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, model: bytes, io: ModelIO, said: str
) -> None:
    async with running_node(TOGETHER) as node:
        with caplog.at_level(logging.WARNING):
            await node.server.activate(install(tmp_path, model, io))
        assert f"plant.pump: requests are not run together: {said}" in caplog.text
        active = node.server._registry.active(KEY)
        assert active is not None
        assert active.engine.max_rows == 1


async def test_without_the_setting_each_request_is_run_by_itself(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    seen = runs_of(node)
    await asyncio.gather(*(node.infer(rows(1, 2, 3, 4)) for _ in range(6)))
    assert seen == [1] * 6


def array(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.zeros(shape, np.float32)


def test_groups_hold_rows_of_one_shape_up_to_the_limit() -> None:
    items = [array(2, 4), array(1, 5), array(1, 4), array(3, 4), array(9, 4), array(1, 5), array()]
    found = list(batching.groups(items, lambda item: {"x": item}, 4))
    shapes = sorted([item.shape for item in group] for group in found)
    assert shapes == [[()], [(1, 5), (1, 5)], [(2, 4), (1, 4)], [(3, 4)], [(9, 4)]]


async def test_what_is_queued_behind_a_batch_is_done_behind_it() -> None:
    order: list[str] = []
    worker = Worker("test", max_batch=8, max_delay_seconds=0.2)
    worker.answer_with(lambda tickets: order.append(f"{len(tickets)} tickets"), together=True)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        worker.submit(Ticket("pump", bytearray(), None, loop.time() + 60))
    await worker.call(lambda: order.append("call")).waiter
    worker.submit(Ticket("pump", bytearray(), None, loop.time() + 60))
    worker.call(lambda: order.append("last"))
    worker.close()
    await asyncio.to_thread(worker._thread.join, 30)
    assert order == ["3 tickets", "call", "1 tickets", "last"]
