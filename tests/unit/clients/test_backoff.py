"""Waits between tries: random, growing, bounded, and what that does to a store that a whole fleet asks."""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.agent.settings import AgentSettings
from edgecanary.agent.updater import RetryPace
from edgecanary.clients.backoff import Backoff, spread
from edgecanary.clients.nodeaccess import ApiAccess

FLEET = 10_000


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    state = random.getstate()
    random.seed(5)
    yield
    random.setstate(state)


def test_waits_are_spread_over_a_range_that_doubles_up_to_the_cap() -> None:
    highest = [0.0] * 6
    for _ in range(500):
        backoff = Backoff(first_seconds=1.0, cap_seconds=10.0)
        waits = [backoff.next() for _ in highest]
        highest = [max(pair) for pair in zip(highest, waits, strict=True)]

    bounds = [1, 2, 4, 8, 10, 10]
    assert all(bound * 0.9 < most <= bound for most, bound in zip(highest, bounds, strict=True))


def test_a_success_starts_over() -> None:
    backoff = Backoff(first_seconds=1.0, cap_seconds=1e9)
    for _ in range(40):
        backoff.next()
    backoff.reset()

    assert backoff.next() <= 1.0


@given(after=st.floats(0, 3600), failures=st.integers(0, 40))
def test_what_the_server_asks_for_is_never_undercut_and_at_most_doubled(after: float, failures: int) -> None:
    backoff = Backoff(first_seconds=1.0, cap_seconds=300.0)
    for _ in range(failures):
        backoff.next()

    assert after <= backoff.next(after) <= after + max(after, 300.0)


def busiest(moments: list[float]) -> int:
    """The most that fall into one second."""
    return max(Counter(int(moment) for moment in moments).values())


def requests(begin: Callable[[], float], wait: Callable[[Backoff], float], back_at: float) -> list[float]:
    """When a fleet asks a store that answers from `back_at` seconds on; each node stops when it was answered."""
    pace = RetryPace()
    due = [(begin(), number) for number in range(FLEET)]
    nodes = [Backoff(pace.first_seconds, pace.cap_seconds) for _ in range(FLEET)]
    heapq.heapify(due)
    moments = []
    while due:
        now, number = heapq.heappop(due)
        moments.append(now)
        if now < back_at:
            heapq.heappush(due, (now + wait(nodes[number]), number))
    return moments


def test_a_fleet_that_hears_of_a_release_does_not_ask_for_it_in_the_same_second() -> None:
    seconds = AgentSettings("n", data_dir=None, access=ApiAccess("")).download_spread_seconds  # type: ignore[arg-type]
    moments = [spread(seconds) for _ in range(FLEET)]

    assert max(moments) < seconds
    assert busiest(moments) < 1.15 * FLEET / seconds


def test_a_fleet_whose_store_comes_back_does_not_come_back_with_it() -> None:
    back_at = 1200.0
    moments = requests(lambda: spread(10.0), lambda node: node.next(), back_at)

    late = [moment for moment in moments if moment >= back_at]
    assert len(late) == FLEET, "every node is answered at its next try"
    assert busiest(late) < 0.015 * FLEET
    assert busiest([moment for moment in moments if moment > 600.0]) < 0.015 * FLEET


def test_a_fleet_that_is_told_to_come_again_in_two_minutes_comes_spread_over_two_more() -> None:
    moments = requests(lambda: 0.0, lambda node: node.next(120.0), 60.0)
    again = sorted(moments)[FLEET:]

    assert len(again) == FLEET
    assert min(again) >= 120.0
    assert max(again) <= 240.0
    assert busiest(again) < 1.5 * FLEET / 120


def test_without_jitter_the_same_fleet_would_come_at_once() -> None:
    """What the tests above would find if the waits were not random."""
    bounds = [min(300.0, 2.0**failures) for failures in range(64)]

    def rigid() -> Callable[[Backoff], float]:
        tries: Counter[int] = Counter()

        def wait(node: Backoff) -> float:
            tries[id(node)] += 1
            return bounds[tries[id(node)] - 1]

        return wait

    moments = requests(lambda: 0.0, rigid(), 1200.0)
    assert busiest([moment for moment in moments if moment >= 1200.0]) == FLEET
