"""What a person sees with kubectl: columns, names, explanations."""

import time
from datetime import UTC, datetime

import pytest
import yaml
from pydantic import JsonValue

from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.fields import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.generate.kinds import EDGE_MODEL, EDGE_NODE, KINDS, ROLLOUT, Kind
from edgelab.generate.reference import example
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import put
from tests.kube.crd_cases.server import collection
from tests.kube.crd_cases.statuses import EDGE_MODEL_STATUS, ROLLING, ROLLOUT_STATUS

_PUBLISH_SECONDS = 60
"""The server takes up to some seconds to publish new schemas; explain waits for at most this long."""


def _store(control_plane: ControlPlane, kind: Kind, namespace: str, name: str, status: JsonValue) -> None:
    source = put(as_object(yaml.safe_load(example(kind))), "metadata", {"name": name, "namespace": namespace})
    path = collection(kind, namespace)
    stored = control_plane.admin.create(path, source)
    control_plane.admin.replace(f"{path}/{name}/status", {**stored, "status": status})


def _lines(control_plane: ControlPlane, *arguments: str) -> list[list[str]]:
    """kubectl's table, as cells; the age is left out as it depends on the test's speed."""
    printed = control_plane.kubectl("get", *arguments).splitlines()
    starts = [
        index
        for index, sign in enumerate(printed[0])
        if sign != " " and printed[0][index - 1 : index] in ("", " ")
    ]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    rows = [[line[begin:end].strip() for begin, end in spans] for line in printed]
    kept = [index for index, title in enumerate(rows[0]) if title != "AGE"]
    return [[row[index] for index in kept] for row in rows]


def test_rollouts_are_listed_with_how_far_how_healthy_and_why(
    control_plane: ControlPlane, namespace: str
) -> None:
    _store(control_plane, ROLLOUT, namespace, "pump-anomaly", ROLLOUT_STATUS)
    assert _lines(control_plane, "mro", "-n", namespace) == [
        ["NAME", "STABLE", "CANARY", "STEP", "UPDATED", "GATES", "READY", "REASON", "MESSAGE"],
        [
            "pump-anomaly",
            "2.3.1",
            "2.4.0",
            "2/4 canary",
            "3/12",
            "1/2 Pass",
            "Unknown",
            "Progressing",
            ROLLING,
        ],
    ]


def test_models_are_listed_with_their_verdict(control_plane: ControlPlane, namespace: str) -> None:
    _store(control_plane, EDGE_MODEL, namespace, "pump-anomaly", EDGE_MODEL_STATUS)
    message = "2 variants and 32 golden cases are as declared"
    assert _lines(control_plane, "em", "-n", namespace) == [
        ["NAME", "VERSION", "READY", "REASON", "MESSAGE"],
        ["pump-anomaly", "2.4.0", "True", "Accepted", message],
    ]
    assert _lines(control_plane, "em", "-n", namespace, "-o", "wide") == [
        ["NAME", "VERSION", "REVISION", "READY", "REASON", "MESSAGE"],
        ["pump-anomaly", "2.4.0", "b" * 64, "True", "Accepted", message],
    ]


def test_nodes_are_listed_with_what_is_active_and_why_not(
    control_plane: ControlPlane, namespace: str
) -> None:
    reported = as_object(as_object(yaml.safe_load(example(EDGE_NODE)))["status"])
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    status = EdgeNodeStatus.model_validate({**reported, "heartbeatTime": now}).to_json()
    _store(control_plane, EDGE_NODE, namespace, "press-07", status)
    head, row = _lines(control_plane, "en", "-n", namespace)
    assert head == ["NAME", "AGENT", "HEARTBEAT", "MODELS"]
    assert row[:2] + row[3:] == [
        "press-07",
        "0.1.0",
        "1/2 Active; plant/door-camera Reverted (OutputMismatch)",
    ]
    assert row[2].endswith("s"), "the heartbeat must be shown as an age"


def test_releases_are_listed_with_their_versions(control_plane: ControlPlane, namespace: str) -> None:
    release = put(as_object(yaml.safe_load(example(KINDS[2]))), "metadata.namespace", namespace)
    control_plane.admin.create(collection(KINDS[2], namespace), release)
    assert _lines(control_plane, "mrel", "-n", namespace) == [
        ["NAME", "MODEL", "STABLE", "CANARY", "SEQUENCE"],
        ["pump-anomaly", "pump-anomaly", "2.3.1", "2.4.0", "7"],
    ]


def test_one_word_lists_the_objects_of_all_kinds(control_plane: ControlPlane, namespace: str) -> None:
    for kind in KINDS:
        manifest = put(
            as_object(yaml.safe_load(example(kind))), "metadata", {"name": "one", "namespace": namespace}
        )
        control_plane.admin.create(collection(kind, namespace), manifest)
    listed = control_plane.kubectl("get", "edgecanary", "-n", namespace, "-o", "name").splitlines()
    assert sorted(listed) == [
        f"{kind.singular}.edgecanary.dev/one" for kind in sorted(KINDS, key=lambda kind: kind.name)
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "rollout.spec.strategy.steps",
            (
                "FIELD: steps <[]Object>",
                "The steps, each wider than the one before; the last must be percent: 100.",
                "One widening of the canary: how far, how long it is watched, and how it is left.",
                "How long the step is watched once its nodes are updated, in seconds. Default: 300. From 0 to 2592000.",
                "name <string> -required- The step's name, unique in the rollout.",
                "approval <string> enum: Automatic, Manual Automatic goes on when the gates pass;",
                "at least one of each stratum. From 1 to 100.",
            ),
        ),
        (
            "edgemodel.spec.variants.files",
            (
                "sizeBytes <integer> -required- Length of the file in bytes.",
                "sha256 <string> -required- SHA-256 of",
            ),
        ),
        (
            "rollout.spec.analysis.metrics.query",
            (
                "PromQL that gives one number. {{ namespace }}, {{ model }}, {{ canary }}, {{ stable }}, {{ nodes }}",
            ),
        ),
        ("edgenode.status.models", ("state <string> enum: Pending, Active, Reverted,",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kubectl_explains_a_field(control_plane: ControlPlane, path: str, words: tuple[str, ...]) -> None:
    explained = _explained(control_plane, path, words[0])
    assert [text for text in words if text not in explained] == []


def _explained(control_plane: ControlPlane, path: str, awaited: str) -> str:
    """kubectl's explanation on one line, as soon as the server has published the schemas."""
    deadline = time.monotonic() + _PUBLISH_SECONDS
    while True:
        text = " ".join(control_plane.kubectl("explain", path).split())
        if awaited in text or time.monotonic() > deadline:
            return text
        time.sleep(0.5)


def test_every_field_is_explained(control_plane: ControlPlane) -> None:
    for kind in KINDS:
        _explained(control_plane, kind.singular, "FIELDS:")
        found = control_plane.admin.get("/openapi/v3/apis/edgecanary.dev/v1alpha1")
        schema = as_object(found["components"]["schemas"][f"dev.edgecanary.v1alpha1.{kind.name}"])
        assert _without_description(as_object(schema["properties"]), kind.name) == []


def _without_description(properties: JsonObject, at: str) -> list[str]:
    found = []
    for name, value in properties.items():
        field = as_object(value)
        if "description" not in field and name != "metadata":
            found.append(f"{at}.{name}")
        inner = as_object(field.get("items", field))
        found += _without_description(as_object(inner.get("properties", {})), f"{at}.{name}")
    return found
