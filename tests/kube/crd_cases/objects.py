"""Valid objects that the cases change in one place."""

import functools
from copy import deepcopy
from pathlib import Path

import yaml
from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.generate.kinds import EDGE_MODEL, EDGE_NODE, MODEL_RELEASE, ROLLOUT, Kind
from edgelab.generate.reference import example
from edgelab.generate.structural import as_list, as_object

DESIGN = Path(__file__).parent / "design.yaml"


def design_objects() -> list[JsonObject]:
    """The objects of the design's example."""
    return [as_object(found) for found in yaml.safe_load_all(DESIGN.read_text(encoding="utf-8"))]


def valid_object(kind: Kind) -> JsonObject:
    """A valid object of the kind with every part that the cases change."""
    return put(_origin(kind.name), "metadata", {"name": "case", "namespace": "default"})


@functools.cache
def _origin(kind_name: str) -> JsonObject:
    return _ORIGINS[kind_name]()


def _edge_model() -> JsonObject:
    model, _ = design_objects()
    model = put(model, "spec.profile", _PROFILE)
    model = put(model, "spec.variants[0].files[0].deltas", [_DELTA])
    return put(model, "spec.variants[0].requires.nodeSelector.matchExpressions", _SITE_IN_NORTH)


def _rollout() -> JsonObject:
    _, rollout = design_objects()
    with_secret = put(rollout, "spec.analysis.prometheus.secretRef", {"name": "prometheus"})
    return put(with_secret, "spec.nodeSelector.matchExpressions", _SITE_IN_NORTH)


def _model_release() -> JsonObject:
    release = as_object(yaml.safe_load(example(MODEL_RELEASE)))
    release = put(release, "spec.nodeSelector.matchExpressions", _SITE_IN_NORTH)
    release = put(release, "spec.canary.sourceSecretRef", {"name": "model-bucket"})
    release = put(release, "spec.canary.variants[0].requires.nodeSelector.matchExpressions", _SITE_IN_NORTH)
    addressed: JsonObject = {**_DELTA, "url": "https://models.example.com/pump.delta"}
    release = put(release, "spec.canary.variants[0].files[0].deltas", [addressed])
    canary = as_object(get(release, "spec.canary"))
    stable = {key: value for key, value in canary.items() if key not in ("attempt", "cutoffs")}
    return put(release, "spec.stable", {**stable, "revision": "0" * 64})


def _edge_node() -> JsonObject:
    return as_object(yaml.safe_load(example(EDGE_NODE)))


_PROFILE: JsonValue = {"uri": "s3://models/pump/profile.json", "sha256": "a" * 64, "sizeBytes": 2310}
_DELTA: JsonObject = {
    "fromSha256": "d" * 64,
    "format": "XorZstd",
    "uri": "s3://models/pump.delta",
    "sha256": "e" * 64,
    "sizeBytes": 1000,
}
_SITE_IN_NORTH: JsonValue = [{"key": "site", "operator": "In", "values": ["north"]}]
_ORIGINS = {
    EDGE_MODEL.name: _edge_model,
    ROLLOUT.name: _rollout,
    MODEL_RELEASE.name: _model_release,
    EDGE_NODE.name: _edge_node,
}


class Absent:
    """Stands for a field that is taken away."""

    def __repr__(self) -> str:
        return "its absence"


ABSENT = Absent()


def put(source: JsonObject, field: str, value: JsonValue | Absent) -> JsonObject:
    """A copy of `source` in which the field at a path such as `spec.steps[0].name` has another value."""
    changed = deepcopy(source)
    *parents, last = keys(field)
    holder: JsonValue = changed
    for key in parents:
        holder = as_list(holder)[key] if isinstance(key, int) else as_object(holder)[key]
    if isinstance(last, int):
        assert not isinstance(value, Absent)
        as_list(holder)[last] = value
    elif isinstance(value, Absent):
        as_object(holder).pop(last, None)
    else:
        as_object(holder)[last] = value
    return changed


def get(source: JsonObject, field: str) -> JsonValue:
    """The value of the field at a path."""
    found: JsonValue = source
    for key in keys(field):
        found = as_list(found)[key] if isinstance(key, int) else as_object(found)[key]
    return found


def keys(field: str) -> list[str | int]:
    """The steps of a path."""
    parts = field.replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdecimal() else part for part in parts]
