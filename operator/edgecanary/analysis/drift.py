"""How far a model's live inputs and outputs are from the reference that came with it.

The distance is the Jensen-Shannon divergence in bits between the counted shares and the reference's, over fixed
bins, less what chance alone would give at this number of samples: around 0 without drift at any number, at most 1.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgecanary.analysis.profile import MAX_EDGES, MAX_FEATURES, DriftProfile, Feature, Source, Statistic
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec

Array = NDArray[np.generic]
Floats = NDArray[np.float64]

MIN_SAMPLES = 50
"""Below this there is no score: chance would be larger than what is looked for."""

MAX_ELEMENTS = 4096
"""Larger tensors are thinned out to about so many elements, evenly."""

_FEW = 20.0
"""Expected counts below this are summed over exactly; above, the first term of the series is right to a few percent."""

_LOG2 = math.log(2.0)
_MANY_ELEMENTS = 8
_SPREAD = (Statistic.MEAN, Statistic.STD, Statistic.MAX, Statistic.MIN, Statistic.ZERO_SHARE, Statistic.RMS)


def row_of(array: Array, spec: TensorSpec, turn: int) -> Array:
    """The part of a tensor that is measured: one row of a batch, the whole otherwise."""
    if array.ndim >= 2 and spec.shape[0] in (-1, 1):
        return array[turn % len(array)] if len(array) else array
    return array


def measure(features: Sequence[Feature], row: Array) -> list[float]:
    """The features' values, all of the tensor that this row is of. NaN where there is nothing to measure."""
    flat = row.ravel()
    thinned = flat[:: -(-flat.size // MAX_ELEMENTS)] if flat.size > MAX_ELEMENTS else flat
    values = thinned.astype(np.float64)
    if values.size == 0:
        return [math.nan] * len(features)
    with np.errstate(all="ignore"):
        return [_value(feature, values, flat) for feature in features]


def bin_of(feature: Feature, value: float) -> int:
    """The bin that the value falls into; the last is for what is no finite number."""
    if not math.isfinite(value):
        return len(feature.edges) + 1
    return bisect_left(feature.edges, value)


def bin_names(feature: Feature) -> list[str]:
    """The bins' upper edges as Prometheus writes numbers."""
    return [*(repr(edge) for edge in feature.edges), "+Inf", "NaN"]


def reference(feature: Feature, samples: int) -> Floats:
    """The reference's shares, none of them 0: half a request is added to each bin."""
    shares = np.array(feature.shares, dtype=np.float64)
    shares /= shares.sum()
    return (shares * samples + 0.5) / (samples + 0.5 * len(shares))


class Yardstick:
    """A reference to be measured against again and again."""

    def __init__(self, shares: Floats, samples: int) -> None:
        """`samples` is what the shares were counted from."""
        self.shares = shares
        self.samples = samples
        self._parts: list[float] = shares.tolist()
        self._known: dict[int, float] = {}

    def score(self, counts: NDArray[np.int64]) -> float:
        """The distance less what chance would give; NaN below MIN_SAMPLES."""
        # Plain arithmetic is several times quicker than arrays of ten.
        live: list[int] = counts.tolist()
        total = sum(live)
        if total < MIN_SAMPLES:
            return math.nan
        found = sum(_part(count / total, share) for count, share in zip(live, self._parts, strict=True))
        # Chance is reckoned for two digits of the number, so that it is known already most of the time.
        step = 10 ** max(0, len(str(total)) - 2)
        return found - self._chance(total // step * step)

    def _chance(self, total: int) -> float:
        if total not in self._known:
            self._known[total] = self._by_chance(total)
        return self._known[total]

    def _by_chance(self, total: int) -> float:
        """What the distance comes to on average without drift."""
        shares = self.shares
        # The second-order term, for the live counts and for the reference's own.
        smooth = (1 - shares) / (8 * _LOG2)
        expected = smooth / total
        few = shares * total < _FEW
        if few.any():
            expected[few] = _expected(shares[few], total)
        return float(expected.sum() + smooth.sum() / self.samples)


def make_profile(inputs: Mapping[str, Array], outputs: Mapping[str, Array], tensors: ModelIO) -> DriftProfile:
    """A profile from many requests: arrays of the model's tensors, the first dimension counting the requests.

    Takes at most ten features: the elements of short rows, else the spread of each input, and each output's
    confidence. Raises ValueError when there is nothing to count.
    """
    counts = {len(array) for array in (*inputs.values(), *outputs.values())}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"all arrays must hold the same number of requests and at least one, got {sorted(counts)}"
        )
    samples = counts.pop()
    chosen = _choose(tensors, inputs)
    features = []
    for feature in chosen:
        arrays = inputs if feature.source is Source.INPUT else outputs
        values = np.array([measure([feature], row)[0] for row in arrays[feature.tensor]], dtype=np.float64)
        features.append(_counted(feature, values))
    return DriftProfile(format_version=1, samples=samples, features=tuple(features))


def _value(feature: Feature, values: Floats, flat: Array) -> float:
    match feature.statistic:
        case Statistic.MEAN:
            return float(np.add.reduce(values)) / values.size
        case Statistic.STD:
            centered = values - np.add.reduce(values) / values.size
            return math.sqrt(float(np.dot(centered, centered)) / values.size)
        case Statistic.MIN:
            return float(np.minimum.reduce(values))
        case Statistic.MAX | Statistic.CONFIDENCE:
            return float(np.maximum.reduce(values))
        case Statistic.ZERO_SHARE:
            return 1.0 - np.count_nonzero(values) / values.size
        case Statistic.RMS:
            return math.sqrt(float(np.dot(values, values)) / values.size)
        case Statistic.ELEMENT:
            element = feature.element or 0
            return float(flat[element]) if element < flat.size else math.nan


def _part(live: float, share: float) -> float:
    """One bin's part of the Jensen-Shannon divergence, in bits."""
    middle = live + share
    mine = live * math.log2(2 * live / middle) if live else 0.0
    return 0.5 * (mine + share * math.log2(2 * share / middle))


def _divergence(live: Floats, shares: Floats) -> Floats:
    """The same for many."""
    middle = live + shares
    with np.errstate(divide="ignore", invalid="ignore"):
        mine = np.where(live > 0, live * np.log2(2 * live / middle), 0.0)
    return np.asarray(0.5 * (mine + shares * np.log2(2 * shares / middle)), dtype=np.float64)


def _expected(shares: Floats, total: int) -> Floats:
    """The average part of bins with few expected counts: over their binomial distributions, to far in the tail."""
    most = min(total, int(_FEW + 10 * math.sqrt(_FEW)) + 10)
    counts = np.arange(most + 1, dtype=np.float64)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    chosen = factorials[total] - factorials[: most + 1] - factorials[total - np.arange(most + 1)]
    column = shares[:, np.newaxis]
    log_odds = chosen + counts * np.log(column) + (total - counts) * np.log1p(-column)
    return np.asarray((np.exp(log_odds) * _divergence(counts / total, column)).sum(axis=1), dtype=np.float64)


def _choose(tensors: ModelIO, inputs: Mapping[str, Array]) -> list[Feature]:
    """What is watched: the outputs' confidence first, then the inputs in turn."""
    lists = [
        [_blank(Source.OUTPUT, spec, Statistic.CONFIDENCE)] for spec in tensors.outputs if _is_number(spec)
    ]
    for spec in tensors.inputs:
        if not _is_number(spec):
            continue
        size = int(inputs[spec.name][0].size)
        if size <= _MANY_ELEMENTS:
            lists.append([_blank(Source.INPUT, spec, Statistic.ELEMENT, number) for number in range(size)])
        else:
            lists.append([_blank(Source.INPUT, spec, statistic) for statistic in _SPREAD])
    longest = max((len(found) for found in lists), default=0)
    turns = (found[index] for index in range(longest) for found in lists if index < len(found))
    return list(turns)[:MAX_FEATURES]


def _is_number(spec: TensorSpec) -> bool:
    return spec.dtype is not DataType.BYTES


def _blank(source: Source, spec: TensorSpec, statistic: Statistic, element: int | None = None) -> Feature:
    return Feature(
        source=source,
        tensor=spec.name,
        statistic=statistic,
        element=element,
        edges=(0.0,),
        shares=(1.0, 0.0, 0.0),
    )


def _counted(feature: Feature, values: Floats) -> Feature:
    """The feature with bins that hold about as much of the reference each."""
    finite = values[np.isfinite(values)]
    edges: tuple[float, ...] = (0.0,)
    if finite.size:
        inner = np.quantile(finite, np.arange(1, MAX_EDGES + 1) / (MAX_EDGES + 1))
        edges = tuple(float(edge) for edge in np.unique(inner))
        if len(edges) == 1:
            # All alike: what differs either way must be seen.
            margin = 1e-6 * max(1.0, abs(edges[0]))
            edges = (edges[0] - margin, edges[0] + margin)
    placed = feature.model_copy(update={"edges": edges})
    counts = np.bincount([bin_of(placed, value) for value in values], minlength=len(edges) + 2)
    return placed.model_copy(update={"shares": tuple(float(share) for share in counts / len(values))})
