"""A person is refused just what the operator would leave undone: the real planner says which."""

from collections.abc import Callable

import pytest

from edgecanary.api.rollout import Rollout
from edgecanary.rollout.asking import Ask, handled, pending_token, refusal
from tests.unit.rollout.fleet_play import BAD, Stage, model, rollout

NOTHING = {"NothingToPromote", "NothingToAbort", "NothingToRetry"}


def promoted() -> Stage:
    return Stage.with_nodes(4).promoted_at_once()


def updating() -> Stage:
    stage = promoted()
    stage.model = model("2.0.0", generation=2)
    stage.silent = set(stage.nodes)
    stage.play(20)
    assert stage.reason == "NodesUpdating"
    return stage


def baking() -> Stage:
    stage = promoted()
    stage.model = model("2.0.0", generation=2)
    stage.play(20)
    assert stage.reason == "Baking"
    return stage


def awaiting_approval() -> Stage:
    steps = [
        {"name": "first", "nodes": 1, "bakeSeconds": 20, "approval": "Manual"},
        {"name": "all", "percent": 100, "bakeSeconds": 0},
    ]
    stage = Stage.with_nodes(4, strategy={"steps": steps}).promoted_at_once()
    stage.model = model("2.0.0", generation=2)
    stage.play(120)
    assert stage.reason == "AwaitingApproval"
    return stage


def approved() -> Stage:
    stage = updating()
    stage.annotate("promote", "first")
    stage.play(20)
    assert stage.reason == "NodesUpdating"
    return stage


def paused() -> Stage:
    stage = baking()
    spec = stage.rollout.spec.model_copy(update={"paused": True})
    stage.edit(stage.rollout.model_copy(update={"spec": spec}))
    stage.play(20)
    assert stage.reason == "Paused"
    return stage


def awaiting_rollback() -> Stage:
    stage = Stage.with_nodes(4, rollback="Manual").promoted_at_once()
    stage.model, stage.accuracy = model("2.0.0", generation=2), BAD
    stage.play(40)
    assert stage.reason == "AwaitingRollback"
    return stage


def rolled_back() -> Stage:
    stage = baking()
    stage.accuracy = BAD
    stage.play(40)
    assert stage.reason == "RolledBack"
    return stage


def rolled_back_and_paused() -> Stage:
    stage = rolled_back()
    spec = stage.rollout.spec.model_copy(update={"paused": True})
    stage.edit(stage.rollout.model_copy(update={"spec": spec}))
    stage.play(20)
    return stage


def without_model() -> Stage:
    stage = baking()
    stage.model = None
    stage.play(20)
    assert stage.reason == "ModelNotFound"
    return stage


def fully_promoted() -> Stage:
    stage = updating()
    stage.annotate("promote", "full-1")
    stage.reconcile()
    assert stage.status.step is not None
    assert stage.status.step.skips_gates
    return stage


def never_seen() -> Stage:
    return Stage.with_nodes(3)


STATES: tuple[Callable[[], Stage], ...] = (
    promoted,
    updating,
    baking,
    awaiting_approval,
    approved,
    paused,
    awaiting_rollback,
    rolled_back,
    rolled_back_and_paused,
    without_model,
    fully_promoted,
    never_seen,
)

