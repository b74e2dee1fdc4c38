"""Rollouts that name one EdgeModel, and Rollouts that find their model running, on a real API server."""

import time
from typing import cast

from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgelab.modelzoo import ZooModel
from edgelab.s3 import S3Server
from tests.kube.operator_lab import Fleet, OperatorLab, until

NAMES = ("a", "b", "c")


def begin(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel) -> Fleet:
    """A model, its nodes, and the Rollout `pump`, promoted."""
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, model))
    lab.create(ROLLOUTS, lab.rollout_spec())
    fleet = Fleet(lab, NAMES)
    fleet.obey_until("Promoted")
    return fleet


def delete(lab: OperatorLab, name: str = "pump") -> None:
    """Deletes a Rollout and, as Kubernetes' garbage collector would, its release."""
    lab.api.delete(lab.path(ROLLOUTS, name))
    if lab.find(MODEL_RELEASES, name) is not None:
        lab.api.delete(lab.path(MODEL_RELEASES, name))


def obey(fleet: Fleet, name: str) -> None:
    """Every node takes what the named release assigns to it."""
    release = ModelRelease.model_validate(fleet.lab.get(MODEL_RELEASES, name))
    for node in fleet.names:
        fleet.report(node, release)


def later_second() -> None:
    """Creation timestamps count in seconds."""
    time.sleep(1.1)


def test_the_newer_of_two_rollouts_waits_and_takes_over_when_the_older_is_deleted(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    begin(lab, s3, bucket, tiny)
    later_second()
    lab.create(ROLLOUTS, lab.rollout_spec(), "second")
    lab.until_ready(ROLLOUTS, "False", "ModelConflict", "second")
    assert "Rollout pump names EdgeModel pump, too, and is older" in lab.message(ROLLOUTS, "second")
    stalled = lab.condition(ROLLOUTS, "Stalled", "second")
    assert stalled is not None
    assert stalled["reason"] == "ModelConflict"
    assert lab.find(MODEL_RELEASES, "second") is None
    assert lab.ready(ROLLOUTS) == ("True", "Promoted")

    delete(lab)
    lab.until_ready(ROLLOUTS, "True", "Promoted", "second")
    assert len(lab.events("Adopted")) == 1
    release = ModelRelease.model_validate(lab.get(MODEL_RELEASES, "second")).spec
    assert release.canary is None
    assert release.stable is not None


def test_a_rollout_that_turns_to_another_model_leaves_the_first_to_the_next(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    begin(lab, s3, bucket, tiny)
    later_second()
    lab.create(ROLLOUTS, lab.rollout_spec(), "second")
    lab.until_ready(ROLLOUTS, "False", "ModelConflict", "second")
    lab.change(ROLLOUTS, {"spec": {"modelRef": {"name": "absent"}}})
    lab.until_ready(ROLLOUTS, "False", "ModelNotFound")
    lab.until_ready(ROLLOUTS, "True", "Promoted", "second")


def test_a_rollout_that_loses_its_model_withdraws_its_canary_and_yields(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    lab.create(ROLLOUTS, lab.rollout_spec(modelRef={"name": "absent"}), "older")
    later_second()
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating")

    lab.change(ROLLOUTS, {"spec": {"modelRef": {"name": "pump"}}}, "older")
    lab.until_ready(ROLLOUTS, "False", "ModelConflict")
    until("the release yields", lambda: lab.release().spec.yields)
    assert lab.release().spec.canary is None
    history = cast("list[JsonObject]", cast("JsonObject", lab.get(ROLLOUTS)["status"])["history"])
    assert history[-1]["reason"] == "ModelConflict"

    fleet = Fleet(lab, NAMES)
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating", "older")

    def promoted() -> bool:
        obey(fleet, "older")
        return lab.ready(ROLLOUTS, "older")[1] == "Promoted"

    until("the older one is promoted", promoted)
    assert lab.ready(ROLLOUTS) == ("False", "ModelConflict")


def test_a_rollout_that_is_deleted_and_applied_again_adopts_what_runs(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    begin(lab, s3, bucket, tiny)
    delete(lab)
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "True", "Promoted")
    status = cast("JsonObject", lab.get(ROLLOUTS)["status"])
    history = cast("list[JsonObject]", status["history"])
    assert [entry["outcome"] for entry in history] == ["Adopted"]
    assert cast("JsonObject", status["stable"])["version"] == tiny.version
    assert len(lab.events("RolloutStarted")) == 1, "the one of its first life"


def test_a_release_that_was_not_collected_yet_goes_to_the_new_rollout(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = served_lab
    begin(lab, s3, bucket, tiny)
    lab.api.delete(lab.path(ROLLOUTS, "pump"))
    created = lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "True", "Promoted")
    (owner,) = lab.release().metadata.owner_references
    assert owner.uid == cast("JsonObject", created["metadata"])["uid"]
    assert len(lab.events("RolloutStarted")) == 1, "the one of its first life"
