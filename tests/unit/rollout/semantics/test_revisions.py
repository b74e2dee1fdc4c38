"""The EdgeModel changes: new revisions, back to the stable one, back to an earlier one."""

import pytest

from edgecanary.api.artifacts import DeltaFormat, FileDelta
from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.rollout_status import HistoryOutcome
from edgecanary.artifact.revision import revision_digest
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model, rollout
from tests.unit.rollout.semantics.situation import situation

V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)
STEPS = [
    {"name": "first", "nodes": 1, "bakeSeconds": 60},
    {"name": "half", "percent": 50, "bakeSeconds": 600},
    {"name": "all", "percent": 100, "bakeSeconds": 60},
]


def strategy(**more: object) -> dict[str, object]:
    return {"steps": STEPS, **more}


def fleet(**more: object) -> Stage:
    return Stage.with_nodes(12, strategy=strategy(**more)).promoted_at_once()


def promote(stage: Stage, version: EdgeModel) -> None:
    stage.model = version
    stage.play(1000)
    assert stage.reason == "Promoted", stage.message


@situation(
    "Revisions",
    when="a new revision comes while a canary is under way",
    then="it supersedes the canary and begins with the first step; the stable revision stays stable; nodes of the "
    "abandoned canary take what the new plan gives them",
)
def test_a_new_revision_supersedes() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(200)
    assert len(stage.running(V2)) == 6
    stage.model = V3
    stage.play(40)
    assert len(stage.running(V3)) == 1
    assert stage.running(V2) == []
    assert len(stage.running(V1)) == 11
    assert stage.status.stable is not None
    assert stage.status.stable.version == "1.0.0"
    assert stage.status.history[-1].outcome is HistoryOutcome.SUPERSEDED
    assert stage.status.rejected == ()


@situation(
    "Revisions",
    when="a new revision comes while a canary is under way and spec.paused is true",
    then="the canary stays, is still judged, and the new revision follows when the pause ends",
)
def test_a_pause_keeps_the_canary_although_another_revision_is_wanted() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(200)
    stage.edit(rollout(strategy=strategy(), paused=True))
    stage.model = V3
    stage.play(100)
    assert (stage.reason, len(stage.running(V2))) == ("Paused", 6)
    assert "3.0.0 follows then" in stage.message
    stage.accuracy = BAD
    stage.play(60)
    assert stage.running(V2) == stage.running(V3) == []
    assert stage.reason == "Paused"
    assert [entry.version for entry in stage.status.rejected] == ["2.0.0"]


@situation(
    "Revisions",
    when="the EdgeModel goes back to the stable revision",
    then="the canary is withdrawn at once, without analysis, also while paused; it is not rejected",
)
@pytest.mark.parametrize("paused", [False, True])
def test_back_to_stable_withdraws(*, paused: bool) -> None:
    stage = fleet()
    stage.model = V2
    stage.play(200)
    stage.edit(rollout(strategy=strategy(), paused=paused))
    stage.model, stage.accuracy = V1, DOWN
    stage.play(40)
    assert stage.reason == "Promoted"
    assert len(stage.running(V1)) == 12
    assert stage.status.rejected == ()
    assert stage.status.history[-1].outcome is HistoryOutcome.WITHDRAWN


@situation(
    "Revisions",
    when="a withdrawn or superseded revision comes again",
    then="it begins with the first step, as the next attempt; nothing that was found before counts",
)
def test_a_withdrawn_revision_begins_anew() -> None:
    stage = fleet()
    for version in (V2, V1, V2):
        stage.model = version
        stage.play(200)
    assert (stage.status.attempt, stage.step()) == (2, "half")


@situation(
    "Revisions",
    when="the EdgeModel goes back to one of the last rollbackWindowRevisions promoted revisions (3 by default)",
    then="everybody returns to it in one step: no bake, no gate, no deadline; quorum and maxFailedNodes count; Events "
    "and history say Returning, Returned",
)
def test_an_earlier_revision_returns_in_one_step() -> None:
    stage = fleet()
    promote(stage, V2)
    stage.model, stage.accuracy = V1, DOWN
    stage.reconcile()
    assert stage.status.step is not None
    assert (stage.status.step.name, stage.status.step.skips_gates) == ("all", True)
    assert "return to 1.0.0: 0 of 12 nodes run 1.0.0" in stage.message
    stage.answer()
    stage.reconcile()
    assert stage.reason == "Promoted"
    assert "Returning" in stage.events
    assert stage.status.stable is not None
    assert stage.status.stable.version == "1.0.0"
    assert stage.status.history[-1].reason == "Returned"


