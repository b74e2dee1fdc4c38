"""Waits between tries: random, growing, bounded."""

from edgecanary.clients.backoff import Backoff


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
