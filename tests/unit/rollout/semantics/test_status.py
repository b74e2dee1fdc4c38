"""What the status says in every state: conditions as kstatus reads them, and what is waited for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from edgecanary.api.meta import ConditionType
from edgecanary.rollout.conditions import find_condition
from edgecanary.rollout.snapshot import Rival
from edgecanary.rollout.waiting import ENDS_WITH
from tests.unit.rollout.fleet_play import BAD, DOWN, START, Stage, model, rollout
from tests.unit.rollout.semantics.situation import situation

V1, V2 = model("1.0.0"), model("2.0.0", generation=2)
STEPS = [
    {"name": "first", "nodes": 1, "bakeSeconds": 600, "approval": "Manual"},
    {"name": "all", "percent": 100, "bakeSeconds": 600},
]
STRATEGY: dict[str, object] = {"steps": STEPS, "stepDeadlineSeconds": 2000}
NOWHERE = {"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}


def fleet(**spec: object) -> Stage:
    wanted: dict[str, object] = {"strategy": STRATEGY, "rollback": "Manual", **spec}
    stage = Stage.with_nodes(6, None, **wanted).promoted_at_once()
    metadata = stage.rollout.metadata.model_copy(update={"creation_timestamp": START})
    stage.rollout = stage.rollout.model_copy(update={"metadata": metadata})
    return stage


def rolling(*, silent: bool = False, offline: bool = False, seconds: float = 40) -> Stage:
    stage = fleet()
    stage.model = V2
    stage.silent = set(stage.nodes) if silent else set()
    for name in stage.nodes if offline else ():
        stage.set_online(name, online=False)
    stage.play(seconds)
    return stage


def changed(stage: Stage, change: Callable[[Stage], object], seconds: float = 40) -> Stage:
    change(stage)
    stage.play(seconds)
    return stage


def edited(stage: Stage, **spec: object) -> Stage:
    return changed(stage, lambda it: it.edit(rollout(**{"strategy": STRATEGY, "rollback": "Manual", **spec})))


def stable_lost() -> Stage:
    stage = rolling()
    stage.lose_release()
    stage.play(40)
    return stage


def straggle(stage: Stage) -> None:
    stage.silent = {"node-01"}
    stage.forget_report("node-01")


def conflicted() -> Stage:
    return changed(
        fleet(), lambda it: setattr(it, "rivals", (Rival("older", "uid-0", START - timedelta(days=1)),))
    )


def too_many_strata() -> Stage:
    stage = Stage.with_nodes(300, strategy={**STRATEGY, "stratifyBy": ["serial"]})
    for name in stage.nodes:
        stage.relabel(name, {"serial": name})
    stage.reconcile()
    return stage


def unchecked() -> Stage:
    stage = fleet()
    stage.model = V2.model_copy(update={"status": V2.status.model_copy(update={"observed_generation": 0})})
    stage.play(40)
    return stage


def broken() -> Stage:
    stage = fleet()
    conditions = (
        V2.status.conditions[0].model_copy(update={"status": "False", "reason": "FileMissing"}),
        V2.status.conditions[0].model_copy(update={"type": ConditionType.STALLED}),
    )
    stage.model = V2.model_copy(update={"status": V2.status.model_copy(update={"conditions": conditions})})
    stage.play(40)
    return stage


@dataclass(frozen=True)
class State:
    """How to reach a reason, and what must be said then. `timed` tells whether time alone ends it."""

    reach: Callable[[], Stage]
    ready: str
    reconciling: bool = False
    stalled: str = ""
    timed: bool = False
    promotes: bool = True


STATES = {
    "Promoted": State(fleet, "True"),
    "StragglersPending": State(lambda: changed(fleet(), straggle), "True"),
    "NodesUpdating": State(lambda: rolling(silent=True), "Unknown", reconciling=True, timed=True),
    "NodesOffline": State(lambda: rolling(offline=True), "Unknown", reconciling=True, timed=True),
    "Baking": State(rolling, "Unknown", reconciling=True, timed=True),
    "AnalysisInconclusive": State(
        lambda: changed(rolling(), lambda it: setattr(it, "accuracy", DOWN), 700),
        "Unknown",
        reconciling=True,
        timed=True,
    ),
    "AwaitingApproval": State(lambda: rolling(seconds=800), "Unknown", reconciling=True, timed=True),
    "AwaitingRollback": State(
        lambda: changed(rolling(), lambda it: setattr(it, "accuracy", BAD)),
        "Unknown",
        reconciling=True,
        timed=True,
    ),
    "DeadlineExceeded": State(lambda: rolling(silent=True, seconds=2100), "Unknown", reconciling=True),
    "Paused": State(lambda: edited(rolling(), paused=True), "Unknown", reconciling=True),
    "NoMatchingNodes": State(
        lambda: edited(fleet(), nodeSelector={"matchLabels": {"a": "b"}}), "Unknown", reconciling=True
    ),
    "ModelPending": State(unchecked, "Unknown", reconciling=True),
    "RolledBack": State(
        lambda: changed(rolling(), lambda it: it.annotate("abort", "stop")), "False", stalled="Aborted"
    ),
    "ModelNotFound": State(
        lambda: changed(fleet(), lambda it: setattr(it, "model", None)), "False", stalled="ModelNotFound"
    ),
    "ModelInvalid": State(broken, "False", stalled="ModelInvalid"),
    "ModelConflict": State(conflicted, "False", stalled="ModelConflict"),
    "StableLost": State(stable_lost, "False", stalled="StableLost"),
    "TooManyStrata": State(too_many_strata, "False", stalled="TooManyStrata"),
    "InvalidSpec": State(lambda: edited(fleet(), updateWindows=[NOWHERE]), "False", stalled="InvalidSpec"),
}


@situation(
    "Explanations",
    when="in every state",
    then="Ready is there; Reconciling and Stalled only while True, never both; `status.waiting` has the same reason, "
    "since when, until when if time alone ends it, and what ends it; Promoted waits for nothing",
)
@pytest.mark.parametrize("reason", STATES)
def test_every_state_is_said_as_the_table_has_it(reason: str) -> None:
    state = STATES[reason]
    stage = state.reach()
    assert stage.reason == reason, stage.message
    found = {condition.type: condition for condition in stage.status.conditions}
    assert found["Ready"].status == state.ready
    assert ("Reconciling" in found) is state.reconciling
    assert (found["Stalled"].reason if "Stalled" in found else "") == state.stalled
    waiting = stage.status.waiting
    if reason == "Promoted":
        assert waiting is None
        return
    assert waiting is not None
    assert (waiting.reason, waiting.ends_with) == (reason, ENDS_WITH[reason])
    assert (waiting.until is not None) is state.timed
    assert waiting.since <= stage.now


def test_no_reason_is_without_an_end() -> None:
    assert STATES.keys() - ENDS_WITH.keys() == {"Promoted"}
    assert ENDS_WITH.keys() - STATES.keys() == {"Progressing"}


@situation(
    "Explanations",
    when="nothing changes but the time",
    then="nothing is written: neither the release nor the status, and `waiting.since` stays",
)
@pytest.mark.parametrize("reason", [name for name in STATES if name != "StragglersPending"])
def test_time_alone_writes_nothing(reason: str) -> None:
    stage = STATES[reason].reach()
    writes, status, told = stage.writes, quiet(stage), len(stage.events)
    for _ in range(5):
        stage.now += timedelta(seconds=7)
        stage.reconcile()
        assert quiet(stage) == status
    assert (stage.writes, len(stage.events)) == (writes, told)


def quiet(stage: Stage) -> object:
    """The status but for what each look at Prometheus changes."""
    return stage.status.model_copy(update={"analysis": None})


@situation(
    "Explanations",
    when="the rollout comes to wait for the same thing in the next step",
    then="`waiting.since` begins anew",
)
def test_since_is_the_steps_own() -> None:
    stage = rolling()
    assert stage.status.waiting is not None
    first = stage.status.waiting
    stage.annotate("promote", "go")
    stage.play(20)
    assert (stage.reason, stage.step()) == ("Baking", "all")
    assert stage.status.waiting.since > first.since


@situation(
    "Explanations",
    when="a revision is taken back",
    then="status, history and the Event name value, limit, samples and what to do next",
)
def test_a_rollback_is_explained() -> None:
    stage = fleet(rollback="Automatic")
    stage.model, stage.accuracy = V2, BAD
    stage.play(60)
    for text in (stage.message, stage.status.rejected[0].message):
        assert all(fact in text for fact in ("step 1/2 first: accuracy: 0.31", "0.9", "500 samples"))
    ready = find_condition(stage.status.conditions, ConditionType.READY)
    assert ready is not None
    assert "edgecanary.dev/retry" in ready.message


def with_a_deadline(on_deadline: str) -> Stage:
    """A fleet that gets a new version, with a bake of ten minutes and a deadline soon after."""
    strategy = {
        "steps": [{"name": "first", "nodes": 1, "bakeSeconds": 600}, STEPS[1]],
        "stepDeadlineSeconds": 2000,
        "onDeadline": on_deadline,
    }
    stage = fleet(strategy=strategy)
    stage.model = V2
    return stage


@situation(
    "Clocks",
    when="the operator was away, the deadline passed meanwhile, and the step is complete when it looks again",
    then="it goes on: what is complete now is complete, also with onDeadline: Rollback",
)
@pytest.mark.parametrize("on_deadline", ["Pause", "Rollback"])
def test_what_is_complete_after_an_absence_is_complete(on_deadline: str) -> None:
    stage = with_a_deadline(on_deadline)
    stage.play(40)
    assert stage.reason == "Baking"
    stage.now += timedelta(days=1)
    stage.reconcile()
    assert stage.step() == "all"


@situation(
    "Clocks",
    when="the operator was away, the deadline passed meanwhile, and the nodes took the canary in that time",
    then="the bake begins with the first look and may end before the deadline counts",
)
@pytest.mark.parametrize("on_deadline", ["Pause", "Rollback"])
def test_a_bake_that_begins_after_an_absence_may_end(on_deadline: str) -> None:
    stage = with_a_deadline(on_deadline)
    stage.reconcile()
    stage.answer()
    stage.now += timedelta(days=1)
    stage.reconcile()
    assert stage.reason == "Baking"
    stage.play(620)
    assert stage.step() == "all"