ALLOWED = {
    "promoted": set(),
    "updating": {"promote", "promote --full", "abort"},
    "baking": {"promote", "promote --full", "abort"},
    "awaiting_approval": {"promote", "promote --full", "abort"},
    "approved": {"promote --full", "abort"},
    "paused": {"promote", "abort"},
    "awaiting_rollback": {"promote --full", "abort"},
    "rolled_back": {"retry"},
    "rolled_back_and_paused": set(),
    "without_model": {"abort"},
    "fully_promoted": {"abort"},
    "never_seen": set(),
}
ASKS = {
    "promote": (Ask.PROMOTE, "now", False),
    "promote --full": (Ask.PROMOTE, "full-now", True),
    "abort": (Ask.ABORT, "now", False),
    "retry": (Ask.RETRY, "now", False),
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_what_is_allowed_in_each_state(state: Callable[[], Stage]) -> None:
    found = state().rollout
    allowed = {name for name, (ask, _, full) in ASKS.items() if refusal(found, ask, full=full) is None}
    assert allowed == ALLOWED[state.__name__]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_whatever_is_allowed_the_operator_acts_on(state: Callable[[], Stage]) -> None:
    for ask, token, full in ASKS.values():
        stage = state()
        stage.events.clear()
        allowed = refusal(stage.rollout, ask, full=full) is None
        before = stage.status
        stage.annotate(ask, token)
        stage.reconcile()
        acted = handled(stage.rollout, ask, token) and not NOTHING & set(stage.events)
        changed = stage.status.model_copy(update={"actions": before.actions}) != before
        if allowed:
            assert acted, (ask, token, stage.events)
            assert changed, (ask, token)


@pytest.mark.parametrize("state", [promoted, rolled_back, without_model, never_seen, rolled_back_and_paused])
def test_what_the_operator_leaves_undone_is_refused(state: Callable[[], Stage]) -> None:
    for ask, token, full in ASKS.values():
        stage = state()
        stage.events.clear()
        refused = refusal(stage.rollout, ask, full=full)
        stage.annotate(ask, token)
        stage.reconcile()
        undone = bool(NOTHING & set(stage.events)) or not handled(stage.rollout, ask, token)
        if undone or state is never_seen:
            assert refused is not None, (ask, token)


@pytest.mark.parametrize(
    ("state", "ask", "full", "said"),
    [
        (
            promoted,
            Ask.PROMOTE,
            False,
            "nothing is being rolled out, so there is nothing to promote; 1.0.0 is stable",
        ),
        (
            promoted,
            Ask.ABORT,
            False,
            "nothing is being rolled out, so there is nothing to abort; 1.0.0 is stable",
        ),
        (rolled_back, Ask.PROMOTE, False, "retry begins it anew"),
        (baking, Ask.RETRY, False, "2.0.0 is being rolled out now (attempt 1); abort takes it back"),
        (
            paused,
            Ask.PROMOTE,
            True,
            "spec.paused is true, and a full promotion waits for its end: resume first",
        ),
        (
            rolled_back_and_paused,
            Ask.RETRY,
            False,
            "spec.paused is true, and a retry waits for its end: resume first",
        ),
        (awaiting_rollback, Ask.PROMOTE, False, "abort takes it back, promote --full goes on"),
        (
            without_model,
            Ask.PROMOTE,
            False,
            "promote cannot act before this is over: spec.modelRef.name: no EdgeModel",
        ),
        (approved, Ask.PROMOTE, False, "step 1/3 first was promoted at 2026-01-05T08:"),
        (fully_promoted, Ask.PROMOTE, True, "waits for no bake and no gate already, only for its nodes"),
        (never_seen, Ask.ABORT, False, "no operator has looked at it yet"),
    ],
)
def test_a_refusal_says_why_and_what_would_help(
    state: Callable[[], Stage], ask: Ask, full: bool, said: str
) -> None:
    found = refusal(state().rollout, ask, full=full)
    assert found is not None
    assert said in found.message


def test_a_rollout_that_is_being_deleted_takes_no_orders() -> None:
    stage = baking()
    metadata = stage.rollout.metadata.model_copy(update={"deletion_timestamp": stage.now})
    going = stage.rollout.model_copy(update={"metadata": metadata})
    assert [refusal(going, ask) is None for ask in Ask] == [False, False, False]


def asked(token: str) -> Rollout:
    stage = baking()
    stage.annotate("promote", token)
    return stage.rollout


def test_a_token_that_was_not_acted_on_yet_is_found() -> None:
    assert pending_token(asked("t-1"), Ask.PROMOTE) == "t-1"
    assert pending_token(asked("t-1"), Ask.ABORT) is None
    assert pending_token(rollout(), Ask.PROMOTE) is None


def test_a_plain_promotion_that_is_under_way_is_no_full_one() -> None:
    assert pending_token(asked("t-1"), Ask.PROMOTE, full=True) is None
    assert pending_token(asked("full-1"), Ask.PROMOTE, full=True) == "full-1"


def test_a_token_that_was_acted_on_is_not_pending() -> None:
    stage = baking()
    stage.annotate("promote", "t-1")
    stage.reconcile()
    assert pending_token(stage.rollout, Ask.PROMOTE) is None
    assert handled(stage.rollout, Ask.PROMOTE, "t-1")
