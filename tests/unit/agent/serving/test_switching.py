"""Switching revisions under load, and models that hang."""

import asyncio
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from edgecanary.agent.marks import Slot
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey, ModelLoadFailed
from edgecanary.agent.serving import server
from edgecanary.agent.serving.engine import Engine
from edgecanary.agent.serving.messages import HttpLimits
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.api.artifacts import DataType, ModelIO
from edgelab.modelzoo import ZooModel, collect, open_zoo
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    REVISION_B,
    REVISION_C,
    adding_model,
    counting_io,
    counting_model,
    endless_model,
    identity_model,
    install,
    row_io,
    spec,
    write_golden,
)
from tests.unit.agent.serving.harness import Json, Node, output_data, rows, running_node, tensor

FILE_TYPE_IO = ModelIO(
    inputs=(spec("bytes", DataType.INT32, -1, 2048),), outputs=(spec("target_label", DataType.FP32, -1, 214),)
)


def count_to(number: int) -> Json:
    return {"inputs": [tensor("x", "INT64", [], [number])]}


def from_zoo(tmp_path: Path, model: ZooModel, revision: str) -> InstalledRevision:
    return install(
        tmp_path,
        model.model.path.read_bytes(),
        FILE_TYPE_IO,
        revision=revision,
        golden_path=model.golden.path,
    )


class Load:
    """Clients that send one request after the other and check each answer against the switches so far."""

    def __init__(self, node: Node, request: Json, order: list[str]) -> None:
        self._node = node
        self._request = request
        self._order = order
        self._answers = asyncio.Condition()
        self.active = 0
        self.stopping = False
        self.labels: set[int] = set()
        self.answered: dict[str, int] = dict.fromkeys(order, 0)

    async def send(self) -> None:
        while not self.stopping:
            active_when_sent = self.active
            answer = await self._node.infer(self._request)
            assert answer.status == 200, answer.body
            revision = str(answer.json["model_version"])
            assert revision in self._order[active_when_sent : self.active + 2]
            async with self._answers:
                self.answered[revision] += 1
                self.labels.add(int(np.argmax(np.array(output_data(answer)))))
                self._answers.notify_all()

    async def more(self, revision: str, count: int) -> None:
        """Waits until the revision has answered so many more requests."""
        enough = self.answered[revision] + count
        async with asyncio.timeout(60), self._answers:
            await self._answers.wait_for(lambda: self.answered[revision] >= enough)


async def test_no_request_fails_or_meets_an_older_revision_while_revisions_switch_under_load(
    node: Node, tmp_path: Path
) -> None:
    zoo = open_zoo()
    names = {REVISION_A: "fp32", REVISION_B: "int8", REVISION_C: "lookup"}
    revisions = {revision: from_zoo(tmp_path, zoo[name], revision) for revision, name in names.items()}
    sample = next(iter(collect(zoo.labels)))
    values: list[int] = np.asarray(sample.features).tolist()
    request: Json = {"inputs": [tensor("bytes", "INT32", [1, 2048], [*values])]}
    order = [REVISION_A, REVISION_B, REVISION_C, REVISION_A, REVISION_B, REVISION_C]
    await node.server.activate(revisions[REVISION_A])
    load = Load(node, request, order)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(load.send())
        await load.more(REVISION_A, 5)
        for position, revision in enumerate(order[1:], start=1):
            await node.server.activate(revisions[revision])
            load.active = position
            await load.more(revision, 5)
        load.stopping = True
    assert min(load.answered.values()) >= 5
    assert load.labels == {sample.label_index}
    counted = sum(requests_total(node, revision) or 0 for revision in (REVISION_B, REVISION_C))
    assert counted > 0
    assert requests_total(node, REVISION_B, "error") == requests_total(node, REVISION_C, "error") == 0


async def test_a_request_that_runs_during_a_switch_ends_on_the_revision_that_it_began_on(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, counting_model(), counting_io()))
    running = asyncio.create_task(node.infer(count_to(300_000)))
    await asyncio.sleep(0.05)
    queued = asyncio.create_task(node.infer(count_to(1000)))
    await asyncio.sleep(0.05)
    assert not running.done()
    await node.server.activate(install(tmp_path, adding_model(2), row_io(), revision=REVISION_B))
    assert output_data(await node.infer(rows(0, 0, 0, 0))) == [2, 2, 2, 2]
    assert not running.done()
    for task, count in ((running, 300_000), (queued, 1000)):
        answer = await task
        assert answer.json["model_version"] == REVISION_A
        assert output_data(answer) == [count]


