"""A Rollout's spec is edited while a canary is under way."""

import pytest

from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model, rollout
from tests.unit.rollout.semantics.situation import situation

V1, V2 = model("1.0.0"), model("2.0.0", generation=2)
LONG = 100_000
STEPS = [
    {"name": "first", "nodes": 1, "bakeSeconds": 60},
    {"name": "quarter", "percent": 25, "bakeSeconds": LONG},
    {"name": "all", "percent": 100, "bakeSeconds": 0},
]


def strategy(*steps: dict[str, object], **more: object) -> dict[str, object]:
    return {"steps": [*steps] or STEPS, "stepDeadlineSeconds": 10 * LONG, **more}


def in_the_quarter(count: int = 40, **more: object) -> Stage:
    """A stage whose second step of three is baking."""
    stage = Stage.with_nodes(count, strategy=strategy(**more)).promoted_at_once()
    stage.model = V2
    stage.play(200)
    assert (stage.reason, stage.step()) == ("Baking", "quarter"), stage.message
    return stage


def edit(stage: Stage, *steps: dict[str, object], **spec: object) -> None:
    stage.edit(rollout(strategy=strategy(*steps), **spec))


def step(name: str, share: int, bake: int = LONG) -> dict[str, object]:
    return {"name": name, "percent": share, "bakeSeconds": bake}


@situation(
    "Edits during a rollout",
    when="a step is put before or after the current one",
    then="the rollout stays in the step of the same name; its bake goes on; no node is added or taken back",
)
def test_the_current_step_is_known_by_its_name() -> None:
    stage = in_the_quarter()
    covered, baking_since = stage.covered(), stage.status.step and stage.status.step.bake_start_time
    edit(stage, STEPS[0], step("tenth", 10), step("quarter", 25), step("half", 50), step("all", 100))
    stage.play(100)
    assert stage.status.step is not None
    assert (stage.status.step.index, stage.step()) == (2, "quarter")
    assert stage.status.step.bake_start_time == baking_since
    assert stage.covered() == covered
    assert stage.events.count("StepStarted") == 1


@situation(
    "Edits during a rollout",
    when="the current step is given a wider share, or an edited nodeSelector adds nodes to it",
    then="it reaches that far at once; its bake begins anew, and a Manual step needs its approval anew",
)
def test_a_wider_share_of_the_current_step_counts_at_once() -> None:
    stage = in_the_quarter()
    before, edited = set(stage.covered()), stage.now
    edit(stage, STEPS[0], step("quarter", 50), step("all", 100))
    stage.reconcile(lose_status=True)
    stage.play(40)
    assert stage.step() == "quarter"
    assert stage.status.step is not None
    assert stage.status.step.bake_start_time is not None
    assert stage.status.step.bake_start_time >= edited
    assert before < set(stage.covered())
    assert len(stage.covered()) == 20


@situation(
    "Edits during a rollout",
    when="the current step is given a smaller share",
    then="nothing is taken back: bounds never shrink within an attempt",
)
def test_a_smaller_share_takes_nothing_back() -> None:
    stage = in_the_quarter()
    before = stage.covered()
    edit(stage, STEPS[0], step("quarter", 5), step("all", 100))
    stage.play(100)
    assert stage.covered() == before
    assert len(before) == 10


@situation(
    "Edits during a rollout",
    when="the current step is removed",
    then="the rollout enters the first step that is not narrower than what is covered, and bakes there anew",
)
def test_a_removed_step_gives_way_to_the_first_one_that_is_wide_enough() -> None:
    stage = in_the_quarter()
    before = stage.covered()
    edit(stage, step("tenth", 10), step("third", 33), step("half", 50), step("all", 100))
    stage.play(100)
    assert (stage.reason, stage.step()) == ("Baking", "third")
    assert set(before) < set(stage.covered())
    assert stage.status.step is not None
    assert stage.status.step.start_time > stage.status.start_time  # type: ignore[operator]


@situation(
    "Edits during a rollout",
    when="the current step is renamed",
    then="as if it was removed: the rollout enters the step of the same width, covers the same nodes and bakes anew",
)
def test_a_renamed_step_is_entered_anew_with_the_same_nodes() -> None:
    stage = in_the_quarter()
    before = stage.covered()
    edit(stage, STEPS[0], step("renamed", 25), step("all", 100))
    stage.play(40)
    assert (stage.step(), stage.covered()) == ("renamed", before)


