"""A stricter rule in a later version does not lock people out of objects that were stored before."""

from collections.abc import Iterator

import pytest
import yaml
from pydantic import JsonValue

from edgecanary.api.fields import RULES_KEY, JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.generate import crd
from edgelab.generate.kinds import ROLLOUT
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import design_objects, put

_GROUP = "ratcheting.example.com"
_OBJECTS = f"/apis/{_GROUP}/v1alpha1/namespaces/default/rollouts"


def _definition(*, strict: bool) -> JsonObject:
    """Rollout in another group, with or without its rules."""
    named = put(crd.definition(ROLLOUT), "metadata.name", f"rollouts.{_GROUP}")
    own = put(put(named, "spec.group", _GROUP), "spec.names.shortNames", [])
    return own if strict else as_object(_without_rules(own))


def _without_rules(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _without_rules(child) for key, child in value.items() if key != RULES_KEY}
    return [_without_rules(child) for child in value] if isinstance(value, list) else value


def _steps(*percents: int) -> list[JsonValue]:
    return [{"name": f"s{number}", "percent": percent} for number, percent in enumerate(percents)]


def _apply(control_plane: ControlPlane, definition: JsonObject) -> None:
    text = yaml.safe_dump(definition)
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/rollouts.{_GROUP}")


@pytest.fixture
def old_rollout(control_plane: ControlPlane) -> Iterator[str]:
    """The path of a Rollout that breaks a rule which came after it."""
    _, rollout = design_objects()
    old = put(put(rollout, "apiVersion", f"{_GROUP}/v1alpha1"), "metadata", {"name": "old"})
    _apply(control_plane, _definition(strict=False))
    control_plane.admin.create(_OBJECTS, put(old, "spec.strategy.steps", _steps(5, 3, 100)))
    _apply(control_plane, _definition(strict=True))
    yield f"{_OBJECTS}/old"
    control_plane.kubectl("delete", "--wait=false", f"crd/rollouts.{_GROUP}")


def test_what_was_valid_before_can_still_be_changed_elsewhere_but_not_made_worse(
    control_plane: ControlPlane, old_rollout: str
) -> None:
    paused = control_plane.admin.patch(old_rollout, {"spec": {"paused": True}})
    assert paused["spec"]["paused"] is True
    worse: JsonObject = {"spec": {"strategy": {"steps": _steps(5, 4, 100)}}}
    with pytest.raises(ApiError, match="percent must increase from step to step"):
        control_plane.admin.patch(old_rollout, worse)
