"""Counts of a served revision's inputs and outputs in the bins of its drift profile.

A share of the requests is measured, after the answer, in the model's own thread: at most two a second, so that the
cost does not grow with the traffic. Counts and score cover the last 500 to 1,000 measured requests, or the last two
hours where there are fewer.
"""

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecanary.agent.runtime.base import Feeds
from edgecanary.agent.telemetry import DriftReading, FeatureReading
from edgecanary.analysis.drift import Yardstick, bin_names, bin_of, measure, reference, row_of
from edgecanary.analysis.profile import MAX_BYTES, DriftProfile, Feature, Source, parse_profile
from edgecanary.api.artifacts import ModelIO, TensorSpec
from edgecanary.base.errors import InvalidInput

log = logging.getLogger(__name__)

Counts = list[NDArray[np.int64]]

INTERVAL_SECONDS = 0.5
"""Between two measured requests, on average, where there are that many."""

_MOST_SKIPPED = 100_000
_BLOCK_SAMPLES = 500
_BLOCK_SECONDS = 3600.0
_BLOCK_LEAST = 100


class Sampler:
    """Which requests are measured: every one where they are few, else random ones about as often as wanted."""

    def __init__(self, clock: Callable[[], float], interval_seconds: float) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._since = clock()
        self._skipped = 0
        self._left = 1
        self._random = random.Random()  # noqa: S311 - keeps no secret

    def takes(self) -> bool:
        """Whether this request is to be measured."""
        self._skipped += 1
        self._left -= 1
        if self._left > 0:
            return False
        now = self._clock()
        passed = max(now - self._since, 1e-6)
        mean = min(_MOST_SKIPPED, max(1.0, self._skipped * self._interval / passed))
        # Random, so that requests that alternate are not always the same ones.
        self._left = self._random.randint(1, max(1, round(2 * mean) - 1))
        self._since, self._skipped = now, 0
        return True


class DriftMeter:
    """Counts for one loaded revision. Counting is for one thread; reading is safe from any other."""

    def __init__(
        self, profile: DriftProfile, tensors: ModelIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._features = profile.features
        self._groups = _by_tensor(profile.features, tensors)
        self._yardsticks = [Yardstick(reference(f, profile.samples), profile.samples) for f in self._features]
        self._names = [bin_names(feature) for feature in self._features]
        self._clock = clock
        self._sampler = Sampler(clock, INTERVAL_SECONDS)
        self._turn = 0
        self._total = self._empty()
        self._before, self._now = self._empty(), self._empty()
        self._samples_before = self._samples_now = 0
        self._block_began = clock()

    def takes(self) -> bool:
        """Whether the request that is being answered is to be counted."""
        return self._sampler.takes()

    def count(self, inputs: Feeds, outputs: Feeds) -> None:
        """Counts one request; features of outputs that nobody asked for are left out."""
        self._roll()
        self._turn += 1
        for source, spec, places in self._groups:
            array = (inputs if source is Source.INPUT else outputs).get(spec.name)
            if array is None:
                continue
            values = measure([self._features[place] for place in places], row_of(array, spec, self._turn))
            for place, value in zip(places, values, strict=True):
                found = bin_of(self._features[place], value)
                self._total[place][found] += 1
                self._now[place][found] += 1
        self._samples_now += 1

    def read(self) -> DriftReading:
        """Scores and counts as they are now."""
        features = []
        for place, feature in enumerate(self._features):
            score = self._yardsticks[place].score(self._before[place] + self._now[place])
            counts = zip(self._names[place], self._total[place].tolist(), strict=True)
            features.append(FeatureReading(feature.name, score, tuple(counts)))
        return DriftReading(self._samples_before + self._samples_now, tuple(features))

    def _roll(self) -> None:
        """Begins a new block when this one is full, or old and not too small; the one before it is forgotten."""
        now = self._clock()
        old = now - self._block_began >= _BLOCK_SECONDS and self._samples_now >= _BLOCK_LEAST
        if self._samples_now >= _BLOCK_SAMPLES or old:
            self._before, self._now = self._now, self._empty()
            self._samples_before, self._samples_now = self._samples_now, 0
            self._block_began = now

    def _empty(self) -> Counts:
        return [np.zeros(len(feature.edges) + 2, dtype=np.int64) for feature in self._features]


def load_meter(path: Path, tensors: ModelIO) -> DriftMeter | None:
    """A meter for the profile in that file. A profile that cannot be used is no reason not to serve."""
    try:
        with path.open("rb") as file:
            profile = parse_profile(file.read(MAX_BYTES + 1), tensors)
    except (OSError, InvalidInput) as error:
        log.error("%s: cannot be used, there will be no drift score: %s", path, error)
        return None
    return DriftMeter(profile, tensors)


def _by_tensor(features: tuple[Feature, ...], tensors: ModelIO) -> list[tuple[Source, TensorSpec, list[int]]]:
    """Positions of the features of each tensor, so that each tensor is read once."""
    groups: dict[tuple[Source, str], list[int]] = {}
    for place, feature in enumerate(features):
        groups.setdefault((feature.source, feature.tensor), []).append(place)
    sides = {Source.INPUT: tensors.inputs, Source.OUTPUT: tensors.outputs}
    return [
        (source, next(spec for spec in sides[source] if spec.name == name), places)
        for (source, name), places in groups.items()
    ]
