"""What a gate will need in a step that has not begun: events, exposure, time, and what it will find."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from edgecanary.analysis.exposure import needed_exposure
from edgecanary.analysis.paired import needed_pairs
from edgecanary.analysis.prospect import Grid, Learned, assume, foresee
from edgecanary.api.analysis import ComparisonMethod, Metric, MetricMode, Preset
from edgecanary.api.fields import ApiModel
from edgecanary.rollout.gates import MAX_WINDOW_SECONDS

MOST_RATIO = 20.0
"""Beyond this, a ratio that would be found says no more than that nothing would."""

BY_COUNTS = (ComparisonMethod.NEGATIVE_BINOMIAL, ComparisonMethod.RANDOMIZATION)
"""Methods that pass by exposure."""

LEAST_ARRANGEMENTS = 200
"""Choices of the canary nodes that Randomization needs to reach a verdict at 0.95."""

WITHOUT_DATA = (Preset.DISAGREEMENT,)
"""Presets of what agents do not count yet."""


class GateOutlook(StrEnum):
    """When a gate can say Pass if the new revision is as good as the stable one."""

    IN_TIME = "InTime"
    """Before the bake is over."""
    LATE = "Late"
    """After the bake and before the deadline: the step takes longer."""
    NEVER = "Never"
    """Not before the deadline."""
    UNKNOWN = "Unknown"
    """The rate of events is not known."""
    NOT_JUDGED = "NotJudged"
    """There is nothing to compare with: it does not decide."""


class BaselineSource(StrEnum):
    """Where a plan has the nodes' baselines from, and how their counts vary in time."""

    HISTORY = "History"
    """Prometheus's, as the gate itself will."""
    ASSUMED = "Assumed"
    """`analysis.prospect.ASSUMED_VARIANCE`."""


@dataclass(frozen=True)
class Rates:
    """What the average node counts for a metric: judged events per hour, and the share of them that is bad.

    `learned` is what the nodes' history says, None where it is not known.
    """

    per_hour: float
    bad_share: float | None = None
    learned: Learned | None = None


@dataclass(frozen=True)
class Group:
    """Nodes that take the canary together, and when, in seconds after the first ones."""

    nodes: tuple[str, ...]
    switch: float


@dataclass(frozen=True)
class StepTimes:
    """A step in seconds after the first nodes' switch: when its bake begins and ends, and its deadline."""

    bake_start: float
    bake_end: float
    deadline: float

    @property
    def last(self) -> float:
        """The last moment at which data helps; a bake that outlasts the deadline is another matter."""
        return max(self.bake_end, self.deadline)


@dataclass(frozen=True)
class GateScene:
    """All that a gate's outlook in one step depends on.

    `fleet` are all nodes that the rollout is for; `groups` those that have the canary, by their switch, this step's
    last.
    """

    fleet: tuple[str, ...]
    groups: tuple[Group, ...]
    times: StepTimes
    grid: Grid
    first: bool
    """Whether no revision is stable yet."""

    @property
    def canaries(self) -> int:
        """Nodes that run the canary in the step."""
        return sum(len(group.nodes) for group in self.groups)


class GateForecast(ApiModel):
    """What a gate needs in a step, when it has it, and the smallest regression that it finds by then."""

    metric: str
    method: str
    decides: bool
    outlook: GateOutlook
    events_per_hour: float | None = None
    """Of the step's canary nodes together."""
    events_needed: int | None = None
    exposure_needed: float | None = None
    exposure: float | None = None
    """At the end of the bake."""
    baseline: BaselineSource | None = None
    """What the exposure rests on."""
    ready_seconds: float | None = None
    """From the start of the bake."""
    finds_ratio: float | None = None
    """The smallest relative increase of bad events that is found by the end of the bake."""
    why: str = ""
    """Why it is never ready, or not known."""


def forecast_gate(metric: Metric, rates: Rates | None, scene: GateScene) -> GateForecast:
    """The outlook of one gate in one step, when the new revision is as good as the stable one."""
    method = str(metric.comparison.method) if metric.comparison else "Threshold"
    found = GateForecast(
        metric=metric.name,
        method=method,
        decides=metric.mode is MetricMode.ENFORCE,
        outlook=GateOutlook.UNKNOWN,
        events_per_hour=rates.per_hour * scene.canaries if rates else None,
    )
    if metric.comparison is not None and metric.threshold is None and scene.first:
        text = "no revision is stable yet: there is nothing to compare with"
        return found.model_copy(update={"outlook": GateOutlook.NOT_JUDGED, "why": text})
    if metric.comparison is not None and metric.comparison.method is ComparisonMethod.PAIRED:
        pairs = math.ceil(needed_pairs(float(metric.comparison.detect_ratio)))
        found = found.model_copy(update={"events_needed": max(pairs, metric.min_samples)})
    if metric.preset in WITHOUT_DATA:
        text = f"agents do not count what {metric.preset} needs yet"
        return found.model_copy(update={"outlook": GateOutlook.NEVER, "why": text})
    if rates is None:
        return found.model_copy(update={"why": "the rate of requests is not known"})
    if metric.comparison is None or scene.first or metric.comparison.method not in BY_COUNTS:
        return _by_samples(metric, rates, scene, found)
    return _by_exposure(metric, rates, scene, found)


