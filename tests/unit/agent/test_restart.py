"""Whom a dead process is blamed on, and for how long a deadly revision is left alone."""

import pytest

from edgecanary.agent.machine import Event, State, next_state
from edgecanary.agent.record import Record, Rejection, Verdict, new_record
from edgecanary.agent.restart import found_at_start, hold_seconds, loads_at_start
from edgecanary.api.edgenode import ModelResult
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.releasing import KEY, NOW, revision_of, statement, target

A, B, C = (revision_of(version) for version in ("1.0.0", "2.0.0", "3.0.0"))
LIMITS = DeviceHealth(max_crashes=1)


def record(state: State, *, crashes: int = 0, previous: str | None = B, rejected: str = "") -> Record:
    """A record of which A is active, B previous, and in other states than SETTLED C the target."""
    verdict = Verdict(result=ModelResult.HEALTH_FAILED, reason="TooManyErrors", message="bad")
    rejections = (Rejection(revision=rejected, attempt=0, verdict=verdict, time=NOW),) if rejected else ()
    return new_record(KEY).model_copy(
        update={
            "state": state,
            "active": A,
            "previous": previous,
            "health": LIMITS,
            "crashes": crashes,
            "rejected": rejections,
            "alive": True,
            "target": None if state is State.SETTLED else target(statement("3.0.0"), max_crashes=1),
        }
    )


def crashes_of(found: Record) -> tuple[int, int]:
    return found.crashes, found.target.crashes if found.target else 0


@pytest.mark.parametrize("state", [State.PROBE, State.SWITCH, State.HEALTH])
def test_without_marks_a_death_counts_against_what_was_on_trial(state: State) -> None:
    assert crashes_of(found_at_start(record(state))[0]) == (0, 1)
    assert crashes_of(found_at_start(record(State.WINDOW))[0]) == (0, 0)


def test_with_marks_a_death_counts_against_what_ran_and_nothing_else() -> None:
    for state in (State.SWITCH, State.HEALTH):
        assert crashes_of(found_at_start(record(state), frozenset())[0]) == (0, 0)
        assert crashes_of(found_at_start(record(state), frozenset({C}))[0]) == (0, 1)
        assert crashes_of(found_at_start(record(state), frozenset({A}))[0]) == (1, 0)
        assert crashes_of(found_at_start(record(state), frozenset({A, C}))[0]) == (1, 1)
    assert crashes_of(found_at_start(record(State.SETTLED), frozenset({A}))[0]) == (1, 0)


@pytest.mark.parametrize(
    "state", [State.SETTLED, State.DOWNLOAD, State.WINDOW, State.SWITCH, State.HEALTH, State.ROLLBACK]
)
def test_an_active_revision_that_died_too_often_is_replaced_from_any_state_that_loads_it(
    state: State,
) -> None:
    tolerated, event = found_at_start(record(state), frozenset({A}))
    assert event is Event.RESTARTED
    assert tolerated.failing is None
    given_up, event = found_at_start(record(state, crashes=1), frozenset({A}))

    assert event is Event.ACTIVE_FAILED
    assert next_state(state, event) is State.REVERT
    assert given_up.failing is not None
    assert given_up.failing.reason == "TooManyCrashes"


@pytest.mark.parametrize(
    "other", [record(State.SETTLED, crashes=1, previous=None), record(State.SETTLED, crashes=1, rejected=B)]
)
def test_without_a_way_back_it_stays_and_is_held_back_for_longer_each_time(other: Record) -> None:
    found, event = found_at_start(other, frozenset({A}))

    assert event is Event.RESTARTED
    assert found.failing is not None
    holds = [hold_seconds(found.model_copy(update={"crashes": crashes})) for crashes in range(12)]
    assert holds == [0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_a_revision_that_was_left_by_order_is_no_way_back() -> None:
    left = record(State.SETTLED).model_copy(update={"abandoned": B})
    assert (record(State.SETTLED).way_back, left.way_back) == (B, None)


def test_a_commit_that_kills_the_process_is_given_up() -> None:
    found, event = found_at_start(record(State.COMMIT), frozenset({C}))
    assert event is Event.RESTARTED
    _, event = found_at_start(found, frozenset({C}))
    assert (event, next_state(State.COMMIT, event)) == (Event.CRASHED, State.ROLLBACK)


def test_what_is_about_to_leave_is_not_loaded_once_more() -> None:
    assert {state for state in State if not loads_at_start(state)} == {
        State.REVERT,
        State.WITHDRAW,
    }