async def test_the_counters_of_a_request_that_ends_after_the_switch_go_to_its_own_revision(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, counting_model(), counting_io()))
    running = asyncio.create_task(node.infer(count_to(200_000)))
    await asyncio.sleep(0.05)
    await node.server.activate(install(tmp_path, adding_model(2), row_io(), revision=REVISION_B))
    await running
    assert node.server.counters(KEY, REVISION_A) == HealthCounters(1, 0)
    assert node.server.counters(KEY, REVISION_B) == HealthCounters(0, 0)


@pytest.mark.parametrize(
    "model",
    [b"no model", adding_model(1), endless_model()[:100]],
    ids=["garbage", "other tensors", "cut short"],
)
async def test_a_revision_that_does_not_load_changes_nothing(
    node: Node, tmp_path: Path, model: bytes
) -> None:
    await node.server.activate(install(tmp_path, adding_model(2), row_io()))
    await node.infer(rows(0, 0, 0, 0))
    bad = install(tmp_path, model, row_io(name_in="z"), revision=REVISION_B)
    with pytest.raises(ModelLoadFailed, match="variant 'cpu': ") as caught:
        await node.server.activate(bad)
    assert caught.value.reason == "ModelLoadFailed"
    answer = await node.infer(rows(0, 0, 0, 0))
    assert answer.json["model_version"] == REVISION_A
    assert node.server.counters(KEY, REVISION_A) == HealthCounters(2, 0)
    assert node.server.counters(KEY, REVISION_B) == HealthCounters(0, 0)


async def test_a_model_is_warmed_with_its_golden_input_since_zeros_may_be_no_valid_one(
    node: Node, tmp_path: Path
) -> None:
    golden = write_golden(
        tmp_path / "golden.npz", {"input:x": np.array([5]), "output:y": np.array([5], np.float32)}
    )
    await node.server.activate(install(tmp_path, counting_model(), counting_io(), golden_path=golden))
    assert output_data(await node.infer(count_to(3))) == [3]
    golden.write_bytes(b"broken")
    with pytest.raises(ModelLoadFailed, match="not a readable npz"):
        await node.server.activate(
            install(tmp_path, counting_model(), counting_io(), revision=REVISION_B, golden_path=golden)
        )


async def test_counters_are_of_the_last_activation_and_series_go_on(node: Node, tmp_path: Path) -> None:
    first = install(tmp_path, adding_model(1), row_io())
    second = install(tmp_path, adding_model(2), row_io(), revision=REVISION_B)
    await node.server.activate(first)
    await node.infer(rows(0, 0, 0, 0))
    await node.server.activate(second)
    assert node.server.counters(KEY, REVISION_A) == HealthCounters(1, 0)
    await node.server.activate(first)
    assert node.server.counters(KEY, REVISION_A) == HealthCounters(0, 0)
    await node.infer(rows(0, 0, 0, 0))
    assert requests_total(node, REVISION_A) == 2
    assert node.server.counters(ModelKey("no", "where"), REVISION_A) == HealthCounters(0, 0)


def requests_total(node: Node, revision: str, outcome: str = "ok") -> float | None:
    return node.metric(
        "edgecanary_requests_total",
        namespace="plant",
        model="pump",
        revision=revision,
        version=f"1.0.{revision[0]}",
        outcome=outcome,
    )


async def test_activating_the_active_revision_again_starts_its_counters_anew(
    node: Node, tmp_path: Path
) -> None:
    installed = install(tmp_path, adding_model(1), row_io())
    await node.server.activate(installed)
    await node.infer(rows(0, 0, 0, 0))
    await node.server.activate(installed)
    assert node.server.counters(KEY, REVISION_A) == HealthCounters(0, 0)
    assert (await node.infer(rows(0, 0, 0, 0))).status == 200
    assert requests_total(node, REVISION_A) == 2


