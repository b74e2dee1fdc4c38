"""Tokens: promote, full promotion, retry; each twice, and each where it has nothing to act on."""

import pytest

from edgecanary.api.meta import ConditionType
from edgecanary.rollout.actions import is_full
from edgecanary.rollout.conditions import is_true
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, rollout
from tests.unit.rollout.semantics.acting import NOWHERE, STEPS, V2, V3, fleet, offline, rolling
from tests.unit.rollout.semantics.situation import situation


@situation(
    "Actions",
    when="promote is set during a bake",
    then="the bake ends at once; the gates must still pass",
)
def test_a_promotion_ends_the_bake() -> None:
    stage = rolling()
    stage.annotate("promote", "go")
    stage.play(40)
    assert stage.step() == "half"
    waits = rolling()
    waits.accuracy = DOWN
    waits.play(40)
    waits.annotate("promote", "go")
    waits.play(100)
    assert (waits.reason, waits.step()) == ("AnalysisInconclusive", "first")


@situation(
    "Actions",
    when="the same promote token is still there in the next step",
    then="it does nothing there: a token is one action",
)
def test_a_promotion_is_for_one_step() -> None:
    stage = rolling()
    stage.annotate("promote", "go")
    stage.play(800)
    assert (stage.reason, stage.step()) == ("AwaitingApproval", "half")


@situation(
    "Actions",
    when="promote is set twice with different tokens in one step",
    then="the second one does what the first one did: nothing more",
)
def test_two_promotions_of_one_step_are_one() -> None:
    stage = rolling()
    offline(stage)
    stage.reconcile()
    for token in ("one", "two"):
        stage.annotate("promote", token)
        stage.reconcile()
    assert stage.step() == "first"
    assert stage.status.actions.promote == "two"


@situation(
    "Actions",
    when="promote is set to a token that begins with full- (or full: or full.)",
    then="the canary goes to everybody at once and is promoted with its quorum: no bake, no gate, no approval, no "
    "deadline; an Event says so",
)
def test_a_full_promotion_skips_everything_but_the_quorum() -> None:
    stage = rolling()
    stage.accuracy = DOWN
    stage.annotate("promote", "full-1")
    stage.reconcile()
    assert len(stage.covered()) == 12
    assert stage.status.step is not None
    assert (stage.step(), stage.status.step.skips_gates) == ("all", True)
    assert "FullPromotion" in stage.events
    stage.reconcile()
    assert stage.reason == "NodesUpdating"
    stage.answer()
    stage.reconcile()
    assert stage.reason == "Promoted"
    assert stage.status.history[-1].reason == "FullPromotion"


@situation(
    "Actions",
    when="more than maxFailedNodes nodes fail after a full promotion",
    then="the revision is taken back from everybody",
)
def test_failed_nodes_count_after_a_full_promotion() -> None:
    stage = rolling()
    stage.failing = set(stage.nodes)
    stage.annotate("promote", "full-1")
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []


@situation(
    "Actions",
    when="a gate has failed, rollback is Manual, and a full promotion is asked for",
    then="the rollout goes on: a person has decided against the gate; a plain promote does not",
)
def test_a_full_promotion_overrides_a_failed_gate_that_waits_for_a_person() -> None:
    stage = rolling(rollback="Manual")
    stage.accuracy = BAD
    stage.play(40)
    assert stage.reason == "AwaitingRollback"
    stage.annotate("promote", "go")
    stage.play(40)
    assert stage.reason == "AwaitingRollback"
    stage.annotate("promote", "full-1")
    stage.play(40)
    assert stage.reason == "Promoted"


@situation(
    "Actions",
    when="the token of a full promotion is still there for the next revision",
    then="it does nothing: it works once",
)
def test_a_full_promotion_works_once() -> None:
    stage = rolling()
    stage.annotate("promote", "full-1")
    stage.play(40)
    stage.model = V3
    stage.play(60)
    assert (stage.reason, stage.step()) == ("Baking", "first")


@situation(
    "Actions",
    when="a promote token is newer than the last step and the next revision has only just been declared",
    then="it is used up without effect and an Event says NothingToPromote: it was not meant for that revision",
)
@pytest.mark.parametrize("token", ["go", "full-9"])
def test_a_promotion_does_not_act_on_a_revision_that_begins(token: str) -> None:
    stage = fleet()
    stage.model = V2
    stage.annotate("promote", token)
    stage.play(60)
    assert (stage.reason, stage.step()) == ("Baking", "first")
    assert "NothingToPromote" in stage.events


@pytest.mark.parametrize(
    ("token", "full"),
    [
        ("full-1", True),
        ("full:now", True),
        ("full.x", True),
        ("full", False),
        ("fully-1", False),
        ("1-full-", False),
    ],
)
def test_only_full_and_a_separator_make_a_full_promotion(token: str, *, full: bool) -> None:
    assert is_full(token) is full