def _by_samples(metric: Metric, rates: Rates, scene: GateScene, found: GateForecast) -> GateForecast:
    """A gate that waits for so many events within the window that its query looks back on."""
    needed = max(1, metric.min_samples)
    hourly = rates.per_hour * scene.canaries
    ratio = _ratio_found(metric, rates)
    found = found.model_copy(update={"events_needed": needed, "finds_ratio": ratio})
    within = hourly * MAX_WINDOW_SECONDS / 3600
    if within < needed:
        text = (
            f"minSamples is {needed}, and {_count(within)} events are expected in the "
            f"{MAX_WINDOW_SECONDS // 60} min that a query looks back on"
        )
        return found.model_copy(update={"outlook": GateOutlook.NEVER, "why": text})
    return _timed(found, max(metric.initial_delay_seconds, needed / hourly * 3600), scene.times)


def _by_exposure(metric: Metric, rates: Rates, scene: GateScene, found: GateForecast) -> GateForecast:
    """A comparison by counts: it passes once it would have found `detectRatio`."""
    comparison = metric.comparison
    if comparison is None:
        raise ValueError("a metric without comparison is not judged by exposure")
    if rates.bad_share is None:
        return found.model_copy(update={"why": "the share of bad events is not known"})
    needed = needed_exposure(float(comparison.detect_ratio))
    exposure = _expected_exposure(rates, rates.bad_share, scene, comparison.warmup_seconds)
    at_end = exposure(scene.times.bake_end)
    found = found.model_copy(
        update={
            "exposure_needed": needed,
            "exposure": at_end,
            "finds_ratio": _ratio_at(at_end),
            "baseline": BaselineSource.HISTORY if rates.learned else BaselineSource.ASSUMED,
        }
    )
    reached = first_time(exposure, needed, scene.times.bake_start, scene.times.last)
    if reached is None:
        limit = exposure(scene.times.last)
        text = f"its exposure reaches {limit:.1f} of {needed:.1f} by the deadline"
        return found.model_copy(update={"outlook": GateOutlook.NEVER, "why": text})
    samples = max(1, metric.min_samples) / max(rates.per_hour * scene.canaries, 1e-9) * 3600
    wait = max(reached - scene.times.bake_start, metric.initial_delay_seconds, samples)
    return _timed(found, wait, scene.times)


def _expected_exposure(
    rates: Rates, bad_share: float, scene: GateScene, warmup_seconds: int
) -> Callable[[float], float]:
    """The exposure at a time, in seconds after the first switch: by the history, or as assumed."""
    per_second = rates.per_hour / 3600
    if rates.learned is not None:
        prospect = foresee(scene.fleet, rates.learned, per_second)
    else:
        prospect = assume(scene.fleet, bad_share, per_second, scene.grid)
    return prospect.exposure([(group.nodes, group.switch) for group in scene.groups], warmup_seconds)


def _timed(found: GateForecast, wait: float, times: StepTimes) -> GateForecast:
    """With the time that it takes, in whole seconds as far as they count."""
    wait = math.ceil(wait) if wait > 1 else wait
    ready = times.bake_start + wait
    if ready > times.last:
        text = "it has enough data only after the step's deadline"
        return found.model_copy(update={"outlook": GateOutlook.NEVER, "ready_seconds": wait, "why": text})
    outlook = GateOutlook.IN_TIME if ready <= times.bake_end else GateOutlook.LATE
    return found.model_copy(update={"outlook": outlook, "ready_seconds": wait})


def first_time(measure: Callable[[float], float], wanted: float, start: float, end: float) -> float | None:
    """When a growing measure first reaches what is wanted, to the second; None when not by `end`."""
    if measure(end) < wanted:
        return None
    low, high = start, end
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if measure(middle) >= wanted else (middle, high)
    return start if measure(start) >= wanted else high


def _ratio_at(exposure: float) -> float | None:
    """The increase that the exposure finds; None beyond MOST_RATIO."""
    ratio = math.exp(min(50.0, math.sqrt(needed_exposure(math.e) / exposure))) if exposure > 0 else math.inf
    return ratio if ratio < MOST_RATIO else None


def arrangements(strata: Iterable[tuple[int, int]]) -> int:
    """In how many ways the canary nodes could have been chosen; members and canaries of each stratum."""
    return math.prod(math.comb(members, canaries) for members, canaries in strata)


def _ratio_found(metric: Metric, rates: Rates) -> float | None:
    """How many times more bad events break the limit; None where that cannot be said."""
    if metric.comparison is not None and metric.comparison.max_increase_percent is not None:
        return 1 + metric.comparison.max_increase_percent / 100
    share, threshold = rates.bad_share, metric.threshold
    if threshold is None or not share:
        return None
    if metric.preset is Preset.ERROR_RATE and threshold.max is not None:
        return float(threshold.max) / share
    if metric.preset is Preset.ACCURACY and threshold.min is not None:
        return (1 - float(threshold.min)) / share
    return None


def _count(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"
