"""The API types in memory: frozen, tolerant of newer fields, camelCase on the wire."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import EdgeNode, EdgeNodeStatus, ModelState, NodeModelStatus
from edgecanary.api.meta import Condition, ObjectMeta
from edgecanary.api.rollout import Rollout
from edgelab.generate.kinds import EDGE_MODEL, EDGE_NODE, KINDS, ROLLOUT, Kind
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import get, put, valid_object

_NOT_OURS = {"ObjectMeta", "OwnerReference"}


def _types(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """The model and every model that its fields hold."""
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _types(part, seen)


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


_TYPES = [
    found
    for kind in KINDS
    for found in _types(kind.model, set())
    if found.__name__ not in _NOT_OURS and found.__module__.startswith("edgecanary.")
]
_FIELDS = [(found, name) for found in dict.fromkeys(_TYPES) for name in found.model_fields]


def _rollout() -> Rollout:
    return Rollout.model_validate(valid_object(ROLLOUT))


@pytest.mark.parametrize(("model", "field"), _FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_says_what_it_is(model: type[BaseModel], field: str) -> None:
    if field in ("api_version", "kind", "metadata") and model in [kind.model for kind in KINDS]:
        return
    description = model.model_fields[field].description or ""
    assert description.endswith("."), "a description is a sentence"
    assert description[0].isupper() or description.startswith("p95 ")


@pytest.mark.parametrize("model", list(dict.fromkeys(_TYPES)), ids=lambda model: model.__name__)
def test_every_type_says_what_it_is(model: type[BaseModel]) -> None:
    assert (model.__doc__ or "").strip()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_in_memory_cannot_be_changed(kind: Kind) -> None:
    parsed = kind.model.model_validate(valid_object(kind))
    with pytest.raises(ValidationError, match="frozen"):
        parsed.metadata = ObjectMeta(name="other")  # type: ignore[attr-defined]


def test_lists_in_memory_cannot_be_changed_either() -> None:
    assert isinstance(_rollout().spec.strategy.steps, tuple)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_fields_that_a_newer_version_wrote_are_dropped(kind: Kind) -> None:
    newer = put(valid_object(kind), "spec.addedLater", {"a": 1})
    assert "addedLater" not in as_object(kind.model.model_validate(newer).to_json()["spec"])


def test_the_wire_has_camel_case_and_no_absent_values() -> None:
    written = _rollout().to_json()
    assert get(written, "spec.strategy.steps[1]") == {
        "name": "canary",
        "percent": 5,
        "bakeSeconds": 3600,
        "approval": "Automatic",
    }
    assert get(written, "apiVersion") == "edgecanary.dev/v1alpha1"


def test_names_with_digits_are_written_as_the_schema_has_them() -> None:
    model = EdgeModel.model_validate(valid_object(EDGE_MODEL))
    assert get(model.to_json(), "spec.variants[0].budget.latencyP95Milliseconds") == 5


def test_another_kind_is_not_taken_for_this_one() -> None:
    with pytest.raises(ValidationError, match="kind"):
        EdgeModel.model_validate(valid_object(ROLLOUT))


def test_another_version_is_not_taken_for_this_one() -> None:
    newer = put(valid_object(ROLLOUT), "apiVersion", "edgecanary.dev/v2")
    with pytest.raises(ValidationError, match="apiVersion"):
        Rollout.model_validate(newer)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="must have a time zone, such as 2026-01-31T12:00:00Z"):
        Condition(type="Ready", status="True", reason="Fine", last_transition_time=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_time_is_written_in_utc_as_kubernetes_does() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    condition = Condition(type="Ready", status="True", reason="Fine", last_transition_time=noon)
    assert condition.to_json()["lastTransitionTime"] == "2026-01-31T12:00:00Z"


def _words() -> list[StrEnum]:
    parts = [part for model, name in _FIELDS for part in _parts(model.model_fields[name].annotation)]
    enumerations = [part for part in parts if isinstance(part, type) and issubclass(part, StrEnum)]
    return [word for enumeration in dict.fromkeys(enumerations) for word in enumeration]


@pytest.mark.parametrize("word", _words(), ids=str)
def test_every_word_of_the_api_is_in_pascal_case_or_an_acronym(word: StrEnum) -> None:
    assert word.value.isalnum()
    assert word.value[0].isupper()


def _status(*states: tuple[str, ModelState, str]) -> EdgeNodeStatus:
    return EdgeNodeStatus(
        models=tuple(NodeModelStatus(namespace="plant", name=n, state=s, reason=r) for n, s, r in states)
    )


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (_status(), "no models"),
        (_status(("pump", ModelState.ACTIVE, "HealthPassed")), "1/1 Active"),
        (
            _status(("pump", ModelState.ACTIVE, ""), ("door", ModelState.REVERTED, "ProbeFailed")),
            "1/2 Active; plant/door Reverted (ProbeFailed)",
        ),
        (_status(("pump", ModelState.PENDING, "")), "0/1 Active; plant/pump Pending"),
        (
            _status(*((f"m{number}", ModelState.PENDING, "") for number in range(6))),
            "0/6 Active; plant/m0 Pending; plant/m1 Pending; plant/m2 Pending; plant/m3 Pending; and 2 more",
        ),
    ],
)
def test_a_node_sums_up_its_models_in_one_line(status: EdgeNodeStatus, line: str) -> None:
    assert status.display == line
    assert status.to_json()["display"] == line


def test_the_line_of_a_node_fits_its_field_with_the_longest_names() -> None:
    longest = NodeModelStatus(
        namespace="n" * 63, name="m" * 253, state=ModelState.WITHDRAWN, reason="R" * 128
    )
    assert len(EdgeNodeStatus(models=(longest,) * 64).display) <= 2048


def test_the_line_of_a_node_follows_its_models_and_not_what_was_stored() -> None:
    stored = put(valid_object(EDGE_NODE), "status.display", "7/7 Active")
    parsed = EdgeNode.model_validate(stored)
    assert parsed.status.display == "1/2 Active; plant/door-camera Reverted (OutputMismatch)"
