"""The health soak: whether a revision on trial may stay on this node. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from edgecanary.agent.ports import HealthCounters
from edgecanary.api.policy import DeviceHealth
from edgecanary.base.quantities import human_seconds

ENOUGH_REQUESTS = 20
"""From this many requests on, any share of errors is judged."""

ENOUGH_ERRORS = 3
"""From this many errors on, their share is judged however few the requests; one failure out of one is not
100 % of anything."""


class SoakOutcome(StrEnum):
    """What the soak says so far."""

    ONGOING = "Ongoing"
    PASSED = "Passed"
    FAILED = "Failed"


@dataclass(frozen=True)
class SoakVerdict:
    """The outcome with its reason."""

    outcome: SoakOutcome
    reason: str
    message: str


def soak_verdict(
    counters: HealthCounters, limits: DeviceHealth, elapsed_seconds: float, *, crashes: int = 0
) -> SoakVerdict:
    """Judges a revision by what it answered since it was activated, `elapsed_seconds` ago.

    It fails at once when it crashed or failed requests beyond the limits, and passes when the soak is over
    without that. A device that got no requests passes too: a commit depends on local health only, and the
    gates judge the fleet.
    """
    if crashes > limits.max_crashes:
        return SoakVerdict(
            SoakOutcome.FAILED,
            "TooManyCrashes",
            f"{crashes} crashes during the soak, health.maxCrashes allows {limits.max_crashes}",
        )
    told = _told(counters)
    if _too_many_errors(counters, limits.max_error_percent):
        return SoakVerdict(
            SoakOutcome.FAILED,
            "TooManyErrors",
            f"{told}, health.maxErrorPercent allows {limits.max_error_percent} %",
        )
    if elapsed_seconds < limits.soak_seconds:
        left = human_seconds(limits.soak_seconds - elapsed_seconds)
        return SoakVerdict(SoakOutcome.ONGOING, "Soaking", f"{left} of the health soak left; {told}")
    return SoakVerdict(
        SoakOutcome.PASSED,
        "SoakPassed",
        f"healthy for {human_seconds(limits.soak_seconds)}; {told}, {crashes} crashes",
    )


def _too_many_errors(counters: HealthCounters, max_percent: int) -> bool:
    judged = counters.requests >= ENOUGH_REQUESTS or counters.errors >= ENOUGH_ERRORS
    return judged and counters.errors * 100 > max_percent * counters.requests


def _told(counters: HealthCounters) -> str:
    if counters.requests == 0:
        return "no requests yet"
    percent = counters.errors * 100 / counters.requests
    return f"{counters.errors} of {counters.requests} requests failed ({percent:.1f} %)"
