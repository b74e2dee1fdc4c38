"""The health soak's verdicts."""

import pytest

from edgecanary.agent.health import (
    IN_SERVICE,
    ON_TRIAL,
    RECENT_SECONDS,
    Fault,
    Figures,
    Recent,
    SoakOutcome,
    fault,
    figures,
    soak_verdict,
)
from edgecanary.agent.latency import BOUNDS, BUCKETS, at_least_seconds, at_most_seconds, bucket_of
from edgecanary.agent.ports import HealthCounters
from edgecanary.api.policy import DeviceHealth

LIMITS = DeviceHealth(soak_seconds=120, max_crashes=2, max_error_percent=5)


def verdict_on(
    requests: int, errors: int, elapsed: float = 10.0, crashes: int = 0
) -> tuple[SoakOutcome, str]:
    verdict = soak_verdict(HealthCounters(requests, errors), LIMITS, elapsed, crashes=crashes)
    return verdict.outcome, verdict.reason


def test_a_healthy_revision_soaks_until_its_time_is_over() -> None:
    assert verdict_on(1000, 0, elapsed=119.9) == (SoakOutcome.ONGOING, "Soaking")
    assert verdict_on(1000, 0, elapsed=120) == (SoakOutcome.PASSED, "SoakPassed")


def test_a_device_without_requests_passes_when_the_time_is_over() -> None:
    assert verdict_on(0, 0) == (SoakOutcome.ONGOING, "Soaking")
    assert verdict_on(0, 0, elapsed=120) == (SoakOutcome.PASSED, "SoakPassed")


@pytest.mark.parametrize(
    ("requests", "errors", "failed"),
    [
        (1, 1, False),
        (2, 2, False),
        (3, 3, True),
        (19, 2, False),
        (20, 1, False),
        (20, 2, True),
        (60, 3, False),
        (59, 3, True),
        (10_000, 500, False),
        (10_000, 501, True),
    ],
)
def test_errors_beyond_their_share_fail_once_there_are_20_requests_or_3_errors(
    requests: int, errors: int, failed: bool
) -> None:
    outcome, reason = verdict_on(requests, errors)
    assert (outcome is SoakOutcome.FAILED) == failed
    assert (reason == "TooManyErrors") == failed


def test_errors_fail_at_once_and_also_in_the_last_moment() -> None:
    assert verdict_on(100, 50, elapsed=0.0)[0] is SoakOutcome.FAILED
    assert verdict_on(100, 50, elapsed=120.0)[0] is SoakOutcome.FAILED


def test_no_errors_are_tolerated_at_0_percent_and_all_at_100() -> None:
    none = DeviceHealth(max_error_percent=0)
    every = DeviceHealth(max_error_percent=100)
    assert soak_verdict(HealthCounters(1000, 1), none, 0).outcome is SoakOutcome.FAILED
    assert soak_verdict(HealthCounters(1000, 1000), every, 0).outcome is SoakOutcome.ONGOING


def test_crashes_beyond_the_limit_fail_whatever_the_requests_say() -> None:
    assert verdict_on(1000, 0, elapsed=500, crashes=2)[0] is SoakOutcome.PASSED
    assert verdict_on(1000, 0, elapsed=500, crashes=3) == (SoakOutcome.FAILED, "TooManyCrashes")


def test_messages_name_the_counts_and_the_limit() -> None:
    failed = soak_verdict(HealthCounters(20, 2), LIMITS, 1)
    assert failed.message == "2 of 20 requests failed (10.0 %), health.maxErrorPercent allows 5 %"
    soaking = soak_verdict(HealthCounters(0, 0), LIMITS, 30)
    assert soaking.message == "1 min 30 s of the health soak left; no requests yet"
    crashed = soak_verdict(HealthCounters(0, 0), LIMITS, 30, crashes=3)
    assert crashed.message == "3 crashes during the soak, health.maxCrashes allows 2"


USUAL = Figures(revision="a", requests=1000, errors=40, not_finite=10, p95_seconds=0.010)


def latencies(seconds: float, count: int = 100, *, slow: int = 0) -> tuple[int, ...]:
    """Answers that took so long, and some that took far longer."""
    counts = [0] * BUCKETS
    counts[bucket_of(seconds)] = count - slow
    counts[bucket_of(10.0)] += slow
    return tuple(counts)


