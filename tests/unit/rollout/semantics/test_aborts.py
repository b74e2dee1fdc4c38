"""Abort: in every state, twice, together with other things, and where nothing is rolling."""

from collections.abc import Callable

import pytest

from tests.unit.rollout.fleet_play import BAD, DOWN, Stage, rollout
from tests.unit.rollout.semantics.acting import NOWHERE, STEPS, V1, V2, V3, fleet, offline, rolling
from tests.unit.rollout.semantics.situation import situation


def silence(stage: Stage) -> None:
    stage.silent.update(stage.nodes)


def no_data(stage: Stage) -> None:
    stage.annotate("promote", "go")
    stage.accuracy = DOWN


def fail(stage: Stage) -> None:
    stage.accuracy = BAD


def lose_model(stage: Stage) -> None:
    stage.model = None


REACH: dict[str, Callable[[Stage], None]] = {
    "NodesUpdating": silence,
    "NodesOffline": offline,
    "Baking": lambda _: None,
    "AnalysisInconclusive": no_data,
    "AwaitingRollback": fail,
    "Paused": lambda stage: stage.edit(rollout(strategy={"steps": STEPS}, paused=True)),
    "InvalidSpec": lambda stage: stage.edit(rollout(strategy={"steps": STEPS}, updateWindows=[NOWHERE])),
    "ModelNotFound": lose_model,
}
"""How a canary in its first step comes to each reason."""


@situation(
    "Actions",
    when="abort is set while a step updates, bakes, waits for approval, for data, for nodes, for a person, is paused "
    "or past its deadline, or while the spec is invalid or the EdgeModel is gone",
    then="the canary is taken back from everybody and rejected",
)
@pytest.mark.parametrize("state", REACH)
def test_abort_wins_in_every_state(state: str) -> None:
    stage = fleet(rollback="Manual")
    stage.model = V2
    stage.reconcile()
    if state != "NodesUpdating":
        stage.play(40)
    REACH[state](stage)
    stage.play(40)
    assert stage.reason == state, stage.message
    stage.annotate("abort", "stop")
    stage.reconcile()
    assert stage.covered() == []
    assert [entry.reason for entry in stage.status.rejected] == ["Aborted"]
    assert stage.events[-1] == "RolledBack"


@situation(
    "Actions",
    when="abort and promote or retry are set at the same time",
    then="the abort acts; the others are used up",
)
def test_abort_wins_over_other_actions() -> None:
    stage = rolling()
    for action in ("promote", "retry", "abort"):
        stage.annotate(action, "full-1")
    stage.play(400)
    assert stage.reason == "RolledBack"
    assert stage.running(V2) == []


@situation(
    "Actions",
    when="abort is set together with a new revision",
    then="neither the canary nor the new revision runs: both are rejected",
)
def test_an_abort_that_meets_a_new_revision_stops_both() -> None:
    stage = rolling()
    stage.model = V3
    stage.annotate("abort", "stop")
    stage.play(100)
    assert stage.reason == "RolledBack"
    said = {entry.version: (entry.attempt, entry.message) for entry in stage.status.rejected}
    assert said == {
        "2.0.0": (1, "aborted by edgecanary.dev/abort"),
        "3.0.0": (1, "aborted by edgecanary.dev/abort before it began"),
    }
    assert len(stage.running(V1)) == 12


@situation(
    "Actions",
    when="abort is set a second time, with the same or another token",
    then="it is as once; another token's Event says NothingToAbort",
)
def test_abort_twice_is_abort_once() -> None:
    stage = rolling()
    stage.annotate("abort", "stop")
    stage.play(40)
    before, told = stage.status, len(stage.events)
    stage.play(40)
    assert stage.status == before
    stage.annotate("abort", "again")
    stage.play(40)
    assert stage.status.history == before.history
    assert stage.events[told:] == ["NothingToAbort"]


@situation(
    "Actions", when="abort is set while nothing is rolling", then="nothing; an Event says NothingToAbort"
)
def test_abort_without_a_canary_does_nothing() -> None:
    stage = fleet()
    stage.annotate("abort", "stop")
    stage.play(100)
    assert stage.reason == "Promoted"
    assert stage.events == ["NothingToAbort"]
    stage.model = V2
    stage.play(60)
    assert stage.reason == "Baking"
