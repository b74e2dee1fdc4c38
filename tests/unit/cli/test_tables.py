"""The tables of `history` and `node list`, read once by eye and kept to the letter."""

from datetime import UTC, datetime

from edgecanary.api.edgenode import EdgeNode
from edgecanary.api.fields import JsonObject
from edgecanary.cli.node_text import to_text
from edgecanary.cli.node_view import NodeSummary, summarise, to_rows, version_names
from edgecanary.cli.output import columns
from edgecanary.cli.rollout_history import to_table
from edgecanary.controller.views import NodeRecord
from tests.unit.cli.golden_text import assert_golden
from tests.unit.cli.scenes import rolled_back
from tests.unit.rollout.standing import CANARY, STABLE, baking

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(columns([head, *rows])) + "\n"


def agent(**model: object) -> EdgeNode:
    entry: JsonObject = {"namespace": "plant", "name": "pump-anomaly", "sequence": 7}
    status = {
        "agentVersion": "0.1.0",
        "heartbeatTime": "2026-01-05T11:57:00Z",
        "nodeUID": "u",
        "capabilities": {"architecture": "arm64", "memoryBytes": 2**31, "runtimes": ["ONNX"]},
        "models": [{**entry, **model}],
    }
    return EdgeNode.model_validate({"metadata": {"name": "edge"}, "status": status})


def nodes() -> tuple[NodeSummary, ...]:
    ready = NodeRecord({"hardware": "npu"}, ready=True, uid="u")
    away = NodeRecord({"hardware": "cpu"}, ready=False, uid="u")
    active = agent(active=CANARY, previous=STABLE, desired=CANARY, state="Active", result="Succeeded")
    reverted = agent(
        active=STABLE,
        desired=CANARY,
        state="Reverted",
        reason="GoldenMismatch",
        result="ProbeFailed",
        message="output score differs by 0.3",
        rejected=[CANARY],
        probe={
            "variant": "fp32",
            "loadMilliseconds": 41,
            "latencyP95Milliseconds": 3,
            "peakMemoryBytes": 2**24,
        },
    )
    return summarise(
        {
            "edge-01": ready,
            "edge-02": away,
            "edge-03": ready,
            "edge-04": NodeRecord({}, ready=True, uid="new"),
        },
        {"edge-01": active, "edge-02": reverted, "edge-04": active, "edge-05": active},
        version_names([baking()]),
        namespace=None,
    )


def test_the_history_the_newest_first() -> None:
    stage = rolled_back()
    assert_golden("history", table(*to_table(stage.rollout, wide=False)))


def test_the_history_with_what_each_revision_is_now() -> None:
    stage = rolled_back()
    assert_golden("history-wide", table(*to_table(stage.rollout, wide=True)))


def test_nodes_with_what_they_run() -> None:
    assert_golden("nodes", table(*to_rows(nodes(), NOW, wide=False)))


def test_an_agent_of_an_earlier_node_of_that_name_is_not_believed() -> None:
    found = {node.name: node for node in nodes()}
    assert not found["edge-04"].reports
    assert found["edge-05"].reports
    assert found["edge-05"].online is False


def test_one_node_in_its_agents_words() -> None:
    assert_golden("node", to_text(nodes()[1], NOW))
