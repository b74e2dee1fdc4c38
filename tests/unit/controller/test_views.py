"""What is read of each object."""

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import WrongAnswer
from edgecanary.controller import views
from tests.unit.controller import objects


@pytest.mark.parametrize(
    "metadata",
    [
        {"resourceVersion": "1"},
        {"name": "x"},
        {"name": "x", "resourceVersion": "not-a-number"},
    ],
)
def test_an_object_without_name_or_comparable_version_is_refused(metadata: JsonObject) -> None:
    with pytest.raises(WrongAnswer, match="without name or version"):
        views.identify({"metadata": metadata})


def test_an_object_without_metadata_is_refused() -> None:
    with pytest.raises(WrongAnswer, match="metadata"):
        views.identify({"kind": "Node"})


@pytest.mark.parametrize("status", ["Unknown", "False"])
def test_a_node_is_online_only_while_its_ready_condition_is_true(status: str) -> None:
    body = objects.node("n1", 1)
    assert views.read_node(body).ready
    body["status"] = {"conditions": [{"type": "Ready", "status": status}]}
    assert not views.read_node(body).ready


def test_a_node_that_has_not_reported_at_all_is_offline() -> None:
    record = views.read_node({"metadata": {"name": "new"}})
    assert not record.ready
    assert record.memory_bytes == 0


@pytest.mark.parametrize(("memory", "size"), [("16Gi", 16 * 2**30), ("500", 500), ("nonsense", 0)])
def test_the_capacity_is_read_as_a_quantity(memory: str, size: int) -> None:
    assert views.read_node(objects.node("n1", 1, memory=memory)).memory_bytes == size


def test_a_rollout_is_known_by_its_model_in_its_own_namespace() -> None:
    record = views.read_rollout(objects.rollout("r", 7, model="pump", reason="Baking"))
    assert record.model == views.ObjectKey("plant", "pump")
    assert record.reason == "Baking"
    assert record.version == "7"
