"""What the API server makes of objects that it stores: defaults, pruning, status, the way back to the types."""

from collections.abc import Mapping

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError, KubectlError
from edgelab.generate.kinds import EDGE_MODEL, EDGE_NODE, KINDS, MODEL_RELEASE, ROLLOUT, Kind
from edgelab.generate.reference import example
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import design_objects, get, put
from tests.kube.crd_cases.server import collection
from tests.kube.crd_cases.statuses import EDGE_MODEL_STATUS, ROLLOUT_STATUS

_DIGEST = "0123456789abcdef" * 4
_STATUS: dict[str, JsonObject] = {
    "EdgeModel": {"status": EDGE_MODEL_STATUS},
    "Rollout": {"status": ROLLOUT_STATUS},
}
"""Statuses of the kinds whose example has none."""


def _in_namespace(source: JsonObject, namespace: str) -> JsonObject:
    return put(source, "metadata.namespace", namespace)


def _store(control_plane: ControlPlane, kind: Kind, source: JsonObject, namespace: str) -> JsonObject:
    """Stores an object and its status; answers it as the server gives it back."""
    api = control_plane.admin
    stored = api.create(collection(kind, namespace), _in_namespace(source, namespace))
    if "status" not in source or kind.new_status is None:
        return stored
    return api.replace(f"{_path(stored, kind)}/status", {**stored, "status": source["status"]})


def _path(stored: JsonObject, kind: Kind) -> str:
    metadata = as_object(stored["metadata"])
    return f"{collection(kind, str(metadata['namespace']))}/{metadata['name']}"


