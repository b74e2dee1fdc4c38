"""The limit on bytes per second, on a clock that a test moves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.clients.ratelimit import BURST_SECONDS, RateLimit


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@settings(max_examples=100, deadline=None)
@given(
    rate=st.integers(1, 10**9),
    asks=st.lists(st.tuples(st.integers(1, 2**16), st.floats(0, 5), st.booleans()), min_size=1, max_size=60),
)
def test_whatever_several_transfers_ask_for_no_stretch_of_time_sees_more_than_rate_and_burst(
    rate: int, asks: list[tuple[int, float, bool]]
) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock)
    used: list[tuple[float, int]] = []
    for count, idle, waits in asks:
        wait = limit.take(count)
        used.append((clock.time + wait, count))
        clock.time += idle + (wait if waits else 0.0)

    for first in range(len(used)):
        total = 0
        for moment, count in used[first:]:
            total += count
            # A piece is counted when its wait is over, so the first of a stretch was paid for before it.
            allowed = rate * (moment - used[first][0] + BURST_SECONDS) + used[first][1]
            assert total <= allowed * (1 + 1e-9) + 1e-3


def test_a_steady_transfer_gets_just_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(1000, clock)
    for _ in range(100):
        clock.time += limit.take(250)

    assert abs(clock.time - 1000.0 - (25 - BURST_SECONDS)) < 1e-6
