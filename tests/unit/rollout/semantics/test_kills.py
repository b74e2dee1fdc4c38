"""The operator dies between the release and the status, at each of its writes, in every kind of story."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.rollout.cohort import to_bounds
from tests.unit.rollout.fleet_play import BAD, Stage, model, rollout
from tests.unit.rollout.semantics.situation import situation

V1, V2, V3 = model("1.0.0"), model("2.0.0", generation=2), model("3.0.0", generation=3)
STEPS = [
    {"name": "one", "nodes": 1, "bakeSeconds": 20},
    {"name": "half", "percent": 50, "bakeSeconds": 20},
    {"name": "all", "percent": 100, "bakeSeconds": 20},
]
TURNS = 16


@dataclass
class Story:
    """What happens in which turn, and what is left of it."""

    happens: dict[int, Callable[[Stage], object]]
    releases: list[tuple[str, int, int]] = field(default_factory=list)

    def tell(self, kill: int | None = None) -> Stage:
        """Plays the story; in turn `kill` the operator dies after the release is written."""
        stage = Stage.with_nodes(4, strategy={"steps": STEPS}).promoted_at_once()
        bounds: dict[tuple[str, int], int] = {}
        for turn in range(TURNS):
            if turn in self.happens:
                self.happens[turn](stage)
            stage.reconcile(lose_status=turn == kill)
            stage.reconcile()
            self._check(stage, bounds)
            stage.answer()
            stage.now += timedelta(seconds=20)
        while stage.reason not in ("Promoted", "RolledBack"):
            stage.play(20)
        return stage

    def _check(self, stage: Stage, bounds: dict[tuple[str, int], int]) -> None:
        canary = stage.release.spec.canary if stage.release else None
        if canary is not None:
            key = (canary.revision, canary.attempt)
            reached = to_bounds(canary.cutoffs).get((), 0)
            assert reached >= bounds.get(key, 0), "bounds shrank"
            bounds[key] = reached


def act(action: str, value: str = "go") -> Callable[[Stage], object]:
    return lambda stage: stage.annotate(action, value)


def want(version: object) -> Callable[[Stage], object]:
    return lambda stage: setattr(stage, "model", version)


def bad(stage: Stage) -> None:
    stage.accuracy = BAD


def good(stage: Stage) -> None:
    stage.accuracy = Stage.accuracy


def pause(stage: Stage) -> None:
    stage.edit(rollout(strategy={"steps": STEPS}, paused=True))


STORIES = {
    "promoted": {0: want(V2)},
    "rolled back": {0: want(V2), 3: bad},
    "aborted": {0: want(V2), 4: act("abort")},
    "promoted by hand": {0: want(V2), 2: act("promote")},
    "promoted fully": {0: want(V2), 2: act("promote", "full-1")},
    "superseded": {0: want(V2), 4: want(V3)},
    "withdrawn": {0: want(V2), 4: want(V1)},
    "returned": {0: want(V2), 10: want(V1)},
    "retried": {0: want(V2), 1: bad, 4: good, 5: act("retry")},
    "aborted and retried": {0: want(V2), 3: act("abort"), 5: act("retry")},
    "superseded by an abort": {0: want(V2), 3: lambda stage: (want(V3)(stage), act("abort")(stage))},
}


@situation(
    "The operator dies",
    when="between writing the release and the status, at any point of a rollout, a rollback, an abort, a retry, a "
    "promotion, a supersession, a withdrawal or a return",
    then="it ends where it would have ended: the same fleet, history, rejections and Events; the step goes on where "
    "the release says, no earlier step is judged again, and bounds never shrink",
)
@pytest.mark.parametrize("name", STORIES)
def test_it_ends_where_it_would_have_ended(name: str) -> None:
    wanted = Story(STORIES[name]).tell()
    for kill in range(TURNS):
        found = Story(STORIES[name]).tell(kill)
        told = f"killed in turn {kill}: {found.message}"
        assert found.reason == wanted.reason, told
        assert summary(found) == summary(wanted), told
        assert found.running(V1) == wanted.running(V1), told
        assert found.status.actions == wanted.status.actions, told
        assert list(dict.fromkeys(found.events)) == list(dict.fromkeys(wanted.events)), told
        assert found.events.count("StepStarted") <= wanted.events.count("StepStarted") + 1, told


def summary(stage: Stage) -> object:
    status = stage.status
    history = [(entry.version, entry.outcome, entry.reason, entry.attempt) for entry in status.history]
    rejected = [(entry.version, entry.reason, entry.attempt) for entry in status.rejected]
    return history, rejected, status.stable


@situation(
    "The operator dies",
    when="after a step's release was written and before its status",
    then="that step is entered, not the one before: its bake and its deadline begin with the restart",
)
def test_the_release_says_which_step_it_is() -> None:
    stage = Stage.with_nodes(4, strategy={"steps": STEPS}).promoted_at_once()
    stage.model = V2
    stage.play(20)
    assert stage.step() == "one"
    stage.now += timedelta(seconds=20)
    stage.reconcile(lose_status=True)
    assert stage.step() == "one"
    assert len(stage.covered()) == 2
    stage.now += timedelta(seconds=100)
    stage.reconcile()
    assert stage.status.step is not None
    assert (stage.step(), stage.status.step.start_time) == ("half", stage.now)
    assert len(stage.covered()) == 2


@situation(
    "The operator dies",
    when="after the release of a step without bake and gates, and its nodes answer before anybody looks",
    then="the step is over as soon as it is looked at: the next one is told to nodes, and no status ever names the "
    "one that is over",
)
def test_a_step_that_is_over_at_the_first_look_is_passed() -> None:
    steps = [{**step, "bakeSeconds": 0} for step in STEPS]
    stage = Stage.with_nodes(4, strategy={"steps": steps}, analysis=None).promoted_at_once()
    stage.model = V2
    stage.reconcile()
    stage.answer()
    stage.reconcile(lose_status=True)
    assert (stage.step(), len(stage.covered())) == ("one", 2)
    stage.answer()
    stage.reconcile()
    assert (stage.step(), len(stage.covered())) == ("all", 4)


@situation(
    "The operator dies",
    when="after a retry's release was written, and the token is gone when it is back",
    then="the retry goes on: the rejection in the status is of the attempt before",
)
def test_a_retry_goes_on_though_its_token_is_gone() -> None:
    stage = Stage.with_nodes(4, strategy={"steps": STEPS}).promoted_at_once()
    stage.model, stage.accuracy = V2, BAD
    stage.play(60)
    assert stage.reason == "RolledBack"
    good(stage)
    stage.annotate("retry", "go")
    stage.reconcile(lose_status=True)
    metadata = stage.rollout.metadata.model_copy(update={"annotations": {}})
    stage.rollout = stage.rollout.model_copy(update={"metadata": metadata})
    stage.play(20)
    assert stage.status.attempt == 2
    assert stage.status.rejected == ()
    stage.play(200)
    assert stage.reason == "Promoted"


@situation(
    "The operator dies",
    when="it is replaced by a newer one in the middle of a rollout whose status and release lack the new fields",
    then="the rollout goes on in its step; what was rejected stays rejected",
)
def test_an_upgrade_goes_on_from_what_the_old_operator_wrote() -> None:
    steps = [STEPS[0], {**STEPS[1], "bakeSeconds": 60}, STEPS[2]]
    stage = Stage.with_nodes(12, strategy={"steps": steps}).promoted_at_once()
    stage.model = V2
    stage.play(40)
    assert stage.step() == "half"
    status, release = stage.status.to_json(), stage.release
    assert release is not None
    for new in ("waiting",):
        status.pop(new, None)
    assert isinstance(status["step"], dict)
    status["step"].pop("skipsGates", None)
    assert isinstance(status["analysis"], dict)
    status["analysis"].pop("stepTimes", None)
    stage.rollout = stage.rollout.model_copy(update={"status": RolloutStatus.model_validate(status)})
    canary = release.spec.canary
    assert canary is not None
    old = release.spec.model_copy(update={"canary": canary.model_copy(update={"step": 0})})
    stage.release = release.model_copy(update={"spec": old})
    before = stage.covered()
    stage.reconcile()
    assert (stage.step(), stage.covered()) == ("half", before)
    assert stage.status.analysis is not None
    assert len(stage.status.analysis.step_times) == 2
    stage.play(200)
    assert stage.reason == "Promoted"
