"""The health soak's verdicts."""

import pytest

from edgecanary.agent.health import SoakOutcome, soak_verdict
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
