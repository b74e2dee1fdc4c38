"""The operator carries a model to a fleet, on a real API server and a real object store."""

import urllib.request
from typing import cast

from edgecanary.api.fields import JsonObject
from edgecanary.clients.kube import FIELD_MANAGER
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, NODES, ROLLOUTS
from edgelab import nodes
from edgelab.modelzoo import ZooModel
from edgelab.s3 import S3Server
from tests.kube.operator_lab import Fleet, OperatorLab, model_is_verified, until

NAMES = ("a", "b", "c", "d")


def part(body: JsonObject, *keys: str) -> JsonObject:
    for key in keys:
        body = cast("JsonObject", body[key])
    return body


def managers(body: JsonObject) -> set[tuple[str, str]]:
    """Who has written what of the object: manager and subresource."""
    fields = cast("list[JsonObject]", part(body, "metadata").get("managedFields") or [])
    return {(str(entry["manager"]), str(entry.get("subresource", ""))) for entry in fields}


def first_release(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel) -> Fleet:
    """A model that has been released to four nodes."""
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, model))
    lab.create(ROLLOUTS, lab.rollout_spec())
    if lab.operator is None:
        lab.start()
    fleet = Fleet(lab, NAMES)
    fleet.obey_until("Promoted")
    return fleet


def second_version(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel) -> None:
    """Another revision of the same files: its golden outputs must be met more closely."""
    spec = lab.upload(s3, bucket, model)
    golden = {**part(spec, "golden"), "absoluteTolerance": "0.01"}
    lab.change(EDGE_MODELS, {"spec": {"version": "9.9.9", "golden": golden}})


