"""Objects as large as the bounds allow: the server's budget for rules must not refuse them."""

import json

import pytest
from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.generate.kinds import EDGE_MODEL, MODEL_RELEASE, ROLLOUT, Kind
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import get, put, valid_object
from tests.kube.crd_cases.server import collection

_STORAGE_LIMIT = 1_500_000
"""etcd takes no larger object, in bytes."""


def _file(folder: str, number: int, address_length: int) -> JsonObject:
    path = f"{folder}/{number:03}".ljust(250, "x")
    address = "https://models.example.com/".ljust(address_length, "a")
    return {"path": path, "uri": address, "sha256": "0" * 64, "sizeBytes": 2**40}


def _selector() -> JsonObject:
    keys = [f"example.com/{number:063}" for number in range(32)]
    values: list[JsonValue] = [f"{number:063}" for number in range(32)]
    expressions: list[JsonValue] = [{"key": key, "operator": "In", "values": values} for key in keys[:16]]
    return {"matchLabels": dict.fromkeys(keys, "v" * 63), "matchExpressions": expressions}


def _model_of_many_files() -> JsonObject:
    source = valid_object(EDGE_MODEL)
    return put(source, "spec.variants", _variants(as_object(get(source, "spec.variants[0]")), 2048))


def _model_of_many_labels() -> JsonObject:
    source = valid_object(EDGE_MODEL)
    build = put(as_object(get(source, "spec.variants[0]")), "requires.nodeSelector", _selector())
    return put(source, "spec.variants", [{**build, "name": f"v{number}"} for number in range(16)])


def _release_of_many_files() -> JsonObject:
    found = valid_object(MODEL_RELEASE)
    for revision in ("spec.stable", "spec.canary"):
        build = as_object(get(found, f"{revision}.variants[0]"))
        found = put(found, f"{revision}.variants", _variants(build, 400, with_url=True))
    return put(found, "spec.nodeSelector", _selector())


def _variants(build: JsonObject, address_length: int, *, with_url: bool = False) -> list[JsonValue]:
    def variant(number: int) -> JsonObject:
        files = [_file(f"v{number}", index, address_length) for index in range(32)]
        if with_url:
            files = [{**file, "url": file["uri"]} for file in files]
        return {**build, "name": f"v{number}", "files": [*files], "entrypoint": files[-1]["path"]}

    return [variant(number) for number in range(16)]


def _long_rollout() -> JsonObject:
    steps: list[JsonValue] = [{"name": f"s{number}", "nodes": number + 1} for number in range(19)]
    query = "max(x{node=~'{{ nodes }}'})".ljust(4096)
    metrics: list[JsonValue] = [
        {"name": f"m{number}", "query": query, "threshold": {"min": "1" * 31, "max": "1" * 32}}
        for number in range(20)
    ]
    window: JsonObject = {
        "schedule": ",".join(["10"] * 40) + " * * * *",
        "durationSeconds": 60,
        "timeZone": "UTC",
    }
    found = put(valid_object(ROLLOUT), "spec.strategy.steps", [*steps, {"name": "all", "percent": 100}])
    found = put(put(found, "spec.analysis.metrics", metrics), "spec.updateWindows", [window] * 16)
    return put(found, "spec.nodeSelector", _selector())


@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        (EDGE_MODEL, _model_of_many_files()),
        (EDGE_MODEL, _model_of_many_labels()),
        (MODEL_RELEASE, _release_of_many_files()),
        (ROLLOUT, _long_rollout()),
    ],
    ids=[
        "a model of 512 files",
        "a model of 16 selectors",
        "a release of 1024 files",
        "a rollout of 20 gates",
    ],
)
def test_the_largest_object_that_the_bounds_allow_is_accepted(
    control_plane: ControlPlane, kind: Kind, largest: JsonObject
) -> None:
    assert 50_000 < len(json.dumps(largest)) < _STORAGE_LIMIT
    stored = control_plane.admin.create(f"{collection(kind)}?dryRun=All", largest)
    assert stored["kind"] == kind.name
