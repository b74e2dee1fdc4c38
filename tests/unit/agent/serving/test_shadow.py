"""The previous revision sees a share of the inputs, and whatever becomes of it changes no answer."""

import asyncio
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from edgecanary.agent import headroom
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.runtime import catalog
from edgecanary.agent.serving.agreement import agree
from edgecanary.agent.serving.settings import ServingSettings, ShadowSettings
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    REVISION_B,
    adding_model,
    counting_io,
    counting_model,
    endless_model,
    identity_model,
    install,
    logarithm_model,
    row_io,
)
from tests.unit.agent.serving.harness import Json, Node, output_data, rows, running_node, tensor

EVERY = ServingSettings(shadow=ShadowSettings(percent=100.0), stop_seconds=0.2)


async def beside(node: Node, active: InstalledRevision, other: InstalledRevision) -> None:
    """Activates one revision with another as its shadow, and waits until that is loaded."""
    await node.server.activate(active)
    node.server.compare(KEY, other)
    async with asyncio.timeout(60):
        while not ready(node):
            await asyncio.sleep(0.01)


def ready(node: Node) -> bool:
    active = node.server._registry.active(KEY)
    return active is not None and active.shadow is not None and active.shadow.ready


def compared(node: Node, outcome: str, revision: str = REVISION_B) -> float | None:
    return node.metric(
        "edgecanary_shadow_total",
        namespace="plant",
        model="pump",
        revision=revision,
        version=f"1.0.{revision[0]}",
        outcome=outcome,
    )


async def becomes(node: Node, outcome: str, count: int) -> None:
    async with asyncio.timeout(60):
        while compared(node, outcome) != count:
            await asyncio.sleep(0.01)


def first(tmp_path: Path, model: bytes) -> InstalledRevision:
    return install(tmp_path, model, row_io())


def second(tmp_path: Path, model: bytes) -> InstalledRevision:
    return install(tmp_path, model, row_io(), revision=REVISION_B)


@pytest.mark.parametrize(
    ("active", "other", "values", "status", "outcome"),
    [
        (adding_model(2), adding_model(2.001), (1, 2, 3, 4), 200, "agree"),
        (adding_model(2), adding_model(3), (1, 2, 3, 4), 200, "disagree"),
        (logarithm_model(), identity_model(), (1, -1, 1, 1), 500, "canary_worse"),
        (identity_model(), logarithm_model(), (1, -1, 1, 1), 200, "stable_worse"),
        (logarithm_model(), logarithm_model(), (1, -1, 1, 1), 500, "agree"),
    ],
    ids=["the same", "different", "only the active fails", "only the other fails", "both fail"],
)
async def test_the_answers_of_both_revisions_are_compared(
    tmp_path: Path, active: bytes, other: bytes, values: tuple[float, ...], status: int, outcome: str
) -> None:
    async with running_node(EVERY) as node:
        await beside(node, second(tmp_path, active), first(tmp_path, other))
        assert [compared(node, name) for name in ("agree", "disagree", "canary_worse", "stable_worse")] == [
            0
        ] * 4
        answer = await node.infer(rows(*values))
        assert answer.status == status
        await becomes(node, outcome, 1)
        total = sum(
            compared(node, name) or 0 for name in ("agree", "disagree", "canary_worse", "stable_worse")
        )
        assert total == 1
        assert node.server.counters(KEY, REVISION_A).requests == 0


