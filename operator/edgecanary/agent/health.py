"""Whether a revision may go on being served on this node: on trial, and as long as it is active. Pure."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from edgecanary.agent.latency import at_least_seconds, at_most_seconds, quantile_bucket
from edgecanary.agent.ports import HealthCounters
from edgecanary.api.fields import ApiModel
from edgecanary.api.policy import DeviceHealth
from edgecanary.base.quantities import human_seconds

ENOUGH_TO_COMPARE = 100
"""Requests of a revision from which on its own figures say what is usual on this node."""

ENOUGH_LATENCIES = 50
"""Answers from which on their p95 is judged."""

NEVER_SLOW_SECONDS = 0.005
"""A p95 below this is not too slow, whatever it was before: noise of a small device is of that size."""

TIMEOUTS_IN_A_ROW = 2
"""Requests that run out of time, with no answer between them, from which on a revision counts as hung."""

RECENT_SECONDS = 300.0
"""An active revision is judged by what it answered in this time: years of good answers excuse nothing."""

_SLOTS = 30


@dataclass(frozen=True)
class Evidence:
    """How much it takes until a share is judged: so many requests, or so many failures however few they are."""

    requests: int
    failures: int


ON_TRIAL = Evidence(requests=20, failures=3)
IN_SERVICE = Evidence(requests=40, failures=5)
"""A revision that proved itself is looked at for years: a handful of bad requests is not held against it."""


class Figures(ApiModel):
    """What a revision did on this node, kept in the record to judge the next one by."""

    revision: str
    requests: int = 0
    errors: int = 0
    not_finite: int = 0
    p95_seconds: float | None = None

    @property
    def usual(self) -> bool:
        """Whether the figures are of enough requests to compare with."""
        return self.requests >= ENOUGH_TO_COMPARE


def figures(revision: str, counters: HealthCounters) -> Figures:
    """The figures of a revision that answered so much."""
    bucket = quantile_bucket(counters.latencies, 0.95)
    return Figures(
        revision=revision,
        requests=counters.requests,
        errors=counters.errors,
        not_finite=counters.not_finite,
        p95_seconds=None if bucket is None else at_most_seconds(bucket),
    )


@dataclass(frozen=True)
class Fault:
    """Why a revision may not go on."""

    reason: str
    message: str


def fault(
    counters: HealthCounters, limits: DeviceHealth, before: Figures | None, evidence: Evidence
) -> Fault | None:
    """What a revision did beyond its limits; None when it is well.

    `before` has the figures of the revision that served before it, the measure for errors, values that are not
    finite and latency. Without enough of them errors and such values are judged by their limits alone.
    """
    usual = before if before is not None and before.usual else None
    return (
        _hung(counters)
        or _share("TooManyNotFinite", counters, limits, usual, evidence)
        or _share("TooManyErrors", counters, limits, usual, evidence)
        or _slow(counters, limits, usual)
    )


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
    counters: HealthCounters,
    limits: DeviceHealth,
    elapsed_seconds: float,
    *,
    crashes: int = 0,
    before: Figures | None = None,
) -> SoakVerdict:
    """Judges a revision by what it answered since it was activated, `elapsed_seconds` ago.

    It fails at once when it crashed or went beyond a limit, and passes when the soak is over without that. A
    device that got no requests passes too: a commit depends on local health only, and the gates judge the
    fleet.
    """
    if crashes > limits.max_crashes:
        return SoakVerdict(
            SoakOutcome.FAILED,
            "TooManyCrashes",
            f"{crashes} crashes during the soak, health.maxCrashes allows {limits.max_crashes}",
        )
    found = fault(counters, limits, before, ON_TRIAL)
    if found is not None:
        return SoakVerdict(SoakOutcome.FAILED, found.reason, found.message)
    told = _told(counters)
    if elapsed_seconds < limits.soak_seconds:
        left = human_seconds(limits.soak_seconds - elapsed_seconds)
        return SoakVerdict(SoakOutcome.ONGOING, "Soaking", f"{left} of the health soak left; {told}")
    return SoakVerdict(
        SoakOutcome.PASSED,
        "SoakPassed",
        f"healthy for {human_seconds(limits.soak_seconds)}; {told}, {crashes} crashes",
    )


class Recent:
    """What a revision answered in the last few minutes, from its counters at some moments."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, HealthCounters]] = deque()

    def add(self, seconds: float, counters: HealthCounters) -> HealthCounters:
        """What was added in the time before the moment `seconds`, at which the counters are these.

        What was answered before the first look is not of this time.
        """
        seen = self._seen
        if seen and counters.requests < seen[-1][1].requests:
            seen.clear()  # a new activation counts anew
        while len(seen) > 1 and seen[1][0] <= seconds - RECENT_SECONDS:
            seen.popleft()
        base = seen[0][1] if seen else counters
        if not seen or seconds - seen[-1][0] >= RECENT_SECONDS / _SLOTS:
            seen.append((seconds, counters))
        return counters.since(base)


def _hung(counters: HealthCounters) -> Fault | None:
    if counters.hung:
        return Fault("RuntimeHung", "an inference goes on though it was interrupted: the runtime hangs in it")
    if counters.timeouts_in_a_row >= TIMEOUTS_IN_A_ROW:
        return Fault(
            "RuntimeHung",
            f"{counters.timeouts_in_a_row} requests in a row ran out of time and none was answered between them",
        )
    return None


def _share(
    reason: str, counters: HealthCounters, limits: DeviceHealth, usual: Figures | None, evidence: Evidence
) -> Fault | None:
    """The fault of a share of requests that is too large, if it is."""
    if reason == "TooManyErrors":
        failed, limit, name, what = counters.errors, limits.max_error_percent, "maxErrorPercent", "failed"
        known = usual.errors if usual else 0
    else:
        failed, limit = counters.not_finite, limits.max_not_finite_percent
        name, what = "maxNotFinitePercent", "had values that are not finite"
        known = usual.not_finite if usual else 0
    allowed = limit + (known * 100 / usual.requests if usual else 0.0)
    judged = counters.requests >= evidence.requests or failed >= evidence.failures
    if not judged or failed * 100 <= allowed * counters.requests:
        return None
    message = f"{_portion(counters.requests, failed, what)}, health.{name} allows {limit} %"
    if usual is not None and known:
        message += f" more than the {known * 100 / usual.requests:.1f} % of the revision before"
    return Fault(reason, message)


def _slow(counters: HealthCounters, limits: DeviceHealth, usual: Figures | None) -> Fault | None:
    """A fault when even the least that the p95 can be is more than what the most it was before allows."""
    if usual is None or usual.p95_seconds is None or sum(counters.latencies) < ENOUGH_LATENCIES:
        return None
    bucket = quantile_bucket(counters.latencies, 0.95)
    slow = 0.0 if bucket is None else at_least_seconds(bucket)
    allowed = usual.p95_seconds * (1 + limits.max_latency_increase_percent / 100)
    if slow <= max(allowed, NEVER_SLOW_SECONDS):
        return None
    return Fault(
        "TooSlow",
        f"the p95 of {sum(counters.latencies)} answers is above {slow * 1000:.3g} ms; that of the revision before was "
        f"{usual.p95_seconds * 1000:.3g} ms, health.maxLatencyIncreasePercent allows "
        f"{limits.max_latency_increase_percent} % more",
    )


def _told(counters: HealthCounters) -> str:
    if counters.requests == 0:
        return "no requests yet"
    return _portion(counters.requests, counters.errors, "failed")


def _portion(requests: int, failed: int, what: str) -> str:
    return f"{failed} of {requests} requests {what} ({failed * 100 / requests:.1f} %)"
