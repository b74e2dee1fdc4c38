"""Feedback: what clients found out about answers, counted for the revision that gave them."""

from itertools import count
from pathlib import Path

import pytest

from edgecanary.agent.ports import ModelKey
from tests.unit.agent.modelmaking import (
    KEY,
    REVISION_A,
    REVISION_B,
    REVISION_C,
    adding_model,
    install,
    row_io,
)
from tests.unit.agent.serving.harness import Json, Node

_places = count()


@pytest.fixture(autouse=True)
async def model(node: Node, tmp_path: Path) -> None:
    """`plant.pump` in its first revision."""
    await activate(node, tmp_path, REVISION_A)


async def activate(node: Node, tmp_path: Path, revision: str, key: ModelKey = KEY) -> None:
    await node.server.activate(
        install(tmp_path / str(next(_places)), adding_model(1), row_io(), revision=revision, key=key)
    )


def counted(node: Node, revision: str, outcome: str) -> float | None:
    return node.metric(
        "edgecanary_feedback_total",
        namespace="plant",
        model="pump",
        revision=revision,
        version=f"1.0.{revision[0]}",
        outcome=outcome,
    )


async def test_feedback_counts_for_the_revision_that_it_names(node: Node, tmp_path: Path) -> None:
    await activate(node, tmp_path, REVISION_B)
    answer = await node.feedback({"id": "7", "outcome": "incorrect", "revision": REVISION_A})
    assert answer.status == 200
    assert answer.json == {
        "model_name": "pump",
        "model_version": REVISION_A,
        "id": "7",
        "outcome": "incorrect",
    }
    assert counted(node, REVISION_A, "incorrect") == 1
    assert counted(node, REVISION_B, "incorrect") == 0


async def test_feedback_without_a_revision_counts_for_the_active_one(node: Node, tmp_path: Path) -> None:
    await activate(node, tmp_path, REVISION_B)
    assert (await node.feedback({"id": "7", "outcome": "correct"})).status == 200
    assert counted(node, REVISION_B, "correct") == 1
    assert counted(node, REVISION_A, "correct") == 0


async def test_the_path_may_name_the_revision(node: Node) -> None:
    path = f"/v2/models/plant.pump/versions/{REVISION_A}/feedback"
    assert (await node.call("POST", path, {"outcome": "correct"})).status == 200
    assert (await node.call("POST", path, {"outcome": "correct", "revision": REVISION_A})).status == 200
    assert counted(node, REVISION_A, "correct") == 2
    differing = await node.call("POST", path, {"outcome": "correct", "revision": REVISION_B})
    assert differing.status == 400
    assert counted(node, REVISION_A, "correct") == 2


async def test_a_revision_that_never_was_here_is_a_404(node: Node) -> None:
    answer = await node.feedback({"outcome": "correct", "revision": REVISION_C})
    assert answer.status == 404
    assert answer.error == f"revision '{REVISION_C}' of model plant.pump has not answered on this node"


async def test_a_revision_that_left_is_a_410_and_its_series_are_gone(node: Node, tmp_path: Path) -> None:
    await activate(node, tmp_path, REVISION_B)
    await activate(node, tmp_path, REVISION_C)
    answer = await node.feedback({"outcome": "correct", "revision": REVISION_A})
    assert answer.status == 410
    assert "has left this node; its feedback is not counted" in answer.error
    assert counted(node, REVISION_A, "correct") is None
    assert counted(node, REVISION_B, "correct") == 0


async def test_a_revision_that_came_back_gets_feedback_again(node: Node, tmp_path: Path) -> None:
    for revision in (REVISION_B, REVISION_C, REVISION_A):
        await activate(node, tmp_path, revision)
    assert (await node.feedback({"outcome": "correct", "revision": REVISION_A})).status == 200
    assert counted(node, REVISION_A, "correct") == 1


async def test_a_withdrawn_revision_still_gets_late_feedback_by_name(node: Node) -> None:
    await node.server.deactivate(KEY)
    assert (await node.feedback({"outcome": "correct", "revision": REVISION_A})).status == 200
    assert counted(node, REVISION_A, "correct") == 1
    assert (await node.feedback({"outcome": "correct"})).status == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no json", "the feedback must be JSON"),
        (b"[]", "the feedback must be a JSON object with the field outcome"),
        (b"[" * 60_000, "the feedback must be JSON"),
        ({}, "outcome: is None, must be correct or incorrect"),
        ({"outcome": "good"}, "outcome: is 'good', must be correct or incorrect"),
        ({"outcome": ["correct"]}, "outcome: is ['correct'], must be correct or incorrect"),
        ({"outcome": "correct", "id": 7}, "id: must be a string of at most 256 characters"),
        (
            {"outcome": "correct", "revision": "latest"},
            "revision: is 'latest', must be the 64 hexadecimal digits",
        ),
        (
            {"outcome": "correct", "revison": REVISION_A},
            "revison: unknown field, must be one of id, outcome, revision",
        ),
    ],
)
async def test_wrong_feedback_is_a_400_and_counts_for_nobody(
    node: Node, body: bytes | Json, words: str
) -> None:
    answer = await node.feedback(body)
    assert answer.status == 400
    assert words in answer.error
    assert counted(node, REVISION_A, "correct") == 0


async def test_feedback_is_small(node: Node) -> None:
    answer = await node.feedback({"outcome": "correct", "id": "x" * 65536})
    assert answer.status == 413


async def test_feedback_for_an_unknown_model_is_a_404(node: Node) -> None:
    assert (await node.feedback({"outcome": "correct"}, model="fan")).status == 404
