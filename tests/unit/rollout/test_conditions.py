"""Conditions as kstatus and Argo CD read them."""

from datetime import UTC, datetime, timedelta

from edgecanary.api.meta import Condition
from edgecanary.rollout.conditions import Situation, build_conditions, done, stuck, working

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def build(
    situation: Situation, current: tuple[Condition, ...] = (), now: datetime = NOW
) -> tuple[Condition, ...]:
    return build_conditions(current, situation, generation=3, now=now)


def told(conditions: tuple[Condition, ...]) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in conditions}


def test_work_in_progress_is_ready_unknown_and_reconciling() -> None:
    assert told(build(working("Baking", ""))) == {
        "Ready": ("Unknown", "Baking"),
        "Reconciling": ("True", "Baking"),
    }


def test_what_needs_a_person_is_not_ready_and_stalled() -> None:
    situation = stuck("RolledBack", "", stalled="AnalysisFailed")
    assert told(build(situation)) == {"Ready": ("False", "RolledBack"), "Stalled": ("True", "AnalysisFailed")}


def test_what_is_reached_is_ready_alone() -> None:
    assert told(build(done("Promoted", ""))) == {"Ready": ("True", "Promoted")}


def test_every_condition_names_the_generation_that_it_was_observed_for() -> None:
    assert {condition.observed_generation for condition in build(working("Baking", ""))} == {3}


def test_the_transition_time_stays_while_the_status_stays() -> None:
    first = build(working("Baking", "a"))
    second = build(working("AwaitingApproval", "b"), first, LATER)
    assert {condition.last_transition_time for condition in second} == {NOW}


def test_the_transition_time_moves_when_the_status_changes() -> None:
    first = build(working("Baking", "a"))
    second = build(done("Promoted", "b"), first, LATER)
    assert second[0].last_transition_time == LATER


def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    assert len(build(done("Promoted", "x" * 9000))[0].message) == 4096