@situation(
    "Revisions",
    when="the revision that is returned to fails on more than maxFailedNodes nodes",
    then="it is rejected and the stable revision stays",
)
def test_a_return_that_fails_on_nodes_is_taken_back() -> None:
    stage = fleet()
    promote(stage, V2)
    stage.model, stage.failing = V1, set(stage.nodes)
    stage.play(100)
    assert stage.reason == "RolledBack"
    assert len(stage.running(V2)) == 12


@situation(
    "Revisions",
    when="nodes are offline for long while the fleet returns",
    then="the return goes on: it has no deadline, and is complete with the quorum of the nodes that are online",
)
def test_a_return_has_no_deadline() -> None:
    stage = fleet(stepDeadlineSeconds=700, onDeadline="Rollback")
    promote(stage, V2)
    for name in stage.nodes:
        stage.set_online(name, online=False)
    stage.model = V1
    stage.play(5000, tick=100)
    assert stage.reason == "NodesOffline"
    stage.set_online("node-00", online=True)
    stage.play(40)
    assert stage.reason == "StragglersPending"


@situation(
    "Revisions",
    when="the wanted revision was promoted longer ago than the window reaches, or the window is 0",
    then="it goes through all steps like a new one",
)
@pytest.mark.parametrize("window", [0, 1])
def test_outside_the_window_a_revision_goes_through_all_steps(window: int) -> None:
    stage = fleet(rollbackWindowRevisions=window)
    promote(stage, V2)
    if window:
        promote(stage, V3)
    stage.model = V1
    stage.play(40)
    assert stage.step() == "first"
    assert len(stage.running(V1)) == 1


@situation(
    "Revisions",
    when="an earlier promoted revision was rejected since",
    then="it is no way back: it stays rejected, and a retry goes through all steps",
)
def test_a_rejected_revision_is_not_returned_to() -> None:
    stage = fleet(rollbackWindowRevisions=0)
    promote(stage, V2)
    stage.model, stage.accuracy = V1, BAD
    stage.play(200)
    assert stage.reason == "RolledBack"
    stage.edit(rollout(strategy=strategy(rollbackWindowRevisions=3)))
    stage.play(100)
    assert stage.reason == "RolledBack"
    assert stage.running(V1) == []
    stage.accuracy = GOOD
    stage.annotate("retry", "again")
    stage.play(40)
    assert (stage.step(), len(stage.running(V1))) == ("first", 1)


@situation(
    "Revisions",
    when="the EdgeModel goes back to an earlier revision while a canary is under way",
    then="the canary is superseded and the fleet returns in one step",
)
def test_a_return_supersedes_a_canary() -> None:
    stage = fleet()
    promote(stage, V2)
    stage.model = V3
    stage.play(200)
    stage.model = V1
    stage.play(40)
    assert stage.reason == "Promoted"
    assert len(stage.running(V1)) == 12
    assert [entry.outcome for entry in stage.status.history[-2:]] == [
        HistoryOutcome.SUPERSEDED,
        HistoryOutcome.PROMOTED,
    ]


@situation(
    "Revisions",
    when="a rejected revision is wanted again after edits of steps, thresholds, selector or pause, a restart or an "
    "upgrade of the operator",
    then="it stays rejected; only edgecanary.dev/retry or another revision ends that",
)
def test_rejected_stays_rejected() -> None:
    stage = fleet()
    stage.model, stage.accuracy = V2, BAD
    stage.play(200)
    stage.accuracy = GOOD
    for spec in (
        {"strategy": {"steps": [{"name": "other", "percent": 100}]}},
        {"strategy": strategy(), "analysis": None},
        {"strategy": strategy(), "paused": True},
        {"strategy": strategy(quorumPercent=1, maxFailedNodes=12)},
        {
            "strategy": strategy(),
            "nodeSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]},
        },
    ):
        stage.edit(rollout(**spec))
        stage.play(100)
        assert stage.reason == "RolledBack"
    stage.model = V1
    stage.play(40)
    stage.model = V2
    stage.play(40)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []


@situation(
    "Revisions",
    when="the ModelRelease is deleted while the EdgeModel describes the stable revision",
    then="it is written again as it was; nothing is rolled out twice",
)
def test_a_deleted_release_comes_again() -> None:
    stage = fleet()
    before = stage.release
    stage.lose_release()
    stage.play(40)
    assert stage.release is not None
    assert before is not None
    assert stage.release.spec.stable == before.spec.stable
    assert stage.events == []


@situation(
    "Revisions",
    when="the ModelRelease is deleted during the very first rollout",
    then="it is written again with the same attempt in the same step: no node loses the canary",
)
def test_a_deleted_release_of_the_first_rollout_comes_again() -> None:
    stage = Stage.with_nodes(12, strategy=strategy())
    stage.play(200)
    before, attempt, step = stage.covered(), stage.status.attempt, stage.status.step
    assert len(before) == 6
    stage.lose_release()
    stage.reconcile()
    assert (stage.covered(), stage.status.attempt, stage.status.step) == (before, attempt, step)


@situation(
    "Revisions",
    when="the ModelRelease is deleted while the EdgeModel describes another revision than the stable one",
    then="StableLost: nodes keep what they run, nothing is written, and the message says which version to go back to; "
    "an abort still rejects the canary",
)
def test_a_stable_revision_that_is_described_nowhere_is_not_forgotten() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(100)
    stage.lose_release()
    stage.play(40)
    assert stage.reason == "StableLost"
    assert stage.release is None
    stage.annotate("abort", "stop")
    stage.play(40)
    assert [entry.version for entry in stage.status.rejected] == ["2.0.0"]
    assert stage.status.history[-1].outcome is HistoryOutcome.ABORTED
    stage.model = V1
    stage.play(40)
    stage.model = V2
    stage.play(40)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []


@situation(
    "Revisions",
    when="deltas are added to the model's files, or changed, while it is rolled out or after",
    then="it is the same revision: the release carries them, and no node, step or bake begins anew",
)
def test_a_delta_makes_no_other_revision() -> None:
    stage = fleet()
    stage.model = V2
    stage.play(200)
    assert (stage.reason, stage.step()) == ("Baking", "half"), stage.message
    running, began = stage.running(V2), stage.status.step and stage.status.step.bake_start_time
    started = stage.events.count("RolloutStarted")

    stage.model = with_delta(V2, "s3://models/m.delta")
    stage.play(40)
    assert released_deltas(stage) == ["s3://models/m.delta"]
    assert (stage.running(V2), stage.step()) == (running, "half")
    assert stage.status.step is not None
    assert stage.status.step.bake_start_time == began

    promote(stage, stage.model)
    stage.model = with_delta(V2, "s3://models/other.delta")
    stage.play(40)
    assert released_deltas(stage) == ["s3://models/other.delta"]
    assert stage.reason == "Promoted"
    assert stage.events.count("RolloutStarted") == started


def with_delta(version: EdgeModel, uri: str) -> EdgeModel:
    """The model with a delta for its file; its revision is the same."""
    (variant,) = version.spec.variants
    delta = FileDelta(
        from_sha256="9" * 64, format=DeltaFormat.ZSTD_PATCH, uri=uri, sha256="8" * 64, size_bytes=1
    )
    file = variant.files[0].model_copy(update={"deltas": (delta,)})
    spec = version.spec.model_copy(update={"variants": (variant.model_copy(update={"files": (file,)}),)})
    assert revision_digest(spec) == revision_digest(version.spec)
    return version.model_copy(update={"spec": spec})


def released_deltas(stage: Stage) -> list[str]:
    """Where the deltas of the wanted revision lie, by the release."""
    assert stage.release is not None
    stated = stage.release.spec.canary or stage.release.spec.stable
    assert stated is not None
    return [delta.uri for delta in stated.variants[0].files[0].deltas]
