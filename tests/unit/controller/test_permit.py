"""Leave to write: looked at before each write, by the clock and by the term in which the work began."""

import threading
from dataclasses import dataclass

import pytest

from edgecanary.base.errors import Conflict
from edgecanary.controller.permit import Permit


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_nobody_may_write_before_it_is_said() -> None:
    with pytest.raises(Conflict, match="another replica leads"):
        Permit().check()


def test_who_is_alone_may_always_write() -> None:
    permit = Permit.always()
    permit.check()
    assert permit.valid
    assert permit.term == ""


def test_leave_ends_by_the_clock_without_anybody_being_told() -> None:
    clock = Clock()
    permit = Permit(clock)
    permit.give("1.a", 107.0)
    clock.now = 106.9
    permit.check()
    clock.now = 107.0
    with pytest.raises(Conflict) as refused:
        permit.check()
    assert refused.value.reason == "NotLeader"
    assert not permit.valid


def test_work_of_an_earlier_term_writes_nothing_in_a_later_one() -> None:
    permit = Permit(Clock())
    permit.give("1.a", 107.0)
    begun, go_on = threading.Event(), threading.Event()
    outcome: list[str] = []

    def work(key: str) -> None:
        begun.set()
        go_on.wait(20)
        try:
            permit.check()
        except Conflict as error:
            outcome.append(error.message)

    thread = threading.Thread(target=permit.within(work), args=("a",))
    thread.start()
    assert begun.wait(20)
    permit.take()
    permit.give("3.a", 200.0)
    go_on.set()
    thread.join(20)
    assert outcome == ["this work began in an earlier term, on what was true then"]
    permit.check()


def test_a_term_that_is_renewed_is_the_same_for_work_under_way() -> None:
    permit = Permit(Clock())
    permit.give("1.a", 107.0)

    def work(key: str) -> str:
        permit.give("1.a", 109.0)
        permit.check()
        return key

    assert permit.within(work)("a") == "a"