@situation(
    "Edits during a rollout",
    when="all steps but the last are removed",
    then="the rollout enters the last step",
)
def test_when_no_other_step_is_wide_enough_the_last_one_is_entered() -> None:
    stage = in_the_quarter()
    edit(stage, step("everybody", 100))
    stage.play(100)
    assert stage.step() == "everybody"
    assert len(stage.covered()) == 40


@situation(
    "Edits during a rollout",
    when="the current bake is made shorter or longer",
    then="the new length counts from when the bake began",
)
@pytest.mark.parametrize(("bake", "passed"), [(60, True), (5000, False)])
def test_an_edited_bake_counts_from_where_it_began(bake: int, *, passed: bool) -> None:
    stage = in_the_quarter()
    edit(stage, STEPS[0], step("quarter", 25, bake), step("all", 100))
    stage.play(40)
    assert (stage.step() == "all") is passed


@situation(
    "Edits during a rollout",
    when="a threshold is loosened or tightened while its gate has no Fail",
    then="it counts with the next look",
)
def test_an_edited_threshold_counts_with_the_next_look() -> None:
    stage = in_the_quarter()
    analysis = analysis_with("0.99")
    edit(stage, analysis=analysis)
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert "0.97" in stage.message


@situation(
    "Edits during a rollout",
    when="a gate has failed (rollback: Manual) and its threshold is loosened",
    then="it stays failed for this attempt; removing the metric or setting it to DryRun lets the rollout go on",
)
def test_a_failed_gate_stays_failed_whatever_its_threshold_becomes() -> None:
    stage = in_the_quarter()
    stage.accuracy = BAD
    edit(stage, rollback="Manual")
    stage.play(60)
    assert stage.reason == "AwaitingRollback"
    stage.accuracy = GOOD
    edit(stage, rollback="Manual", analysis=analysis_with("0.1"))
    stage.play(100)
    assert stage.reason == "AwaitingRollback"
    edit(stage, rollback="Manual", analysis=analysis_with("0.1", mode="DryRun"))
    stage.play(100)
    assert stage.reason == "Baking"


@situation(
    "Edits during a rollout",
    when="a metric is added",
    then="it is asked with the next look, and must pass like the others",
)
def test_an_added_metric_must_pass() -> None:
    steps = [step("quarter", 25, 100), step("all", 100, 0)]
    stage = Stage.with_nodes(12, strategy=strategy(*steps), analysis=None).promoted_at_once()
    stage.model, stage.accuracy = V2, DOWN
    stage.play(40)
    assert (stage.reason, stage.step()) == ("Baking", "quarter")
    edit(stage, *steps)
    stage.play(400)
    assert stage.reason == "AnalysisInconclusive"


@situation(
    "Edits during a rollout",
    when="quorum, tolerated failures or the deadline are edited",
    then="they count at once",
)
def test_quorum_failures_and_deadline_count_at_once() -> None:
    stage = in_the_quarter()
    stage.edit(rollout(strategy={**strategy(), "stepDeadlineSeconds": LONG}))
    stage.silent = set(stage.covered()[:5])
    for name in stage.silent:
        stage.forget_report(name)
    stage.play(20)
    assert stage.reason == "NodesUpdating"
    stage.edit(rollout(strategy={**strategy(), "quorumPercent": 50}))
    stage.play(20)
    assert stage.reason == "Baking"


@situation(
    "Edits during a rollout",
    when="nodeSelector is narrowed",
    then="nodes that no longer match keep what they run, are not counted, and take no further step; no other node "
    "changes",
)
def test_nodes_that_no_longer_match_keep_what_they_run() -> None:
    stage = in_the_quarter()
    gone = stage.covered()[0]
    stage.relabel(gone, {"retired": "true"})
    keep = {"matchExpressions": [{"key": "retired", "operator": "DoesNotExist"}]}
    edit(stage, nodeSelector=keep)
    stage.play(40)
    assert gone in stage.running(V2)
    assert gone not in stage.covered()
    assert stage.status.nodes.targeted == 39
    stage.accuracy = BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == [], "a rejected revision is not kept"


@situation(
    "Edits during a rollout",
    when="nodeSelector is widened",
    then="nodes that match now take their places at once: those below the bound the canary, the others the stable "
    "revision",
)
def test_nodes_that_match_now_take_their_places() -> None:
    stage = in_the_quarter()
    stage.edit(rollout(strategy=strategy(), nodeSelector={"matchLabels": {"edge": "true"}}))
    stage.play(40)
    assert stage.status.nodes.targeted == 0
    stage.edit(rollout(strategy=strategy()))
    stage.play(40)
    assert stage.status.nodes.targeted == 40
    assert stage.reason == "Baking"