def reason(counters: HealthCounters, before: Figures | None = USUAL) -> str | None:
    found = fault(counters, LIMITS, before, ON_TRIAL)
    return None if found is None else found.reason


def test_errors_are_measured_by_those_of_the_revision_before() -> None:
    assert reason(HealthCounters(1000, 90)) is None
    assert reason(HealthCounters(1000, 91)) == "TooManyErrors"
    assert reason(HealthCounters(1000, 90), None) == "TooManyErrors"
    few = USUAL.model_copy(update={"requests": 99})
    assert reason(HealthCounters(1000, 90), few) == "TooManyErrors", "too few to say what is usual"


def test_values_that_are_not_finite_have_a_limit_of_their_own() -> None:
    assert reason(HealthCounters(1000, 20, not_finite=20)) is None
    assert reason(HealthCounters(1000, 21, not_finite=21)) == "TooManyNotFinite"
    assert reason(HealthCounters(1000, 11, not_finite=11), None) == "TooManyNotFinite"
    assert reason(HealthCounters(200, 2, not_finite=2), None) is None


@pytest.mark.parametrize(
    ("seconds", "slow", "expected"),
    [(0.010, 0, None), (0.045, 0, None), (0.080, 0, "TooSlow"), (0.010, 4, None), (0.010, 6, "TooSlow")],
)
def test_a_p95_far_above_that_of_the_revision_before_is_too_slow(
    seconds: float, slow: int, expected: str | None
) -> None:
    assert reason(HealthCounters(100, 0, latencies=latencies(seconds, slow=slow))) == expected


def test_latency_needs_something_to_compare_with_enough_answers_and_more_than_noise() -> None:
    slow = HealthCounters(100, 0, latencies=latencies(5.0))
    assert reason(slow, None) is None
    assert reason(HealthCounters(49, 0, latencies=latencies(5.0, 49))) is None
    quick = USUAL.model_copy(update={"p95_seconds": 0.0002})
    assert reason(HealthCounters(100, 0, latencies=latencies(0.004)), quick) is None
    assert reason(HealthCounters(100, 0, latencies=latencies(0.02)), quick) == "TooSlow"


def test_a_runtime_that_does_not_come_back_is_a_fault_at_once() -> None:
    assert reason(HealthCounters(1, 1, hung=True), None) == "RuntimeHung"
    assert reason(HealthCounters(2, 2, timeouts_in_a_row=2), None) == "RuntimeHung"
    assert reason(HealthCounters(1, 1, timeouts_in_a_row=1), None) is None


def test_a_revision_in_service_needs_more_against_it() -> None:
    assert fault(HealthCounters(4, 4), LIMITS, None, IN_SERVICE) is None
    assert fault(HealthCounters(5, 5), LIMITS, None, IN_SERVICE) == Fault(
        "TooManyErrors", "5 of 5 requests failed (100.0 %), health.maxErrorPercent allows 5 %"
    )


def test_only_what_was_answered_lately_counts() -> None:
    recent = Recent()
    assert recent.add(0.0, HealthCounters(10_000, 0)).requests == 0
    assert recent.add(100.0, HealthCounters(10_100, 90)) == HealthCounters(100, 90)
    assert recent.add(RECENT_SECONDS + 100.0, HealthCounters(10_150, 90)) == HealthCounters(50, 0)
    assert recent.add(RECENT_SECONDS + 101.0, HealthCounters(3, 3)).requests == 0, "counted anew"


def test_figures_say_the_most_that_the_p95_can_be() -> None:
    found = figures("a", HealthCounters(200, 5, 2, latencies(0.010, 200)))
    assert (found.requests, found.errors, found.not_finite) == (200, 5, 2)
    assert found.p95_seconds is not None
    assert 0.010 <= found.p95_seconds < 0.010 * 1.5
    assert figures("a", HealthCounters(0, 0)).p95_seconds is None


def test_buckets_hold_what_they_say() -> None:
    for seconds in (0.0, 0.00005, 0.0001, 0.003, 1.0, 99.0, 1e9):
        bucket = bucket_of(seconds)
        assert at_least_seconds(bucket) <= seconds
        assert seconds <= at_most_seconds(bucket) or seconds > BOUNDS[-1]