def test_a_model_goes_step_by_step_and_is_promoted(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating")
    assert part(lab.get(ROLLOUTS), "status", "nodes")["inStep"] == 1

    fleet = Fleet(lab, NAMES)
    fleet.obey()
    until("the second step", lambda: part(lab.get(ROLLOUTS), "status", "nodes")["inStep"] == 4)
    fleet.obey_until("Promoted")

    status = part(lab.get(ROLLOUTS), "status")
    assert part(status, "nodes")["display"] == "4/4"
    assert part(status, "stable")["version"] == tiny.version
    assert [event["reason"] for event in lab.events() if event["reason"] in ("RolloutStarted", "Promoted")]
    assert len(lab.events("Promoted")) == 1
    release = lab.release().spec
    assert release.canary is None
    assert release.stable is not None
    assert release.stable.revision == part(status, "stable")["revision"]


def test_the_release_belongs_to_the_rollout_and_its_addresses_work_without_keys(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    first_release(served_lab, s3, bucket, tiny)
    release, rollout = served_lab.release(), served_lab.get(ROLLOUTS)
    (owner,) = release.metadata.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("Rollout", part(rollout, "metadata")["uid"], True)
    assert release.spec.stable is not None
    assert release.spec.stable.golden is not None
    (model,), golden = release.spec.stable.variants[0].files, release.spec.stable.golden
    assert fetch(model.url) == tiny.model.path.read_bytes()
    assert fetch(golden.url) == tiny.golden.path.read_bytes()
    text = str(served_lab.get(MODEL_RELEASES))
    assert s3.secret_key not in text, "keys never leave the operator"


def test_a_version_that_fails_on_a_node_is_taken_back_everywhere(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = served_lab, first_release(served_lab, s3, bucket, tiny)
    good = lab.release().spec.stable
    second_version(lab, s3, bucket, tiny)
    fleet.obey_until("RolledBack", fails=NAMES)
    release = lab.release().spec
    assert release.canary is None
    assert good is not None
    assert release.stable is not None
    assert release.stable.revision == good.revision
    assert [entry.version for entry in release.rejected] == ["9.9.9"]
    assert "the model did not load" in lab.message(ROLLOUTS)
    stalled = lab.condition(ROLLOUTS, "Stalled")
    assert stalled is not None
    assert stalled["status"] == "True"
    (event,) = lab.events("RolledBack")
    assert event["type"] == "Warning"
    fleet.obey()
    assert all(
        part(lab.get(ROLLOUTS), "status")["stable"] == {"revision": good.revision, "version": tiny.version}
        for _ in range(3)
    )


def test_the_sequence_grows_with_each_change_and_only_then(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = stocked_lab, first_release(stocked_lab, s3, bucket, tiny)
    before = lab.release()
    for _ in range(3):
        fleet.obey()
    lab.stop()
    lab.start()
    until("a whole reconcile", lambda: lab.metric(SUCCESSES) >= 1)
    after = lab.release()
    assert after.spec == before.spec
    assert after.metadata.resource_version == before.metadata.resource_version
    lab.change(ROLLOUTS, {"spec": {"health": {"soakSeconds": 5}}})
    until("the new health rule", lambda: lab.release().spec.health.soak_seconds == 5)
    assert lab.release().spec.sequence == before.spec.sequence + 1


def fetch(url: str | None) -> bytes:
    """As a node does: without keys."""
    assert url is not None
    with urllib.request.urlopen(url, timeout=20) as found:
        content: bytes = found.read()
    return content


SUCCESSES = 'edgecanary_operator_reconcile_seconds_count{outcome="ok",queue="rollout"}'


def test_a_settled_rollout_costs_no_writes_whatever_heartbeats_come(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = stocked_lab, first_release(stocked_lab, s3, bucket, tiny)
    lab.stop()
    lab.start()
    until("a whole reconcile", lambda: lab.metric(SUCCESSES) >= 1)
    before = lab.writes()
    for _ in range(3):
        for name in NAMES:
            nodes.set_ready(lab.api, lab.node(name), "True")
        fleet.obey()
    lab.annotate("note", "this wakes the operator")
    until("a reconcile for the annotation", lambda: lab.metric(SUCCESSES) >= 2)
    assert lab.writes() == before


def test_an_abort_takes_the_canary_back(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    first_release(lab, s3, bucket, tiny)
    second_version(lab, s3, bucket, tiny)
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating")
    lab.annotate("abort", "token-1")
    lab.until_ready(ROLLOUTS, "False", "RolledBack")
    assert part(lab.get(ROLLOUTS), "status", "actions")["abort"] == "token-1"
    assert lab.release().spec.canary is None


def test_the_users_objects_get_a_status_and_nothing_else(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    first_release(lab, s3, bucket, tiny)
    for resource in (ROLLOUTS, EDGE_MODELS):
        body = lab.get(resource)
        assert "finalizers" not in part(body, "metadata")
        assert "annotations" not in part(body, "metadata")
        operators = {place for manager, place in managers(body) if manager == FIELD_MANAGER}
        assert operators == {"status"}
    for name in NAMES:
        node = lab.api.get(NODES.path(name=lab.node(name)))
        assert not [manager for manager, _ in managers(node) if "edgecanary" in manager or "kopf" in manager]


def test_a_selector_that_matches_nothing_waits_and_says_so_until_a_node_comes(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "Unknown", "NoMatchingNodes")
    assert f"spec.nodeSelector matches no Node (lab={lab.label})" in lab.message(ROLLOUTS)
    lab.add_nodes("a")
    Fleet(lab, ("a",)).obey_until("Promoted")


def test_a_model_that_does_not_exist_is_named_until_it_comes(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    lab.add_nodes("a")
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "False", "ModelNotFound")
    assert "spec.modelRef.name: no EdgeModel 'pump'" in lab.message(ROLLOUTS)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    model_is_verified(lab)
    Fleet(lab, ("a",)).obey_until("Promoted")


def test_a_node_that_was_offline_is_counted_and_catches_up(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    lab.add_nodes("a", "late")
    nodes.set_ready(lab.api, lab.node("late"), "Unknown")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec({"name": "all", "percent": 100, "bakeSeconds": 0}))
    Fleet(lab, ("a",)).obey_until("StragglersPending")
    assert lab.node("late") in lab.message(ROLLOUTS)
    assert part(lab.get(ROLLOUTS), "status", "nodes")["offline"] == 1
    nodes.set_ready(lab.api, lab.node("late"), "True")
    Fleet(lab, ("a", "late")).obey_until("Promoted")


def test_a_release_that_somebody_changes_is_put_right(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    first_release(lab, s3, bucket, tiny)
    sequence = lab.release().spec.sequence
    lab.change(MODEL_RELEASES, {"spec": {"health": {"maxCrashes": 77}}})
    until("the release is right again", lambda: lab.release().spec.health.max_crashes == 2)
    assert lab.release().spec.sequence == sequence + 1


def test_a_burst_of_hundreds_of_node_events_is_a_handful_of_reconciles(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = stocked_lab
    first_release(lab, s3, bucket, tiny)
    before = lab.metric(SUCCESSES)
    lab.process.pause()
    for number in range(100):
        for name in NAMES:
            nodes.set_labels(lab.api, lab.node(name), {"edgecanary.test/round": str(number)})
    nodes.set_ready(lab.api, lab.node("a"), "Unknown")
    lab.process.resume()
    until("the last event is seen", lambda: part(lab.get(ROLLOUTS), "status", "nodes")["offline"] == 1)
    assert lab.metric(SUCCESSES) - before < 50