async def test_series_are_there_with_0_as_soon_as_the_revision_is_active(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    assert requests_total(node, REVISION_A, "ok") == 0
    assert requests_total(node, REVISION_A, "error") == 0


async def test_a_revision_that_is_not_to_be_served_ends_what_was_served(node: Node, tmp_path: Path) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    files_only = install(tmp_path, b"anything", row_io(), revision=REVISION_B)
    fields = {name: getattr(files_only, name) for name in files_only.__dataclass_fields__}
    await node.server.activate(InstalledRevision(**fields | {"serve": False}))
    assert (await node.infer(rows(0, 0, 0, 0))).status == 404


async def test_withdrawing_an_unknown_model_is_fine(node: Node) -> None:
    await node.server.deactivate(ModelKey("no", "where"))


async def test_a_model_that_hangs_is_interrupted_and_has_failed_the_request(tmp_path: Path) -> None:
    async with running_node(ServingSettings(request_seconds=0.3)) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        answer = await node.infer(count_to(2**40))
        assert answer.status == 504
        assert answer.error == f"revision {REVISION_A} did not answer within 0.3 seconds"
        assert output_data(await node.infer(count_to(3))) == [3]
        assert node.server.counters(KEY, REVISION_A) == HealthCounters(2, 1)


async def test_a_hanging_model_holds_up_neither_other_models_nor_its_successor(tmp_path: Path) -> None:
    async with running_node(ServingSettings(request_seconds=60, stop_seconds=0.2)) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        other = ModelKey("plant", "fan")
        await node.server.activate(install(tmp_path, adding_model(1), row_io(), key=other))
        hanging = asyncio.create_task(node.infer(count_to(2**40)))
        await asyncio.sleep(0.1)
        assert output_data(await node.infer(rows(0, 0, 0, 0), model="fan")) == [1, 1, 1, 1]
        assert (await node.get("/v2/health/live")).status == 200
        await node.server.activate(install(tmp_path, adding_model(2), row_io(), revision=REVISION_B))
        assert output_data(await node.infer(rows(0, 0, 0, 0))) == [2, 2, 2, 2]
        assert not hanging.done()
        hanging.cancel()


async def test_requests_beyond_the_limit_are_told_to_come_again(tmp_path: Path) -> None:
    async with running_node(ServingSettings(max_in_flight=2)) as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        running = [asyncio.create_task(node.infer(count_to(400_000))) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await node.infer(count_to(1))
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.error == "2 requests are in progress, try again"
        assert (await node.get("/v2/models/pump/ready")).status == 200
        assert [(await task).status for task in running] == [200, 200]
        assert (await node.infer(count_to(1))).status == 200
        assert node.server.counters(KEY, REVISION_A) == HealthCounters(3, 0)


async def test_a_body_beyond_the_limit_is_a_413(tmp_path: Path) -> None:
    settings = ServingSettings(http=HttpLimits(max_body_bytes=1000))
    async with running_node(settings) as node:
        await node.server.activate(install(tmp_path, identity_model(), row_io()))
        big: Json = {"inputs": [tensor("x", "FP32", [200, 4], [1.5] * 800)]}
        assert (await node.infer(big)).status == 413
        assert (await node.infer(rows(1, 2, 3, 4))).status == 200


async def test_stopping_lets_a_running_request_end(tmp_path: Path) -> None:
    async with running_node() as node:
        await node.server.activate(install(tmp_path, counting_model(), counting_io()))
        running = asyncio.create_task(node.infer(count_to(100_000)))
        await asyncio.sleep(0.05)
        await node.server.stop()
        assert output_data(await running) == [100_000]


async def test_refused_requests_are_counted_by_status_and_not_as_the_models(
    node: Node, tmp_path: Path
) -> None:
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    await node.infer(b"{")
    await node.infer(rows(1, 2, 3, 4), model="fan")
    assert node.metric("edgecanary_refused_requests_total", status="400") == 1
    assert node.metric("edgecanary_refused_requests_total", status="404") == 1
    assert requests_total(node, REVISION_A, "error") == 0


async def test_a_model_is_loaded_at_low_priority_while_others_answer(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    niceness: list[int] = []
    load = server._load_engine

    def noting(installed: InstalledRevision, mark: Slot, threads: int, max_rows: int) -> Engine:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return load(installed, mark, threads, max_rows)

    monkeypatch.setattr(server, "_load_engine", noting)
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    await node.server.activate(install(tmp_path, adding_model(1), row_io()))
    await node.server.activate(install(tmp_path, adding_model(2), row_io(), revision="b" * 64))
    assert niceness == [usual, max(usual, 10)]
    serving = [thread for thread in threading.enumerate() if thread.name == "model-bbbbbbbb"]
    assert [os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in serving] == [usual]
