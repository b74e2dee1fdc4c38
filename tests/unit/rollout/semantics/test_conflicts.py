"""Two Rollouts name the same EdgeModel."""

from datetime import timedelta

from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.rollout.snapshot import Rival
from tests.unit.rollout.fleet_play import START, Stage, model
from tests.unit.rollout.semantics.situation import situation

V1, V2 = model("1.0.0"), model("2.0.0", generation=2)
OLDER = Rival("first", "uid-0", START - timedelta(days=1))
YOUNGER = Rival("second", "uid-9", START + timedelta(days=1))


def aged(stage: Stage) -> Stage:
    metadata = stage.rollout.metadata.model_copy(update={"creation_timestamp": START})
    stage.rollout = stage.rollout.model_copy(update={"metadata": metadata})
    return stage


@situation(
    "Two Rollouts",
    when="a Rollout names an EdgeModel that an older one (creationTimestamp, then UID) names already",
    then="the older one has it; the newer is Stalled with ModelConflict, names it, and writes no release",
)
def test_the_newer_rollout_waits_and_writes_nothing() -> None:
    stage = aged(Stage.with_nodes(3))
    stage.rivals = (OLDER,)
    stage.play(100)
    assert stage.reason == "ModelConflict"
    assert "Rollout first names EdgeModel pump, too, and is older" in stage.message
    assert stage.release is None
    assert stage.status.nodes.targeted == 3


@situation(
    "Two Rollouts",
    when="a newer Rollout names the EdgeModel",
    then="the older one goes on as if it were not there",
)
def test_the_older_rollout_goes_on() -> None:
    stage = aged(Stage.with_nodes(3))
    stage.rivals = (YOUNGER,)
    assert stage.promoted().reason == "Promoted"


def test_of_two_rollouts_of_the_same_second_the_lower_uid_has_the_model() -> None:
    stage = aged(Stage.with_nodes(3))
    stage.rivals = (Rival("twin", "uid-0", START),)
    stage.reconcile()
    assert stage.reason == "ModelConflict"
    stage.rivals = (Rival("twin", "uid-2", START),)
    stage.reconcile()
    assert stage.reason != "ModelConflict"


@situation(
    "Two Rollouts",
    when="the older Rollout is deleted or names another EdgeModel",
    then="the newer one begins by itself: it adopts what the nodes run, or rolls out",
)
def test_the_newer_rollout_begins_when_the_older_is_gone() -> None:
    stage = aged(Stage.with_nodes(3))
    stage.rivals = (OLDER,)
    stage.preload(V1)
    stage.play(40)
    stage.rivals = ()
    stage.play(40)
    assert stage.reason == "Promoted"
    assert stage.events == ["ModelConflict", "Adopted"]


@situation(
    "Two Rollouts",
    when="an older Rollout comes to name the EdgeModel of one that is rolling",
    then="the canary of the newer is withdrawn, not rejected; its release names the stable revision only and yields: "
    "nodes follow the older one's release, and those that only the newer selects keep the stable revision",
)
def test_a_rollout_that_loses_its_model_withdraws_its_canary() -> None:
    stage = aged(Stage.with_nodes(12)).promoted()
    stage.model = V2
    stage.play(40)
    assert len(stage.running(V2)) == 1
    stage.rivals = (OLDER,)
    stage.play(40)
    assert stage.reason == "ModelConflict"
    assert stage.release is not None
    assert (stage.release.spec.canary, stage.release.spec.yields) == (None, True)
    assert len(stage.running(V1)) == 12
    assert stage.status.rejected == ()
    assert stage.status.history[-1].outcome is HistoryOutcome.WITHDRAWN
    assert stage.status.history[-1].reason == "ModelConflict"
    stage.rivals = ()
    stage.play(600)
    assert stage.reason == "Promoted"
    assert not stage.release.spec.yields


@situation(
    "Two Rollouts",
    when="abort, promote or retry is set on the Rollout that waits",
    then="an abort of its canary rejects it; promote and retry wait for the end of the conflict",
)
def test_tokens_during_a_conflict() -> None:
    stage = aged(Stage.with_nodes(12)).promoted()
    stage.model = V2
    stage.play(40)
    stage.rivals = (OLDER,)
    stage.annotate("abort", "stop")
    stage.play(40)
    assert stage.reason == "ModelConflict"
    assert [entry.version for entry in stage.status.rejected] == ["2.0.0"]
    stage.annotate("retry", "again")
    stage.play(40)
    assert stage.status.actions.retry is None
    stage.rivals = ()
    stage.play(20)
    assert stage.status.attempt == 2


@situation(
    "Two Rollouts",
    when="several Rollouts select the same nodes for different EdgeModels",
    then="no conflict: a node runs several models, each by its own Rollout",
)
def test_other_models_are_no_rivals() -> None:
    stage = aged(Stage.with_nodes(3))
    stage.rivals = ()
    assert stage.promoted().reason == "Promoted"
