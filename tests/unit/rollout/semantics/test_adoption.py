"""The Rollout is new, applied again or rebuilt from Git; the nodes run the model already."""

from edgecanary.api.rollout_status import HistoryOutcome, RolloutStatus
from edgecanary.rollout.assignment import Role, assign
from tests.unit.rollout.fleet_play import BAD, Stage, model
from tests.unit.rollout.semantics.situation import situation

V0, V1, V2 = model("0.9.0"), model("1.0.0"), model("2.0.0", generation=2)
STEPS = [
    {"name": "quarter", "percent": 25, "bakeSeconds": 60},
    {"name": "all", "percent": 100, "bakeSeconds": 60},
]


def new_rollout(**more: object) -> Stage:
    return Stage.with_nodes(12, strategy={"steps": STEPS, **more})


@situation(
    "Adoption",
    when="quorumPercent of the online eligible nodes run the wanted revision, and there is neither a ModelRelease nor "
    "a stable revision in the status",
    then="it becomes stable as it is (history and Event Adopted); no step, no download; the other nodes follow",
)
def test_what_the_fleet_runs_already_is_adopted() -> None:
    stage = new_rollout()
    stage.preload(V1, *list(stage.nodes)[:11])
    stage.reconcile()
    assert stage.events == ["Adopted"]
    assert stage.reason == "StragglersPending"
    assert stage.status.history[-1].outcome is HistoryOutcome.ADOPTED
    assert stage.release is not None
    assert stage.release.spec.canary is None
    stage.play(40)
    assert stage.reason == "Promoted"


@situation(
    "Adoption",
    when="a Rollout is deleted and applied again, or the cluster is rebuilt from Git, in the middle of nothing",
    then="nodes go on serving meanwhile, and the new Rollout adopts what they run",
)
def test_a_rollout_that_is_applied_again_adopts() -> None:
    stage = new_rollout().promoted_at_once()
    stage.apply_again()
    stage.play(40)
    assert stage.reason == "Promoted"
    assert stage.events == ["Adopted"]
    assert len(stage.running(V1)) == 12


@situation(
    "Adoption",
    when="a Rollout is deleted during a canary and applied again with its model unchanged",
    then="a staged rollout begins anew; nodes keep what they run, canary or not, until a step reaches them",
)
def test_a_rollout_that_is_applied_again_during_a_canary_begins_anew() -> None:
    stage = new_rollout().promoted_at_once()
    stage.model = V2
    stage.play(40)
    assert (len(stage.running(V2)), len(stage.running(V1))) == (3, 9)
    stage.apply_again()
    stage.play(20)
    assert len(stage.running(V1)) + len(stage.running(V2)) == 12
    assert len(stage.running(V2)) <= 6
    assert "nodes run" in stage.message
    stage.play(600)
    assert stage.reason == "Promoted"
    assert len(stage.running(V2)) == 12


@situation(
    "Adoption",
    when="nodes run revisions that no release describes, and the wanted one is another",
    then="a staged rollout begins; the release says otherwise: Keep, so that nobody loses a model before it gets "
    "another; the status says how many nodes run how many such revisions",
)
def test_what_is_described_nowhere_is_kept_and_counted() -> None:
    stage = new_rollout()
    names = list(stage.nodes)
    stage.preload(V0, *names[:6])
    stage.preload(V2, *names[6:10])
    stage.play(20)
    assert stage.release is not None
    assert stage.release.spec.otherwise == "Keep"
    kept = [n for n in names[:10] if n not in stage.running(V1)]
    assert sorted(stage.running(V0) + stage.running(V2)) == sorted(kept)
    assert f"{len(kept)} nodes run 2 revisions that no release describes" in stage.message
    stage.play(400)
    assert stage.reason == "Promoted"
    assert len(stage.running(V1)) == 12
    assert stage.release.spec.otherwise == "Withdraw"


