"""How Argo CD compares Git with the cluster, as its page on diff strategies describes it.

Legacy: a three-way JSON merge of what was applied last, what Git says and what is there; lists count as a whole.
Server-side: what a forced server-side apply would make of the object, by a dry run. Both leave out the status and what
the server keeps for itself. `ignoreDifferences` deletes paths, by jq, from both sides first.
"""

import json
from collections.abc import Iterable
from typing import cast

import jq

from edgecanary.api.fields import JsonObject

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OF_THE_SERVER = ("managedFields", "resourceVersion", "creationTimestamp", "uid", "generation", "selfLink")


def compared(obj: JsonObject) -> JsonObject:
    """The part of an object that is compared."""
    metadata = {k: v for k, v in cast("JsonObject", obj["metadata"]).items() if k not in _OF_THE_SERVER}
    annotations = cast("JsonObject", metadata.pop("annotations", {}))
    kept = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": {**metadata, "annotations": kept}}


def in_sync_legacy(git: JsonObject, live: JsonObject, *, ignored: Iterable[str] = ()) -> bool:
    """Whether the legacy strategy finds no difference; `ignored` are jq paths."""
    annotations = cast("JsonObject", cast("JsonObject", live["metadata"]).get("annotations") or {})
    applied = json.loads(str(annotations.get(LAST_APPLIED, json.dumps(git))))
    left, right, before = (_without(compared(body), ignored) for body in (git, live, applied))
    return _merged(before, left, right) == right


def _merged(applied: JsonObject, git: JsonObject, live: JsonObject) -> JsonObject:
    """What is there, with what Git has set since and without what Git has dropped since it was applied last."""
    found = {key: value for key, value in live.items() if key in git or key not in applied}
    for key, value in git.items():
        old, mine = applied.get(key), live.get(key)
        if isinstance(value, dict) and isinstance(mine, dict):
            found[key] = _merged(old if isinstance(old, dict) else {}, value, mine)
        else:
            found[key] = value
    return found


def _without(obj: JsonObject, paths: Iterable[str]) -> JsonObject:
    for path in paths:
        obj = cast("JsonObject", jq.compile(f"del({path})").input_value(obj).first())
    return obj