@situation(
    "Actions",
    when="retry is set for a rejected revision",
    then="it begins with the first step as the next attempt; one token is one attempt",
)
def test_retry_is_one_more_attempt() -> None:
    stage = rolling()
    stage.accuracy = BAD
    stage.play(60)
    stage.annotate("retry", "one")
    stage.play(60)
    assert stage.reason == "RolledBack"
    assert stage.status.rejected[0].attempt == 2
    before = stage.status
    stage.play(60)
    assert stage.status == before
    stage.accuracy = GOOD
    stage.annotate("retry", "two")
    stage.play(60)
    assert (stage.reason, stage.status.attempt) == ("Baking", 3)


@situation(
    "Actions",
    when="retry is set while the canary is under way, or nothing is rejected",
    then="nothing; an Event says NothingToRetry",
)
def test_retry_of_what_is_not_rejected_does_nothing() -> None:
    stage = rolling()
    before = stage.status.attempt
    stage.annotate("retry", "again")
    stage.play(40)
    assert stage.status.attempt == before
    assert stage.events.count("NothingToRetry") == 1
    idle = fleet()
    idle.annotate("retry", "again")
    idle.play(40)
    assert idle.events == ["NothingToRetry"]


@situation(
    "Actions",
    when="promote or retry is set while the spec is invalid or the EdgeModel cannot be used",
    then="the token waits, the message says so, and it acts when that is over",
)
def test_tokens_wait_while_the_spec_is_invalid() -> None:
    stage = rolling()
    stage.edit(rollout(strategy={"steps": STEPS}, updateWindows=[NOWHERE]))
    stage.annotate("promote", "go")
    stage.play(60)
    assert (stage.reason, stage.status.actions.promote) == ("InvalidSpec", None)
    assert "edgecanary.dev/promote acts once this is over" in stage.message
    stage.edit(rollout(strategy={"steps": STEPS}))
    stage.play(40)
    assert stage.step() == "half"
    taken_back = rolling()
    taken_back.annotate("abort", "stop")
    taken_back.play(40)
    taken_back.edit(rollout(strategy={"steps": STEPS}, updateWindows=[NOWHERE]))
    taken_back.annotate("retry", "again")
    taken_back.play(60)
    assert taken_back.status.actions.retry is None
    taken_back.edit(rollout(strategy={"steps": STEPS}))
    taken_back.play(60)
    assert (taken_back.reason, taken_back.status.attempt) == ("Baking", 2)


@situation(
    "Actions",
    when="a retry or a full promotion is set while spec.paused is true",
    then="the token waits for the end of the pause; a plain promote approves the step meanwhile",
)
def test_what_reaches_further_waits_for_the_pause() -> None:
    stage = rolling(paused=False)
    stage.edit(rollout(strategy={"steps": STEPS}, paused=True))
    stage.annotate("promote", "full-1")
    stage.play(40)
    assert stage.status.actions.promote is None
    assert "edgecanary.dev/promote acts once spec.paused is false" in stage.message
    assert len(stage.covered()) == 1
    stage.edit(rollout(strategy={"steps": STEPS}))
    stage.play(40)
    assert stage.reason == "Promoted"
    taken_back = rolling()
    taken_back.annotate("abort", "stop")
    taken_back.play(40)
    taken_back.edit(rollout(strategy={"steps": STEPS}, paused=True))
    taken_back.annotate("retry", "again")
    taken_back.play(60)
    assert (taken_back.reason, taken_back.status.actions.retry) == ("RolledBack", None)
    taken_back.edit(rollout(strategy={"steps": STEPS}))
    taken_back.play(60)
    assert (taken_back.reason, taken_back.status.attempt) == ("Baking", 2)


@situation(
    "Actions",
    when="tokens are there when the operator first sees the Rollout",
    then="they are noted and do nothing: a manifest that was copied must not act",
)
def test_tokens_of_a_copied_manifest_do_nothing() -> None:
    stage = Stage.with_nodes(12, strategy={"steps": STEPS})
    for action in ("promote", "abort", "retry"):
        stage.annotate(action, "full-0")
    stage.play(60)
    assert (stage.reason, stage.step()) == ("Baking", "first")
    assert stage.status.actions.abort == "full-0"
    assert is_true(stage.status.conditions, ConditionType.RECONCILING)


@situation(
    "Actions",
    when="a step is past its deadline (onDeadline: Pause) and promote is set",
    then="it gets the same time again; without it the step stays, even if it becomes complete",
)
def test_a_late_step_waits_for_a_person() -> None:
    strategy = {"steps": [{**STEPS[0], "bakeSeconds": 60}, STEPS[2]], "stepDeadlineSeconds": 600}
    stage = fleet(strategy=strategy)
    stage.model, stage.silent = V2, set(stage.nodes)
    stage.play(700)
    assert stage.reason == "DeadlineExceeded"
    stage.silent = set()
    stage.play(200)
    assert stage.reason == "DeadlineExceeded"
    stage.annotate("promote", "go")
    stage.play(40)
    assert stage.step() == "all"
