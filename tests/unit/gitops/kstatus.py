"""kstatus, written from its documentation: what Flux, kpt and `kubectl wait`-like tools make of an object's status.

In this order: an object that is being deleted is Terminating. One whose generation its controller has not observed is
InProgress. Reconciling True is InProgress, Stalled True is Failed. Else Ready decides: True is Current, False and
Unknown are InProgress; an object without any of these counts as Current.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import cast

from cel_expr_python import cel

from edgecanary.api.fields import JsonObject


class Kstatus(StrEnum):
    """The reconcile state of one object."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


def compute(obj: JsonObject | None) -> Kstatus:
    """The state of an object as the API server gives it; None is one that is not there."""
    if obj is None:
        return Kstatus.NOT_FOUND
    if not isinstance(obj.get("metadata"), dict) or not isinstance(obj.get("status") or {}, dict):
        return Kstatus.UNKNOWN
    if _part(obj, "metadata").get("deletionTimestamp"):
        return Kstatus.TERMINATING
    if _lags(obj):
        return Kstatus.IN_PROGRESS
    for condition in _conditions(obj):
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return Kstatus.IN_PROGRESS if condition["type"] == "Reconciling" else Kstatus.FAILED
    ready = next((found["status"] for found in _conditions(obj) if found["type"] == "Ready"), "True")
    return Kstatus.CURRENT if ready == "True" else Kstatus.IN_PROGRESS


def by_expressions(obj: JsonObject, expressions: JsonObject) -> Kstatus:
    """The state by a Kustomization's `healthCheckExprs`: inProgress, then failed, then current."""
    if _lags(obj):
        return Kstatus.IN_PROGRESS
    names = cel.NewEnv(variables=dict.fromkeys(("metadata", "spec", "status"), cel.Type.DYN))
    for name, state in (
        ("inProgress", Kstatus.IN_PROGRESS),
        ("failed", Kstatus.FAILED),
        ("current", Kstatus.CURRENT),
    ):
        if name in expressions:
            program = names.compile(str(expressions[name]))
            answer = program.eval(
                data={key: obj[key] for key in ("metadata", "spec", "status") if key in obj}
            )
            assert str(answer) in ("true", "false"), f"{name}: {answer}"
            if str(answer) == "true":
                return state
    return Kstatus.IN_PROGRESS


def of_all(states: Sequence[Kstatus]) -> Kstatus:
    """What `wait: true` makes of several objects: ready when all are Current, failed as soon as one is Failed."""
    if Kstatus.FAILED in states:
        return Kstatus.FAILED
    return Kstatus.CURRENT if set(states) <= {Kstatus.CURRENT} else Kstatus.IN_PROGRESS


def _lags(obj: JsonObject) -> bool:
    generation = _part(obj, "metadata").get("generation")
    observed = _part(obj, "status").get("observedGeneration")
    return generation is not None and observed is not None and generation != observed


def _conditions(obj: JsonObject) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", _part(obj, "status").get("conditions") or [])


def _part(obj: JsonObject, name: str) -> JsonObject:
    return cast("JsonObject", obj.get(name) or {})
