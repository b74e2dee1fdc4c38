"""The work queue's rules, on a clock that the test moves."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgecanary.controller.schedule import Pace, Schedule

PACE = Pace(interval=1.0, base=2.0, cap=60.0)


def new_schedule(pace: Pace = PACE) -> Schedule[str]:
    return Schedule(pace, Random(7))


def test_an_empty_schedule_has_nothing_due() -> None:
    schedule = new_schedule()
    assert schedule.pop(0.0) is None
    assert schedule.next_due() is None


def test_a_key_that_is_added_many_times_is_worked_on_once() -> None:
    schedule = new_schedule()
    for _ in range(1000):
        schedule.add("a", 0.0)
    assert schedule.pop(0.0) == "a"
    schedule.succeed("a", 0.1)
    assert schedule.pop(1000.0) is None


def test_a_key_that_is_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0)
    schedule.pop(0.0)
    schedule.add("a", 0.5)
    assert schedule.pop(5.0) is None, "never twice at once"
    schedule.succeed("a", 5.0)
    assert schedule.pop(5.0) == "a"


def test_keys_that_are_due_come_in_the_order_in_which_they_became_due() -> None:
    schedule = new_schedule()
    for key in ("c", "a", "b"):
        schedule.add(key, 0.0)
    assert [schedule.pop(0.0) for _ in range(3)] == ["c", "a", "b"]


def test_a_delayed_key_waits_for_its_time() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0, delay=30.0)
    assert schedule.pop(29.9) is None
    assert schedule.next_due() == 30.0
    assert schedule.pop(30.0) == "a"


@pytest.mark.parametrize("delays", [(30.0, 10.0), (10.0, 30.0)])
def test_of_two_delays_the_earlier_one_wins(delays: tuple[float, float]) -> None:
    schedule = new_schedule()
    for delay in delays:
        schedule.add("a", 0.0, delay=delay)
    assert schedule.pop(10.0) == "a"
    schedule.succeed("a", 10.0)
    assert schedule.pop(1000.0) is None, "the later one is gone with it"


def test_a_burst_of_events_starts_a_key_at_most_once_per_interval() -> None:
    schedule, starts = new_schedule(), 0
    for tick in range(1000):
        now = tick / 100
        schedule.add("a", now)
        if schedule.pop(now) is not None:
            starts += 1
            schedule.succeed("a", now)
    assert starts == 10


def test_one_busy_key_does_not_hold_up_another() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0)
    schedule.pop(0.0)
    schedule.succeed("a", 0.0)
    schedule.add("a", 0.1)
    schedule.add("b", 0.1)
    assert schedule.pop(0.1) == "b"


def test_a_failed_key_waits_a_random_time_of_growing_bound() -> None:
    schedule, now = new_schedule(Pace(interval=0.0, base=2.0, cap=60.0)), 0.0
    schedule.add("a", now)
    for most in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        assert schedule.pop(now) == "a"
        delay = schedule.fail("a", now)
        assert 0.0 <= delay <= most
        assert schedule.next_due() == now + delay
        now += delay
    assert schedule.failures("a") == 7


def test_the_waits_after_failures_differ_between_keys() -> None:
    schedule = new_schedule()
    delays = set()
    for key in "abcdefgh":
        schedule.add(key, 0.0)
        schedule.pop(0.0)
        delays.add(schedule.fail(key, 0.0))
    assert len(delays) == 8


def test_success_forgets_the_failures() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0)
    schedule.pop(0.0)
    schedule.fail("a", 0.0)
    schedule.pop(100.0)
    schedule.succeed("a", 100.0)
    assert schedule.failures("a") == 0


def test_an_event_is_not_held_back_by_the_wait_after_a_failure() -> None:
    schedule = new_schedule(Pace(interval=1.0, base=1000.0, cap=1000.0))
    schedule.add("a", 0.0)
    schedule.pop(0.0)
    assert schedule.fail("a", 0.0) > 1.0
    schedule.add("a", 0.5)
    assert schedule.pop(1.0) == "a"


def test_the_work_says_when_it_comes_again_and_an_event_may_come_first() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0)
    schedule.pop(0.0)
    schedule.succeed("a", 0.0, again=60.0)
    assert schedule.next_due() == 60.0
    schedule.add("a", 20.0)
    assert schedule.pop(20.0) == "a"


def test_old_starts_are_forgotten() -> None:
    schedule = new_schedule()
    for number in range(10_000):
        schedule.add(f"key-{number}", float(number))
        assert schedule.pop(float(number)) == f"key-{number}"
        schedule.succeed(f"key-{number}", float(number))
    assert len(schedule._started) < 200


def test_the_load_tells_how_long_keys_wait_and_work_takes() -> None:
    schedule = new_schedule()
    schedule.add("a", 0.0)
    schedule.add("b", 0.0)
    schedule.pop(0.0)
    assert schedule.working == 1
    assert schedule.waiting(7.0) == 1
    assert schedule.longest_work(7.0) == 7.0
    assert schedule.longest_wait(7.0) == 7.0


@dataclass
class Model:
    """What the schedule must agree with: owed work, and what is under way."""

    owed: set[str] = field(default_factory=set)
    working: set[str] = field(default_factory=set)


KEYS = st.sampled_from(["a", "b", "c"])


class ScheduleMachine(RuleBasedStateMachine):
    """Random histories: no added key is lost, none is worked on twice at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.schedule = new_schedule(Pace(interval=0.5, base=1.0, cap=10.0))
        self.model = Model()

    @rule(key=KEYS, delay=st.floats(0, 20))
    def add(self, key: str, delay: float) -> None:
        self.schedule.add(key, self.now, delay=delay)
        self.model.owed.add(key)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def pop(self) -> None:
        key = self.schedule.pop(self.now)
        if key is not None:
            assert key not in self.model.working
            assert key in self.model.owed
            self.model.owed.discard(key)
            self.model.working.add(key)

    @precondition(lambda self: self.model.working)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.working)))
        self.schedule.succeed(key, self.now)
        self.model.working.discard(key)

    @precondition(lambda self: self.model.working)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.working)))
        self.schedule.fail(key, self.now)
        self.model.working.discard(key)
        self.model.owed.add(key)

    @invariant()
    def the_next_due_key_is_one_that_is_owed_and_free(self) -> None:
        free = self.model.owed - self.model.working
        assert (self.schedule.next_due() is not None) == bool(free)

    def teardown(self) -> None:
        """In the end every owed key is handed out, exactly once."""
        for key in sorted(self.model.working):
            self.schedule.succeed(key, self.now)
        popped = []
        while (due := self.schedule.next_due()) is not None:
            self.now = max(self.now, due)
            found = self.schedule.pop(self.now)
            assert found is not None
            popped.append(found)
        assert sorted(popped) == sorted(self.model.owed)


TestScheduleHistories = ScheduleMachine.TestCase


@given(st.lists(st.tuples(KEYS, st.floats(0, 100)), max_size=50))
@settings(max_examples=50)
def test_time_only_moves_keys_to_the_front_never_back(adds: list[tuple[str, float]]) -> None:
    schedule = new_schedule()
    earliest: dict[str, float] = {}
    for key, delay in adds:
        schedule.add(key, 0.0, delay=delay)
        earliest[key] = min(delay, earliest.get(key, float("inf")))
    for key, due in sorted(earliest.items(), key=lambda item: item[1]):
        assert schedule.next_due() == due
        assert schedule.pop(due) is not None, key
