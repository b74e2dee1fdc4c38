"""The operator checks an EdgeModel before any node sees it, on real files in a real object store."""

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import cast

import onnx
import pytest
from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgelab.controlplane import ControlPlane
from edgelab.modelzoo import ZooModel, bad_goldens, open_zoo
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import SECRET, Fleet, OperatorLab, model_is_verified, until

Edit = Callable[[JsonObject], object]


def part(body: JsonObject, *keys: str | int) -> JsonObject:
    found: object = body
    for key in keys:
        found = (
            cast("JsonObject", found)[key] if isinstance(key, str) else cast("list[JsonObject]", found)[key]
        )
    return cast("JsonObject", found)


def model_file(spec: JsonObject) -> JsonObject:
    return part(spec, "variants", 0, "files", 0)


def tensors(spec: JsonObject, kind: str) -> JsonObject:
    return part(spec, "io", kind, 0)


def status(lab: OperatorLab) -> JsonObject:
    return part(lab.get(EDGE_MODELS), "status")


@pytest.fixture
def running(stocked_lab: OperatorLab) -> OperatorLab:
    stocked_lab.start()
    return stocked_lab


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane, operator_roles: None, lab_supervisor: Supervisor, s3: S3Server
) -> Iterator[OperatorLab]:
    """One operator for the tables of bad models; each test has a model of its own name."""
    namespace = f"models-{uuid.uuid4().hex[:12]}"
    control_plane.create_namespace(namespace)
    found = OperatorLab(control_plane, lab_supervisor, namespace)
    found.secret(s3.environment)
    found.start()
    yield found
    found.stop()
    control_plane.delete_namespace(namespace)