@situation(
    "Edits during a rollout",
    when="stratifyBy is edited",
    then="it counts from the next attempt, and the message says so: no node moves between strata on the way",
)
def test_other_strata_count_from_the_next_attempt() -> None:
    stage = in_the_quarter()
    for number, name in enumerate(stage.nodes):
        stage.relabel(name, {"hardware": "vnni" if number % 2 else "neon"})
    before = stage.covered()
    edited = {**strategy(), "stratifyBy": ["hardware"]}
    stage.edit(rollout(strategy=edited))
    stage.play(40)
    assert stage.covered() == before
    assert "stratifyBy counts from the next attempt" in stage.message
    assert stage.release is not None
    assert not stage.release.spec.stratify_by
    stage.model = model("3.0.0", generation=3)
    stage.reconcile()
    assert list(stage.release.spec.stratify_by) == ["hardware"]


@situation(
    "Edits during a rollout",
    when="updateWindows or health are edited",
    then="nodes hear of it at once, with the next release",
)
def test_windows_and_health_reach_the_nodes_at_once() -> None:
    stage = in_the_quarter()
    windows = [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlin"}]
    edit(stage, updateWindows=windows, health={"maxCrashes": 7})
    stage.reconcile()
    assert stage.release is not None
    assert stage.release.spec.update_windows[0].schedule == "0 2 * * *"
    assert stage.release.spec.health.max_crashes == 7


@situation(
    "Edits during a rollout",
    when="the spec breaks a rule, or the EdgeModel is being checked or broken",
    then="nothing begins and nothing reaches further, whatever else was edited; failures and an abort still take the "
    "canary back",
)
def test_an_invalid_spec_widens_nothing() -> None:
    stage = in_the_quarter()
    before = stage.covered()
    edit(stage, STEPS[0], step("quarter", 75), step("all", 100), updateWindows=[NOWHERE])
    stage.play(60)
    assert stage.reason == "InvalidSpec"
    assert stage.covered() == before


@situation(
    "Edits during a rollout",
    when="spec.paused is set while nodes join",
    then="nothing reaches further: the bounds stay as they are",
)
def test_a_pause_holds_the_bounds() -> None:
    stage = in_the_quarter()
    edit(stage, paused=True)
    stage.reconcile()
    assert stage.release is not None
    before = stage.release.spec.canary
    for number in range(40):
        facts = NodeFacts(f"late-{number}", {}, "amd64", 2**30)
        stage.nodes[facts.name] = NodeView(facts, online=True)
    stage.play(60)
    assert stage.reason == "Paused"
    assert stage.release.spec.canary == before


@situation(
    "Edits during a rollout",
    when="spec.paused is true when a new revision comes and nothing is rolling",
    then="it does not begin before the pause ends",
)
def test_nothing_begins_while_paused() -> None:
    stage = Stage.with_nodes(12, strategy=strategy()).promoted_at_once()
    stage.model = V2
    edit(stage, paused=True)
    stage.play(100)
    assert stage.reason == "Paused"
    assert "2.0.0 begins with step 1/3 first" in stage.message
    assert stage.running(V2) == []
    edit(stage)
    stage.play(40)
    assert len(stage.running(V2)) == 1


@situation(
    "Edits during a rollout",
    when="spec.modelRef is changed to another EdgeModel",
    then="the release is made anew for that model; nodes keep what they run of the first one",
)
def test_another_model_starts_from_nothing() -> None:
    stage = in_the_quarter()
    stage.model = V2.model_copy(update={"metadata": V2.metadata.model_copy(update={"name": "fan"})})
    edit(stage, modelRef={"name": "fan"})
    for name in stage.nodes:
        stage.forget_report(name)
    stage.reconcile()
    assert stage.release is not None
    assert (stage.release.spec.model, stage.release.spec.stable) == ("fan", None)
    assert stage.status.stable is None
    assert stage.status.history[-1].reason == "ModelRefChanged"
    others = [assign(stage.release.spec, node.facts).role for node in stage.nodes.values()]
    assert others.count(Role.KEPT) == 39
    stage.play(400)
    assert stage.step() == "quarter"


NOWHERE = {"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}


def analysis_with(least: str, **more: object) -> dict[str, object]:
    metric = {
        "name": "accuracy",
        "preset": "Accuracy",
        "threshold": {"min": least},
        "minSamples": 100,
        **more,
    }
    source = {"url": "http://prometheus:9090"}
    return {"prometheus": source, "intervalSeconds": 20, "metrics": [metric]}
