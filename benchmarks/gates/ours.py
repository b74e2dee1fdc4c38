"""The project's own gates, called as the product calls them, for many fleets at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.gates.cells import Onset, Regression, Scope
from benchmarks.gates.peers import Looks, at_horizons
from benchmarks.gates.traces import Conditions, Counts, Feed, between
from edgecanary.analysis.baseline import Baseline, learn
from edgecanary.analysis.counts import History
from edgecanary.analysis.exposure import needed_exposure
from edgecanary.analysis.grid import block_edges, look_edges
from edgecanary.analysis.negative_binomial import (
    AS_WRITTEN,
    PRODUCT,
    Settings,
    expect,
    judge,
)
from edgecanary.analysis.randomization import LEAST_CHOICES, draw_choices, look, no_looks, possible_choices

CONFIDENCE = 0.95
LIMIT = 1 / (1 - CONFIDENCE)

CLEARED = (1.5, 2.0, 3.0)
"""Ratios for which the minimum exposure is looked at."""

PRODUCT_NAME = "NegativeBinomial"
STUDY_NAME = "NegativeBinomial as in the study"
RANDOMIZATION_NAME = "Randomization"
OURS = (PRODUCT_NAME, STUDY_NAME, RANDOMIZATION_NAME)

Runs = NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """The running sums of the canaries' bad events, and after which ticks they are looked at."""

    bad: Counts
    looks: Sequence[int]


@dataclass(frozen=True)
class Outcome:
    """What a method did in each run, as looks; 0 is never.

    `alarm`, shape (horizons, runs), is the first within each horizon; `cleared`, shape (ratios, runs), when each
    ratio of CLEARED could first have been promoted.
    """

    alarm: Looks
    cleared: Looks


class Method(Protocol):
    """A gate that has learned the fleets' history."""

    def judge(self, feed: Feed, trials: Sequence[Trial]) -> list[Outcome]:
        """Judge each trial on its own; a run ends with its first alarm."""


def methods(conditions: Conditions, history: History) -> Mapping[str, Method]:
    """The methods that can be used under the conditions, by name."""
    baseline = learn(history)
    found: dict[str, Method] = {
        PRODUCT_NAME: NegativeBinomial(PRODUCT, baseline),
        STUDY_NAME: NegativeBinomial(AS_WRITTEN, baseline),
    }
    if can_randomise(conditions):
        found[RANDOMIZATION_NAME] = Randomization(conditions, baseline)
    return found


def can_randomise(conditions: Conditions) -> bool:
    """Whether there are enough ways to choose the canaries."""
    return (
        possible_choices(np.arange(conditions.canaries), np.zeros(conditions.nodes, np.int64))
        >= LEAST_CHOICES
    )


def judges(method: str, conditions: Conditions, regression: Regression) -> bool:
    """Whether one of our methods judges the regression: the default all of them, the others what the page compares."""
    if method == PRODUCT_NAME:
        return True
    if method == STUDY_NAME:
        return regression.scope is Scope.ALL and regression.ratio in (1, 1.5, 2, 3)
    # Each look compares a thousand choices in every run: with the largest fleet only a good revision.
    from_start = regression.onset is Onset.START and regression.scope is Scope.ALL
    ratios = (1, 2) if conditions.canaries <= 5 else (1,)
    return can_randomise(conditions) and from_start and regression.ratio in ratios


class _Course:
    """One trial while it lasts."""

    def __init__(self, trial: Trial, runs: int) -> None:
        self.bad = trial.bad
        self.looks = frozenset(trial.looks)
        self.runs: Runs = np.arange(runs)
        self._alarm = np.zeros(runs, np.int16)
        self._cleared = np.zeros((len(CLEARED), runs), np.int16)

    def note(self, tick: int, alarm: NDArray[np.bool_], exposure: NDArray[np.float64]) -> None:
        """What was found in the runs that still last."""
        self._alarm[self.runs[alarm]] = tick
        self.runs, exposure = self.runs[~alarm], exposure[~alarm]
        for cleared, ratio in zip(self._cleared, CLEARED, strict=True):
            enough = self.runs[exposure >= needed_exposure(ratio)]
            cleared[enough[cleared[enough] == 0]] = tick

    def outcome(self) -> Outcome:
        return Outcome(at_horizons(self._alarm), self._cleared)


class NegativeBinomial:
    """The default comparison, with some settings."""

    def __init__(self, settings: Settings, baseline: Baseline) -> None:
        self._settings = settings
        self._baseline = baseline

    def judge(self, feed: Feed, trials: Sequence[Trial]) -> list[Outcome]:
        """What is expected of the canaries is worked out once for all trials."""
        courses = [_Course(trial, feed.runs) for trial in trials]
        for tick in range(1, feed.conditions.ticks + 1):
            lasting = [course for course in courses if course.runs.size and tick in course.looks]
            if lasting:
                self._look(feed, tick, lasting)
        return [course.outcome() for course in courses]

    def _look(self, feed: Feed, tick: int, courses: Sequence[_Course]) -> None:
        edges = self._edges(tick)
        expectation = expect(self._baseline, feed.blocks(edges), self._settings)
        exposure = expectation.exposure
        # All trials at once: each is only some more fleets of which the same is expected.
        runs = np.concatenate([course.runs for course in courses])
        bad = np.concatenate([between(course.bad, edges)[course.runs] for course in courses])
        alarm = judge(expectation.of(runs), bad, self._settings) >= LIMIT
        ends = np.cumsum([course.runs.size for course in courses])[:-1]
        for course, found in zip(courses, np.split(alarm, ends), strict=True):
            course.note(tick, found, exposure[course.runs])

    def _edges(self, tick: int) -> Sequence[int]:
        """The product's blocks; the plain statistic needs one only."""
        return (0, tick) if self._settings == AS_WRITTEN else [int(edge) for edge in block_edges(tick)]


class Randomization:
    """The re-randomisation test, with the product's looks.

    The canaries are a random choice: nodes differ by chance alone, so that the first ones are as good as any.
    """

    def __init__(self, conditions: Conditions, baseline: Baseline) -> None:
        self._canaries = conditions.canaries
        self._baseline = baseline
        self._choices = draw_choices(
            np.arange(conditions.canaries), np.zeros(conditions.nodes, np.int64), seed=0
        )
        self._looks = [int(edge) for edge in look_edges(conditions.ticks)][1:]

    def judge(self, feed: Feed, trials: Sequence[Trial]) -> list[Outcome]:
        """Whatever looks the trials have."""
        return [self._judge(feed, trial) for trial in trials]

    def _judge(self, feed: Feed, trial: Trial) -> Outcome:
        alarm = np.zeros(feed.runs, np.int16)
        family = no_looks(self._choices, (feed.runs,))
        for tick in self._looks:
            blocks = feed.blocks((0, tick))
            blocks.bad[:, : self._canaries] = between(trial.bad, (0, tick))
            family = look(self._baseline, blocks, self._choices, family, 1 - CONFIDENCE)
            alarm[family.found & (alarm == 0)] = tick
        return Outcome(at_horizons(alarm), np.zeros((len(CLEARED), feed.runs), np.int16))