def _missing(wanted: object, found: object, at: str = "") -> list[str]:
    """Where `found` lacks something that `wanted` has."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return [path for key in wanted for path in _missing(wanted[key], found.get(key), f"{at}.{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [path for index, (left, right) in pairs for path in _missing(left, right, f"{at}[{index}]")]
    return [] if wanted == found else [f"{at}: {wanted!r} became {found!r}"]


def test_the_example_of_the_design_is_accepted(control_plane: ControlPlane, namespace: str) -> None:
    manifests = [yaml.safe_dump(_in_namespace(found, namespace)) for found in design_objects()]
    printed = control_plane.kubectl("apply", "-f", "-", stdin="---\n".join(manifests))
    assert printed.splitlines() == [
        "edgemodel.edgecanary.dev/pump-anomaly created",
        "rollout.edgecanary.dev/pump-anomaly created",
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_reference_shows_an_example_that_can_be_applied(
    control_plane: ControlPlane, namespace: str, kind: Kind
) -> None:
    manifest = _in_namespace(as_object(yaml.safe_load(example(kind))), namespace)
    printed = control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert printed.endswith(" created\n")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_stored_object_becomes_the_type_and_comes_back_without_loss(
    control_plane: ControlPlane, namespace: str, kind: Kind
) -> None:
    source = as_object(yaml.safe_load(example(kind)))
    stored = _store(control_plane, kind, {**source, **_STATUS.get(kind.name, {})}, namespace)
    parsed = kind.model.model_validate(stored)
    back = parsed.to_json()
    assert _missing(stored["spec"], back["spec"]) == []
    assert _missing(stored.get("status"), back.get("status")) == []
    assert kind.model.model_validate(back) == parsed


@pytest.mark.parametrize("kind", [EDGE_MODEL, ROLLOUT, EDGE_NODE], ids=lambda kind: kind.name)
def test_a_status_that_is_written_back_as_it_was_read_changes_nothing(
    control_plane: ControlPlane, namespace: str, kind: Kind
) -> None:
    source = as_object(yaml.safe_load(example(kind)))
    stored = _store(control_plane, kind, {**source, **_STATUS.get(kind.name, {})}, namespace)
    own = f"{_path(stored, kind)}/status"
    first = control_plane.admin.replace(
        own, {**stored, "status": kind.model.model_validate(stored).to_json()["status"]}
    )
    again = control_plane.admin.replace(
        own, {**first, "status": kind.model.model_validate(first).to_json()["status"]}
    )
    assert get(again, "metadata.resourceVersion") == get(first, "metadata.resourceVersion")


def test_a_release_that_is_written_back_as_it_was_read_changes_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    kind = MODEL_RELEASE
    stored = _store(control_plane, kind, as_object(yaml.safe_load(example(kind))), namespace)
    own = _path(stored, kind)
    first = control_plane.admin.replace(
        own, {**stored, "spec": kind.model.model_validate(stored).to_json()["spec"]}
    )
    again = control_plane.admin.replace(
        own, {**first, "spec": kind.model.model_validate(first).to_json()["spec"]}
    )
    assert get(again, "metadata.resourceVersion") == get(first, "metadata.resourceVersion")


def test_a_short_rollout_gets_every_default(control_plane: ControlPlane, namespace: str) -> None:
    spec: JsonObject = {
        "modelRef": {"name": "pump-anomaly"},
        "strategy": {"steps": [{"name": "all", "percent": 100}]},
        "updateWindows": [{"schedule": "0 2 * * *", "durationSeconds": 60}],
        "analysis": {
            "prometheus": {"url": "http://prometheus:9090"},
            "metrics": [{"name": "errors", "preset": "ErrorRate", "comparison": {}}],
        },
    }
    stored = _store(control_plane, ROLLOUT, _named("short", "Rollout", spec), namespace)
    assert stored["spec"] == {
        "modelRef": {"name": "pump-anomaly"},
        "paused": False,
        "rollback": "Automatic",
        "strategy": {
            "steps": [{"name": "all", "percent": 100, "bakeSeconds": 300, "approval": "Automatic"}],
            "quorumPercent": 90,
            "maxFailedNodes": 0,
            "stepDeadlineSeconds": 86400,
            "onDeadline": "Pause",
            "rollbackWindowRevisions": 3,
            "initial": "Staged",
        },
        "updateWindows": [{"schedule": "0 2 * * *", "durationSeconds": 60, "timeZone": "UTC"}],
        "analysis": {
            "prometheus": {"url": "http://prometheus:9090", "timeoutSeconds": 10},
            "intervalSeconds": 60,
            "historySeconds": 259_200,
            "metrics": [
                {
                    "name": "errors",
                    "preset": "ErrorRate",
                    "comparison": {
                        "method": "NegativeBinomial",
                        "detectRatio": "2",
                        "confidence": "0.95",
                        "warmupSeconds": 300,
                    },
                    "minSamples": 0,
                    "failureLimit": 0,
                    "consecutiveErrorLimit": 4,
                    "initialDelaySeconds": 0,
                    "onNoData": "Wait",
                    "onError": "Wait",
                    "mode": "Enforce",
                }
            ],
        },
        "health": {
            "soakSeconds": 60,
            "maxCrashes": 2,
            "maxErrorPercent": 5,
            "maxLatencyIncreasePercent": 400,
            "maxNotFinitePercent": 1,
        },
        "priority": 0,
    }


def test_a_short_edgemodel_gets_every_default(control_plane: ControlPlane, namespace: str) -> None:
    file: JsonObject = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": _DIGEST, "sizeBytes": 1}
    tensor: JsonObject = {"name": "x", "dtype": "FP32", "shape": [-1]}
    spec: JsonObject = {
        "version": "1",
        "io": {"inputs": [tensor], "outputs": [tensor]},
        "golden": {"uri": "s3://models/golden.npz", "sha256": _DIGEST, "sizeBytes": 1},
        "variants": [{"name": "v", "format": "ONNX", "entrypoint": "m.onnx", "files": [file]}],
    }
    stored = _store(control_plane, EDGE_MODEL, _named("short", "EdgeModel", spec), namespace)
    assert get(stored, "spec.serve") is True
    assert get(stored, "spec.golden.relativeTolerance") == "0"
    assert get(stored, "spec.golden.absoluteTolerance") == "0.00001"
    assert _missing(spec, stored["spec"]) == []


@pytest.mark.parametrize("kind", [EDGE_MODEL, ROLLOUT], ids=lambda kind: kind.name)
def test_a_new_object_says_that_nobody_has_observed_it_yet(
    control_plane: ControlPlane, namespace: str, kind: Kind
) -> None:
    source = as_object(yaml.safe_load(example(kind)))
    stored = control_plane.admin.create(collection(kind, namespace), _in_namespace(source, namespace))
    assert stored["status"] == {"observedGeneration": -1}
    assert get(stored, "metadata.generation") == 1


def test_a_status_in_a_manifest_is_not_taken_over(control_plane: ControlPlane, namespace: str) -> None:
    source = as_object(yaml.safe_load(example(ROLLOUT)))
    forged = {**_in_namespace(source, namespace), **_STATUS["Rollout"]}
    stored = control_plane.admin.create(collection(ROLLOUT, namespace), forged)
    assert stored["status"] == {"observedGeneration": -1}


def test_writing_the_status_changes_neither_spec_nor_generation(
    control_plane: ControlPlane, namespace: str
) -> None:
    source = as_object(yaml.safe_load(example(ROLLOUT)))
    stored = control_plane.admin.create(collection(ROLLOUT, namespace), _in_namespace(source, namespace))
    changed = put({**stored, **_STATUS["Rollout"]}, "spec.paused", True)
    written = control_plane.admin.replace(f"{_path(stored, ROLLOUT)}/status", changed)
    assert written["spec"] == stored["spec"]
    assert get(written, "metadata.generation") == 1
    assert get(written, "status.step.display") == "2/4 canary"


def test_a_status_of_the_wrong_form_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    source = as_object(yaml.safe_load(example(ROLLOUT)))
    stored = control_plane.admin.create(collection(ROLLOUT, namespace), _in_namespace(source, namespace))
    wrong = put({**stored, **_STATUS["Rollout"]}, "status.conditions[0].reason", "not PascalCase")
    with pytest.raises(ApiError, match=r"status.conditions\[0\].reason: .*should match"):
        control_plane.admin.replace(f"{_path(stored, ROLLOUT)}/status", wrong)


def test_kubectl_refuses_a_misspelt_field_and_names_it(control_plane: ControlPlane, namespace: str) -> None:
    source = as_object(yaml.safe_load(example(ROLLOUT)))
    misspelt = put(_in_namespace(source, namespace), "spec.strategy.steps[0].bakeSecond", 5)
    with pytest.raises(KubectlError) as refused:
        control_plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump(misspelt))
    assert 'unknown field "spec.strategy.steps[0].bakeSecond"' in refused.value.stderr


def test_an_unknown_field_is_pruned_for_clients_that_do_not_check(
    control_plane: ControlPlane, namespace: str
) -> None:
    source = as_object(yaml.safe_load(example(ROLLOUT)))
    unknown = put(_in_namespace(source, namespace), "spec.strategy.steps[0].bakeSecond", 5)
    stored = control_plane.admin.create(collection(ROLLOUT, namespace), unknown)
    assert "bakeSecond" not in as_object(get(stored, "spec.strategy.steps[0]"))


def _named(name: str, kind: str, spec: JsonObject) -> JsonObject:
    return {"apiVersion": "edgecanary.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