@situation(
    "Adoption",
    when="the operator begins before any agent has reported",
    then="the release says Keep all the same: an agent that reports later keeps what it runs",
)
def test_agents_that_come_late_keep_what_they_run() -> None:
    stage = new_rollout()
    for name in stage.nodes:
        stage.set_online(name, online=False)
    stage.reconcile()
    assert stage.release is not None
    roles = {assign(stage.release.spec, node.facts).role for node in stage.nodes.values()}
    assert roles == {Role.CANARY, Role.KEPT}


@situation(
    "Adoption",
    when="the revision of such a first rollout is rejected",
    then="nodes that it never reached keep what they run; those that ran it stop serving it, since what they ran "
    "before is described nowhere",
)
def test_a_rejected_revision_is_not_kept() -> None:
    stage = new_rollout()
    stage.preload(V0)
    stage.play(20)
    reached = stage.running(V1)
    assert len(reached) == 3
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert len(stage.running(V0)) == 9
    assert stage.running(V1) == []
    assert "9 nodes run a revision that no release describes" in stage.message


@situation(
    "Adoption",
    when="the wanted revision is rejected, and nodes run it all the same while there is no release",
    then="it is not adopted; a retry takes it through all steps",
)
def test_a_rejected_revision_is_not_adopted() -> None:
    stage = new_rollout()
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    stage.lose_release()
    stage.preload(V1)
    stage.annotate("retry", "again")
    stage.reconcile()
    assert "Adopted" not in stage.events
    assert (stage.step(), stage.status.attempt) == ("quarter", 2)


@situation(
    "Adoption",
    when="fewer than quorumPercent of the online nodes run the wanted revision",
    then="a staged rollout; nodes that run it count as updated when a step reaches them, and do nothing",
)
def test_too_few_nodes_are_no_adoption() -> None:
    stage = new_rollout()
    stage.preload(V1, *list(stage.nodes)[:6])
    stage.reconcile()
    assert "Adopted" not in stage.events
    assert stage.step() == "quarter"


@situation(
    "Adoption",
    when="all nodes that run the wanted revision are offline",
    then="they are unknown and count for nothing: no adoption by silence",
)
def test_silent_nodes_adopt_nothing() -> None:
    stage = new_rollout()
    stage.preload(V1)
    for name in stage.nodes:
        stage.set_online(name, online=False)
    stage.reconcile()
    assert "Adopted" not in stage.events


@situation(
    "Adoption",
    when="initial is AllAtOnce and the nodes run something else",
    then="everybody takes the wanted revision at once; what is not reached is kept",
)
def test_all_at_once_keeps_until_it_reaches() -> None:
    stage = new_rollout(initial="AllAtOnce")
    stage.preload(V0)
    stage.silent = {"node-00"}
    stage.play(40)
    assert stage.running(V0) == ["node-00"]
    assert len(stage.running(V1)) == 11


@situation(
    "Adoption",
    when="the old ModelRelease is still there when the Rollout is applied again (nothing has collected it yet)",
    then="it goes on from the release: the same canary, the same nodes in the same order",
)
def test_a_release_of_the_rollouts_earlier_life_is_taken_over() -> None:
    stage = new_rollout().promoted_at_once()
    stage.model = V2
    stage.play(40)
    release, before = stage.release, stage.covered()
    stage.apply_again()
    stage.release = release
    stage.play(20)
    assert stage.covered() == before
    assert stage.status.stable is not None
    assert stage.status.stable.version == "1.0.0"
    stage.play(400)
    assert stage.reason == "Promoted"


@situation(
    "Adoption",
    when="only the status was lost",
    then="the release tells who is stable and canary, and in which step; times begin anew",
)
def test_a_lost_status_is_made_anew_from_the_release() -> None:
    stage = new_rollout().promoted_at_once()
    stage.model = V2
    stage.play(100)
    assert stage.step() == "all"
    before = stage.covered()
    stage.rollout = stage.rollout.model_copy(update={"status": RolloutStatus()})
    stage.play(20)
    assert (stage.step(), stage.covered()) == ("all", before)
    assert stage.status.stable is not None
