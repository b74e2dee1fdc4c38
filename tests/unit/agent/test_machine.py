"""The table of an update's states: complete, without dead ends, and with the restart rule in it."""

import itertools

import pytest

from edgecanary.agent.machine import (
    BLAMED,
    CANCELLABLE,
    INTERRUPTIBLE,
    RETREAT,
    TRANSITIONS,
    TRIAL,
    WATCHED,
    Event,
    State,
    next_state,
    restart_event,
)

ALLOWED = {
    State.SETTLED: "Assigned Returned Withdrawn Restarted ActiveFailed",
    State.ACCEPTED: "Passed Superseded Restarted ActiveFailed",
    State.PRECHECK: "Passed Blocked Superseded Restarted ActiveFailed",
    State.DOWNLOAD: "Passed Blocked Superseded Restarted ActiveFailed",
    State.VERIFY: "Passed Blocked Superseded Restarted ActiveFailed",
    State.STAGE: "Passed Blocked Superseded Restarted ActiveFailed",
    State.PROBE: "Passed Blocked Failed Superseded Restarted Crashed ActiveFailed",
    State.WINDOW: "Passed Blocked Superseded Restarted ActiveFailed",
    State.SWITCH: "Passed Returned Blocked Failed Restarted Crashed ActiveFailed",
    State.HEALTH: "Passed Blocked Failed Superseded Restarted Crashed ActiveFailed",
    State.COMMIT: "Passed Blocked Restarted Crashed",
    State.ROLLBACK: "Passed Restarted ActiveFailed",
    State.REVERT: "Passed Blocked Restarted",
    State.WITHDRAW: "Passed Restarted",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_state_takes_just_the_events_that_can_happen_in_it(state: State, event: Event) -> None:
    if event.value in ALLOWED[state].split():
        assert next_state(state, event) in State
    else:
        with pytest.raises(ValueError, match=f"event {event} cannot happen in state {state}"):
            next_state(state, event)


def test_a_good_revision_passes_through_every_state_in_order() -> None:
    path = [next_state(State.SETTLED, Event.ASSIGNED)]
    while path[-1] is not State.SETTLED:
        path.append(next_state(path[-1], Event.PASSED))

    assert path == [
        State.ACCEPTED,
        State.PRECHECK,
        State.DOWNLOAD,
        State.VERIFY,
        State.STAGE,
        State.PROBE,
        State.WINDOW,
        State.SWITCH,
        State.HEALTH,
        State.COMMIT,
        State.SETTLED,
    ]


def test_a_return_to_the_previous_revision_needs_neither_download_nor_probe() -> None:
    switch = next_state(State.SETTLED, Event.RETURNED)
    commit = next_state(switch, Event.RETURNED)

    assert (switch, commit, next_state(commit, Event.PASSED)) == (State.SWITCH, State.COMMIT, State.SETTLED)


@pytest.mark.parametrize("state", list(State))
def test_from_every_state_the_way_leads_back_to_rest(state: State) -> None:
    reached = {state}
    while True:
        more = {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached
        if not more:
            break
        reached |= more

    assert State.SETTLED in reached


@pytest.mark.parametrize("state", list(State))
def test_only_the_models_fault_leads_to_rollback_or_its_withdrawal_on_trial(state: State) -> None:
    to_rollback = {event for event in Event if TRANSITIONS.get((state, event)) is State.ROLLBACK}

    expected = {
        State.PROBE: {Event.FAILED, Event.CRASHED},
        State.SWITCH: {Event.FAILED, Event.CRASHED},
        State.HEALTH: {Event.FAILED, Event.CRASHED, Event.SUPERSEDED},
        State.COMMIT: {Event.CRASHED},
        State.ROLLBACK: {Event.RESTARTED},
    }
    assert to_rollback == expected.get(state, set())


@pytest.mark.parametrize(
    ("found", "goes_on_in"),
    [
        (State.SETTLED, State.SETTLED),
        (State.ACCEPTED, State.ACCEPTED),
        (State.PRECHECK, State.ACCEPTED),
        (State.DOWNLOAD, State.DOWNLOAD),
        (State.VERIFY, State.DOWNLOAD),
        (State.STAGE, State.DOWNLOAD),
        (State.PROBE, State.PROBE),
        (State.WINDOW, State.WINDOW),
        (State.SWITCH, State.SWITCH),
        (State.HEALTH, State.SWITCH),
        (State.COMMIT, State.COMMIT),
        (State.ROLLBACK, State.ROLLBACK),
        (State.REVERT, State.REVERT),
        (State.WITHDRAW, State.WITHDRAW),
    ],
)
def test_the_restart_rule_takes_work_up_where_it_is_safe(found: State, goes_on_in: State) -> None:
    event = restart_event(found, crashes=2, max_crashes=2)

    assert next_state(found, event) is goes_on_in


@pytest.mark.parametrize("state", sorted(BLAMED))
def test_one_death_more_than_tolerated_on_trial_rolls_back(state: State) -> None:
    assert next_state(state, restart_event(state, crashes=3, max_crashes=2)) is State.ROLLBACK


def test_deaths_count_only_while_the_revisions_own_code_runs() -> None:
    assert {State.PROBE, State.SWITCH, State.HEALTH} == TRIAL
    assert TRIAL | {State.COMMIT} == BLAMED
    assert all(
        restart_event(state, crashes=9, max_crashes=0) is Event.RESTARTED for state in set(State) - BLAMED
    )


def test_the_active_revision_is_watched_wherever_it_is_what_serves() -> None:
    assert {State.SETTLED, *INTERRUPTIBLE} - {State.HEALTH} == WATCHED
    assert all(next_state(state, Event.ACTIVE_FAILED) is State.REVERT for state in WATCHED)


def test_what_an_order_may_break_off_it_may_also_supersede() -> None:
    assert CANCELLABLE < INTERRUPTIBLE
    assert not INTERRUPTIBLE & (RETREAT | {State.SWITCH, State.COMMIT})