async def test_the_other_revision_sees_its_share(tmp_path: Path) -> None:
    settings = ServingSettings(shadow=ShadowSettings(percent=25.0))
    async with running_node(settings) as node:
        await beside(node, second(tmp_path, adding_model(2)), first(tmp_path, adding_model(2)))
        for number in range(1, 13):
            assert (await node.infer(rows(1, 2, 3, 4))).status == 200
            await becomes(node, "agree", number // 4)


async def test_without_the_setting_nothing_is_loaded_or_compared(node: Node, tmp_path: Path) -> None:
    # One of an earlier test may still be on its way out.
    before = set(threading.enumerate())
    await node.server.activate(second(tmp_path, adding_model(2)))
    node.server.compare(KEY, first(tmp_path, adding_model(2)))
    assert not any(thread.name == "shadow" for thread in set(threading.enumerate()) - before)
    assert compared(node, "agree") is None


async def test_a_shadow_that_never_ends_changes_no_answer_and_counts_nothing(tmp_path: Path) -> None:
    settings = ServingSettings(request_seconds=0.2, shadow=ShadowSettings(percent=100.0), stop_seconds=0.2)
    async with running_node(settings) as node:
        await node.server.activate(second(tmp_path, adding_model(2)))
        node.server.compare(KEY, first(tmp_path, adding_model(2)))
        async with asyncio.timeout(60):
            while not ready(node):
                await asyncio.sleep(0.01)
        hang(node, tmp_path)
        for _ in range(50):
            assert output_data(await node.infer(rows(1, 2, 3, 4))) == [3, 4, 5, 6]
        await asyncio.sleep(0.3)
        for _ in range(50):
            assert output_data(await node.infer(rows(1, 2, 3, 4))) == [3, 4, 5, 6]
        assert node.server.counters(KEY, REVISION_B).errors == 0
        assert sum(compared(node, name) or 0 for name in ("disagree", "canary_worse", "stable_worse")) == 0
        await node.server.deactivate(KEY)
        async with asyncio.timeout(30):
            while any(thread.name == "shadow" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)


def hang(node: Node, tmp_path: Path) -> None:
    """Gives the shadow a model that never ends, in the place of the one that it loaded."""
    path = tmp_path / "endless.onnx"
    path.write_bytes(endless_model())
    session = catalog.runtime_for("ONNX").load(path, threads=1)
    active = node.server._registry.active(KEY)
    assert active is not None
    assert active.shadow is not None
    engine = active.shadow._engine
    assert engine is not None
    engine.session = session


async def test_a_shadow_that_does_not_load_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(EVERY) as node:
        await node.server.activate(second(tmp_path, adding_model(2)))
        with caplog.at_level(logging.WARNING):
            node.server.compare(KEY, first(tmp_path, b"no model"))
            async with asyncio.timeout(60):
                while "is not compared with" not in caplog.text:
                    assert output_data(await node.infer(rows(1, 2, 3, 4))) == [3, 4, 5, 6]
        assert "plant.pump: 1.0.a is not compared with: variant 'cpu': " in caplog.text
        assert not ready(node)


async def test_a_shadow_that_finds_no_memory_is_not_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ServingSettings(shadow=ShadowSettings(percent=100.0, margin_bytes=2**50))
    async with running_node(settings) as node:
        await node.server.activate(second(tmp_path, adding_model(2)))
        with caplog.at_level(logging.WARNING):
            node.server.compare(KEY, first(tmp_path, adding_model(2)))
            async with asyncio.timeout(60):
                while "MiB of memory are left" not in caplog.text:
                    await asyncio.sleep(0.01)
        assert "1073741824 MiB are needed" in caplog.text
        assert output_data(await node.infer(rows(1, 2, 3, 4))) == [3, 4, 5, 6]


async def test_a_shadow_gives_its_memory_back_when_there_is_little_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(EVERY) as node:
        await beside(node, second(tmp_path, adding_model(2)), first(tmp_path, adding_model(2)))
        monkeypatch.setattr(headroom, "available_bytes", lambda: 2**20)
        with caplog.at_level(logging.WARNING):
            assert (await node.infer(rows(1, 2, 3, 4))).status == 200
            async with asyncio.timeout(60):
                while ready(node):
                    await asyncio.sleep(0.01)
        assert "1 MiB of memory are left, 64 MiB are needed" in caplog.text


async def test_the_next_switch_ends_it_and_lets_its_model_go(tmp_path: Path) -> None:
    async with running_node(EVERY) as node:
        await beside(node, second(tmp_path, adding_model(2)), first(tmp_path, adding_model(2)))
        await node.server.activate(install(tmp_path / "third", adding_model(4), row_io(), revision="c" * 64))
        async with asyncio.timeout(60):
            while any(thread.name == "shadow" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)
        assert output_data(await node.infer(rows(1, 2, 3, 4))) == [5, 6, 7, 8]


async def test_revisions_with_other_inputs_are_not_compared(tmp_path: Path) -> None:
    async with running_node(EVERY) as node:
        await node.server.activate(second(tmp_path, adding_model(2)))
        node.server.compare(KEY, install(tmp_path, counting_model(), counting_io()))
        assert compared(node, "agree") is None
        node.server.compare(KEY, install(tmp_path, adding_model(2), row_io(), key=ModelKey("plant", "fan")))
        assert output_data(await node.infer(rows(1, 2, 3, 4))) == [3, 4, 5, 6]


async def test_large_inputs_are_left_out(tmp_path: Path) -> None:
    async with running_node(EVERY) as node:
        await beside(node, second(tmp_path, adding_model(2)), first(tmp_path, adding_model(2)))
        large: Json = {
            "inputs": [tensor("x", "FP32", [40_000, 4], [0.5] * 160_000)],
            "outputs": [{"name": "y"}],
        }
        assert (await node.infer(large)).status == 200
        assert (await node.infer(rows(1, 2, 3, 4))).status == 200
        await becomes(node, "agree", 1)


def of(*values: object, dtype: str = "<f4") -> "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]":
    return {"y": np.array([values], dtype=dtype)}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (of(0.7, 0.2, 0.1), of(0.5, 0.4, 0.1), True),
        (of(0.7, 0.2, 0.1), of(0.4, 0.5, 0.1), False),
        (of(7.0, 2.0), of(7.05, 2.0), True),
        (of(7.0, 2.0), of(7.5, 2.0), False),
        (of(0.0), of(0.0005), True),
        (of(1, 2, dtype="<i8"), of(1, 2, dtype="<i8"), True),
        (of(1, 2, dtype="<i8"), of(1, 3, dtype="<i8"), False),
        (of(True, dtype="?"), of(False, dtype="?"), False),
        (of("a", dtype="O"), of("a", dtype="O"), True),
        (of("a", dtype="O"), of("b", dtype="O"), False),
        (of(1.0), of(1.0, 2.0), False),
        (of(1.0), of(1.0, dtype="<f8"), False),
        (of(1.0), {"z": of(1.0)["y"]}, False),
    ],
)
def test_what_agreeing_means(
    one: "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]",
    other: "dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]",
    same: bool,
) -> None:
    assert agree(one, other) is same
    assert agree(other, one) is same


def test_the_memory_that_is_left_is_known_here() -> None:
    left = headroom.available_bytes()

    assert 2**20 < left < 2**50