def test_a_good_model_is_verified_with_revision_version_and_verdicts(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    running.create(EDGE_MODELS, running.upload(s3, bucket, tiny))
    model_is_verified(running)
    found = status(running)
    assert found["version"] == tiny.version
    assert len(str(found["revision"])) == 64
    assert found["observedGeneration"] == 1
    verdict = part(found, "variants", 0)
    assert (verdict["verdict"], verdict["reason"]) == ("Accepted", "Verified")
    assert "1 file, " in str(verdict["message"])
    assert "golden cases" in str(verdict["message"])
    assert [event["type"] for event in running.events("Verified")] == ["Normal"]


def _delta_at(uri: str) -> JsonObject:
    """A delta that lies about what is at the address."""
    declared: JsonObject = {"fromSha256": "1" * 64, "format": "XorZstd", "uri": uri}
    return {**declared, "sha256": "2" * 64, "sizeBytes": 3}


SPEC_CASES: dict[str, tuple[Edit, str, str]] = {
    "model-digest": (
        lambda spec: model_file(spec).update(sha256="0" * 64),
        "DigestMismatch",
        "spec.variants[0].files[0].sha256: the file at s3://",
    ),
    "model-size": (
        lambda spec: model_file(spec).update(sizeBytes=7),
        "SizeMismatch",
        "spec.variants[0].files[0].sizeBytes: the file at s3://",
    ),
    "delta-size": (
        lambda spec: model_file(spec).update(deltas=[_delta_at(str(model_file(spec)["uri"]))]),
        "SizeMismatch",
        "spec.variants[0].files[0].deltas[0].sizeBytes: the file at s3://",
    ),
    "golden-digest": (
        lambda spec: part(spec, "golden").update(sha256="0" * 64),
        "DigestMismatch",
        "spec.golden.sha256: the file at s3://",
    ),
    "golden-size": (
        lambda spec: part(spec, "golden").update(sizeBytes=7),
        "SizeMismatch",
        "spec.golden.sizeBytes: the file at s3://",
    ),
    "tensor-name": (
        lambda spec: tensors(spec, "inputs").update(name="other"),
        "GoldenInvalid",
        "spec.golden: must hold an array named input:other",
    ),
    "tensor-type": (
        lambda spec: tensors(spec, "inputs").update(dtype="FP64"),
        "GoldenInvalid",
        "must have type FP64",
    ),
    "tensor-shape": (
        lambda spec: tensors(spec, "outputs").update(shape=[-1, 3]),
        "GoldenInvalid",
        "spec.golden: array output:target_label",
    ),
    "format": (
        lambda spec: part(spec, "variants", 0).update(format="TFLite"),
        "UnsupportedFormat",
        "spec.variants: must hold a variant that nodes can serve",
    ),
    "no-secret": (
        lambda spec: spec.pop("sourceSecretRef"),
        "SecretMissing",
        "spec.sourceSecretRef: must name a Secret with S3 keys",
    ),
}

IO_CASES = {
    "wrong-input-name": "the model has no input named 'bytes'",
    "wrong-output-name": "the model has no output named",
    "wrong-dtype": "in the model, spec.io says INT32",
    "wrong-shape": "has shape [-1, 1024] in the model, spec.io says [-1, 2048]",
}

BAD_GOLDENS = (
    "not-an-npz",
    "cut-short",
    "pickled",
    "no-cases",
    "wrong-name",
    "no-input",
    "wrong-shape",
    "wrong-dtype",
    "cases-differ",
)


@pytest.mark.parametrize("case", SPEC_CASES)
def test_a_spec_that_its_files_do_not_bear_out_is_stalled_by_field(
    shared: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, case: str
) -> None:
    edit, reason, says = SPEC_CASES[case]
    spec = shared.upload(s3, bucket, tiny)
    edit(spec)
    shared.create(EDGE_MODELS, spec, case)
    shared.until_ready(EDGE_MODELS, "False", reason, case)
    assert says in shared.message(EDGE_MODELS, case)
    stalled = shared.condition(EDGE_MODELS, "Stalled", case)
    assert stalled is not None
    assert stalled["reason"] == reason
    about = [event for event in shared.events(reason) if part(event, "involvedObject")["name"] == case]
    assert [event["type"] for event in about] == ["Warning"]


@pytest.mark.parametrize("case", IO_CASES)
def test_a_model_with_other_tensors_than_declared_is_stalled_by_tensor(
    shared: OperatorLab, s3: S3Server, bucket: str, case: str
) -> None:
    spec = shared.upload(s3, bucket, open_zoo()[case])
    del spec["golden"]
    shared.create(EDGE_MODELS, spec, case)
    shared.until_ready(EDGE_MODELS, "False", "IOMismatch", case)
    message = shared.message(EDGE_MODELS, case)
    assert message.startswith(("spec.io.inputs[0]: ", "spec.io.outputs[0]: "))
    assert IO_CASES[case] in message
    assert part(shared.get(EDGE_MODELS, case), "status", "variants", 0)["verdict"] == "Rejected"


@pytest.mark.parametrize("case", BAD_GOLDENS)
def test_a_bad_golden_file_is_stalled_with_what_is_wrong(
    shared: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, case: str
) -> None:
    spec = shared.upload(s3, bucket, tiny)
    replace_file(s3, bucket, part(spec, "golden"), bad_goldens(tiny.golden.path.read_bytes())[case])
    name = f"golden-{case}"
    shared.create(EDGE_MODELS, spec, name)
    shared.until_ready(EDGE_MODELS, "False", "GoldenInvalid", name)
    assert shared.message(EDGE_MODELS, name).startswith("spec.golden: ")


def test_a_drift_profile_is_checked_before_any_node_sees_it(
    shared: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    feature = {
        "source": "Input",
        "tensor": "bytes",
        "statistic": "Mean",
        "edges": [0, 1],
        "shares": [0.2, 0.3, 0.5, 0],
    }
    for name, tensor, status, reason in (
        ("profile-good", "bytes", "True", "Verified"),
        ("profile-bad", "other", "False", "ProfileInvalid"),
    ):
        spec = shared.upload(s3, bucket, tiny)
        spec["profile"] = {"uri": f"s3://{bucket}/{name}.json", "sha256": "", "sizeBytes": 1}
        content = json.dumps({"formatVersion": 1, "samples": 9, "features": [{**feature, "tensor": tensor}]})
        replace_file(s3, bucket, part(spec, "profile"), content.encode())
        shared.create(EDGE_MODELS, spec, name)
        shared.until_ready(EDGE_MODELS, status, reason, name)
    message = shared.message(EDGE_MODELS, "profile-bad")
    assert message.startswith("spec.profile: features.0.tensor: 'other' must be an input of spec.io")


def replace_file(s3: S3Server, bucket: str, file: JsonObject, content: bytes) -> None:
    """Puts other content in the file's place and declares it."""
    s3.put(bucket, str(file["uri"]).removeprefix(f"s3://{bucket}/"), content)
    file.update(sha256=hashlib.sha256(content).hexdigest(), sizeBytes=len(content))


def test_a_file_that_is_no_model_is_stalled(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    spec = running.upload(s3, bucket, tiny)
    replace_file(s3, bucket, model_file(spec), b"this is a text, not an ONNX model")
    running.create(EDGE_MODELS, spec)
    running.until_ready(EDGE_MODELS, "False", "ModelInvalid")
    assert running.message(EDGE_MODELS).startswith("spec.variants[0].files[0].uri: is not an ONNX model")


HOSTILE = {
    "ExternalDataRefused": "reads '/etc/passwd', which must be one of the variant's files (",
    "OperatorRefused": "operator 'Conjure' is of the domain 'com.evil', allowed are ",
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_model_that_would_read_files_or_call_strangers_is_stalled(
    shared: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, reason: str
) -> None:
    spec = shared.upload(s3, bucket, tiny)
    key = str(model_file(spec)["uri"]).removeprefix(f"s3://{bucket}/")
    model = onnx.load_model_from_string(s3.get(bucket, key))
    if reason == "OperatorRefused":
        model.graph.node.add(op_type="Conjure", domain="com.evil", output=["unused"])
    else:
        tensor = model.graph.initializer.add(name="k", data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/passwd")
    replace_file(s3, bucket, model_file(spec), model.SerializeToString())
    name = f"hostile-{reason.lower()}"
    shared.create(EDGE_MODELS, spec, name)
    shared.until_ready(EDGE_MODELS, "False", reason, name)
    message = shared.message(EDGE_MODELS, name)
    assert message.startswith("spec.variants[0].files[0].uri: ")
    assert HOSTILE[reason] in message


def test_one_bad_variant_stalls_the_model_and_each_has_its_verdict(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    spec = running.upload(s3, bucket, tiny)
    files: list[JsonValue] = [{**model_file(spec), "sha256": "0" * 64}]
    bad: JsonObject = {**part(spec, "variants", 0), "name": "bad", "files": files}
    cast("list[JsonObject]", spec["variants"]).append(bad)
    running.create(EDGE_MODELS, spec)
    running.until_ready(EDGE_MODELS, "False", "DigestMismatch")
    verdicts = cast("list[JsonObject]", status(running)["variants"])
    assert [verdict["verdict"] for verdict in verdicts] == ["Accepted", "Rejected"]


def test_a_stalled_model_reaches_no_node_and_the_rollout_says_why(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    running.add_nodes("a")
    spec = running.upload(s3, bucket, tiny)
    model_file(spec)["sha256"] = "0" * 64
    running.create(EDGE_MODELS, spec)
    running.create(ROLLOUTS, running.rollout_spec())
    running.until_ready(ROLLOUTS, "False", "ModelInvalid")
    assert "EdgeModel pump: spec.variants[0].files[0].sha256: " in running.message(ROLLOUTS)
    assert running.find(MODEL_RELEASES) is None


def test_a_corrected_spec_is_checked_again_at_once(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    spec = running.upload(s3, bucket, tiny)
    good = part(spec, "golden")["sha256"]
    part(spec, "golden")["sha256"] = "0" * 64
    running.create(EDGE_MODELS, spec)
    running.until_ready(EDGE_MODELS, "False", "DigestMismatch")
    running.change(EDGE_MODELS, {"spec": {"golden": {"sha256": good}}})
    model_is_verified(running)
    assert running.condition(EDGE_MODELS, "Stalled") is None


class TestAStoreInTrouble:
    def test_a_store_that_is_down_is_waited_for(
        self, stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab = stocked_lab
        spec = lab.upload(s3, bucket, tiny)
        s3.stop()
        lab.start()
        lab.create(EDGE_MODELS, spec)
        lab.until_ready(EDGE_MODELS, "Unknown", "SourceUnavailable")
        assert "Connection refused" in lab.message(EDGE_MODELS)
        reconciling = lab.condition(EDGE_MODELS, "Reconciling")
        assert reconciling is not None
        assert lab.condition(EDGE_MODELS, "Stalled") is None
        s3.start()
        model_is_verified(lab)

    def test_a_missing_file_is_named_and_found_when_it_comes(
        self, running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        spec = running.upload(s3, bucket, tiny)
        key = str(model_file(spec)["uri"]).removeprefix(f"s3://{bucket}/")
        s3.delete(bucket, key)
        running.create(EDGE_MODELS, spec)
        running.until_ready(EDGE_MODELS, "False", "SourceNotFound")
        assert f"s3://{bucket}/{key}: there is no such file; upload it" in running.message(EDGE_MODELS)
        s3.put(bucket, key, tiny.model.path.read_bytes())
        model_is_verified(running)

    def test_a_missing_secret_is_named_and_used_when_it_comes(
        self, lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab.start()
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        lab.until_ready(EDGE_MODELS, "False", "SecretNotFound")
        assert f"there is no Secret {SECRET} in namespace {lab.namespace}" in lab.message(EDGE_MODELS)
        lab.secret(s3.environment)
        model_is_verified(lab)

    def test_wrong_keys_are_a_refusal_that_names_the_key_and_shows_none(
        self, lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab.start()
        lab.secret({**s3.environment, "AWS_SECRET_ACCESS_KEY": "guessed"})
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        lab.until_ready(EDGE_MODELS, "False", "SourceForbidden")
        assert "AWS_SECRET_ACCESS_KEY is wrong" in lab.message(EDGE_MODELS)
        right = base64.b64encode(s3.secret_key.encode()).decode()
        lab.api.patch(
            f"/api/v1/namespaces/{lab.namespace}/secrets/{SECRET}", {"data": {"AWS_SECRET_ACCESS_KEY": right}}
        )
        model_is_verified(lab)
        assert lab.operator is not None
        log = lab.operator.log_path.read_text()
        assert "guessed" not in log
        assert "X-Amz-Signature" not in log

    def test_a_secret_without_a_key_names_the_key(
        self, lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab.start()
        lab.secret({"AWS_ACCESS_KEY_ID": s3.access_key})
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        lab.until_ready(EDGE_MODELS, "False", "InvalidSecret")
        assert f"Secret {SECRET} must hold AWS_SECRET_ACCESS_KEY" in lab.message(EDGE_MODELS)


def test_a_verified_model_is_not_fetched_again_after_a_restart(
    stocked_lab: OperatorLab, processes: Supervisor, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = stocked_lab
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.start()
    model_is_verified(lab)
    before = lab.get(EDGE_MODELS)
    lab.stop()
    s3.stop()
    lab.start()
    done = 'edgecanary_operator_reconcile_seconds_count{outcome="ok",queue="model"}'
    until("the model was looked at", lambda: lab.metric(done) >= 1)
    s3.start()
    assert lab.get(EDGE_MODELS) == before


def test_what_nodes_measured_is_shown_and_small_differences_are_not_written(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = running
    lab.add_nodes("a", "b", "c")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec({"name": "all", "percent": 100, "bakeSeconds": 0}))
    until("a release", lambda: lab.find(MODEL_RELEASES))
    measured = {"loadMilliseconds": 100, "latencyP95Milliseconds": 10, "peakMemoryBytes": 1000}
    Fleet(lab, ("a",)).obey(probe=measured)
    until("the first measurement", lambda: variant(lab).get("loadMilliseconds") == 100)
    version = part(lab.get(EDGE_MODELS), "metadata")["resourceVersion"]
    Fleet(lab, ("b",)).obey(probe={**measured, "loadMilliseconds": 120})
    Fleet(lab, ("c",)).obey(probe={**measured, "peakMemoryBytes": 2000})
    until("the larger measurement", lambda: variant(lab).get("peakMemoryBytes") == 2000)
    assert variant(lab)["latencyP95Milliseconds"] == 10
    assert part(lab.get(EDGE_MODELS), "metadata")["resourceVersion"] != version


def variant(lab: OperatorLab) -> JsonObject:
    return part(status(lab), "variants", 0)


def test_a_model_that_is_only_delivered_may_have_any_format(
    running: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    spec = running.upload(s3, bucket, tiny)
    replace_file(s3, bucket, model_file(spec), b"TFL3 weights")
    part(spec, "variants", 0)["format"] = "TFLite"
    del spec["golden"]
    running.create(EDGE_MODELS, {**spec, "serve": False})
    model_is_verified(running)
