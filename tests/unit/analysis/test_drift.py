"""The drift score: around 0 without drift at any number of samples, and it rises when the inputs change."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecanary.analysis.drift import (
    MIN_SAMPLES,
    Yardstick,
    bin_of,
    make_profile,
    measure,
    reference,
    row_of,
)
from edgecanary.analysis.profile import MAX_BYTES, Feature, Source, Statistic, parse_profile
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec

IO = ModelIO(
    inputs=(TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 640)),),
    outputs=(TensorSpec(name="y", dtype=DataType.FP32, shape=(-1, 4)),),
)
RUNS = 1000
EVEN = (0.111, 0.111, 0.111, 0.111, 0.112, 0.111, 0.111, 0.111, 0.111, 0.0)
SKEWED = (0.9, 0.05, 0.03, 0.01, 0.005, 0.003, 0.001, 0.0005, 0.0005, 0.0)
SINGLE = (0.0, 1.0, 0.0, 0.0)


def yardstick(shares: tuple[float, ...], samples: int = 10**9) -> Yardstick:
    return Yardstick(reference(feature(shares), samples), samples)


def feature(shares: tuple[float, ...]) -> Feature:
    edges = tuple(float(number) for number in range(len(shares) - 2))
    return Feature(source=Source.INPUT, tensor="x", statistic=Statistic.MEAN, edges=edges, shares=shares)


def scores(
    rod: Yardstick, truth: tuple[float, ...], samples: int, seed: int = 1, runs: int = RUNS
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    shares = np.array(truth) / sum(truth)
    return np.array([rod.score(random.multinomial(samples, shares)) for _ in range(runs)])


@pytest.mark.parametrize("samples", [50, 100, 1000])
@pytest.mark.parametrize("shares", [EVEN, SKEWED, SINGLE])
def test_without_drift_it_is_0_on_average_at_any_number_of_samples(
    shares: tuple[float, ...], samples: int
) -> None:
    found = scores(yardstick(shares), shares, samples)
    error = found.std() / math.sqrt(RUNS)
    assert abs(found.mean()) < 4 * error + 2e-4


def test_at_100_samples_chance_never_comes_near_what_drift_gives() -> None:
    """The usual alarm, a PSI above 0.1, is false more than a quarter of the time at as many samples."""
    found = scores(yardstick(EVEN), EVEN, 100)
    assert found.max() < 0.06
    assert np.quantile(found, 0.99) < 0.03
    live = np.random.default_rng(1).multinomial(100, [0.1] * 10, RUNS).clip(0.5) / 100
    psi = ((live - 0.1) * np.log(live / 0.1)).sum(axis=1)
    assert (psi > 0.1).mean() > 0.25


def test_the_reference_may_be_as_small_as_the_live_counts() -> None:
    random = np.random.default_rng(2)
    found = []
    for _ in range(RUNS):
        known = random.multinomial(200, np.array(EVEN)) / 200
        rod = Yardstick(reference(feature(tuple(known)), 200), 200)
        found.append(rod.score(random.multinomial(100, np.array(EVEN))))
    assert abs(np.mean(found)) < 0.002


@pytest.mark.parametrize(("shift", "least", "most"), [(0.5, 0.025, 0.07), (1.0, 0.12, 0.2), (3.0, 0.6, 0.9)])
def test_it_rises_with_the_shift_and_not_with_the_number_of_samples(
    shift: float, least: float, most: float
) -> None:
    random = np.random.default_rng(3)
    edges = tuple(np.quantile(random.normal(size=100_000), np.arange(1, 9) / 9))
    placed = feature(EVEN).model_copy(update={"edges": edges})
    rod = Yardstick(reference(placed, 100_000), 100_000)

    def score(samples: int) -> float:
        values = random.normal(loc=shift, size=samples)
        return rod.score(np.bincount([bin_of(placed, value) for value in values], minlength=10))

    for samples in (100, 1000):
        assert least < np.mean([score(samples) for _ in range(50)]) < most


def test_all_in_another_bin_is_1_and_too_few_is_no_number() -> None:
    rod = yardstick(SINGLE)
    assert rod.score(np.array([1000, 0, 0, 0])) == pytest.approx(1, abs=0.01)
    assert rod.score(np.array([0, 0, 0, 1000])) == pytest.approx(1, abs=0.01)
    assert math.isnan(rod.score(np.array([0, MIN_SAMPLES - 1, 0, 0])))
    assert math.isnan(rod.score(np.zeros(4, dtype=np.int64)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=4, max_size=10),
    st.lists(st.integers(0, 10**6), min_size=4, max_size=10),
    st.integers(1, 10**12),
)
def test_the_score_is_a_number_between_its_bounds_whatever_the_counts_and_the_profile(
    counts: list[int], weights: list[int], samples: int
) -> None:
    size = min(len(counts), len(weights))
    total = sum(weights[:size])
    shares = tuple(weight / total for weight in weights[:size]) if total else (1.0, *[0.0] * (size - 1))
    found = Yardstick(reference(feature(shares), samples), samples).score(np.array(counts[:size]))
    if sum(counts[:size]) < MIN_SAMPLES:
        assert math.isnan(found)
    else:
        assert -6 < found <= 1


VALUES = np.array([[0.0, 3.0, -4.0, 0.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("Mean", -0.25),
        ("Std", math.sqrt(6.25 - 0.0625)),
        ("Min", -4),
        ("Max", 3),
        ("ZeroShare", 0.5),
        ("Rms", 2.5),
    ],
)
def test_each_statistic_is_what_its_name_says(statistic: str, value: float) -> None:
    wanted = feature(EVEN).model_copy(update={"statistic": Statistic(statistic)})
    assert measure([wanted], VALUES[0]) == [pytest.approx(value)]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float64])
def test_every_type_of_number_is_measured(dtype: type[np.generic]) -> None:
    wanted = [feature(EVEN).model_copy(update={"statistic": found}) for found in Statistic]
    elements = [item.model_copy(update={"element": 1}) for item in wanted]
    assert all(math.isfinite(value) for value in measure(elements, np.ones(4, dtype=dtype)))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_has_a_bin_of_its_own(bad: float) -> None:
    placed = feature(EVEN)
    values = measure([placed], np.array([1.0, bad]))
    assert bin_of(placed, values[0]) == 9
    assert bin_of(placed, -1e308) == 0
    assert bin_of(placed, 1e308) == 8
    assert bin_of(placed, 0.0) == 0


def test_nothing_to_measure_is_no_number() -> None:
    element = feature(EVEN).model_copy(update={"statistic": Statistic.ELEMENT, "element": 9})
    assert math.isnan(measure([element], np.ones(4))[0])
    assert math.isnan(measure([feature(EVEN)], np.ones(0))[0])


def test_one_row_of_a_batch_is_measured_in_turn_and_a_tensor_without_batch_whole() -> None:
    batch = np.arange(12).reshape(3, 4)
    rows = TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 4))
    whole = TensorSpec(name="x", dtype=DataType.FP32, shape=(3, 4))
    assert [row_of(batch, rows, turn)[0] for turn in range(4)] == [0, 4, 8, 0]
    assert row_of(batch, whole, 1) is batch
    assert row_of(np.ones(5), TensorSpec(name="x", dtype=DataType.FP32, shape=(-1,)), 1).size == 5


def test_a_large_tensor_is_thinned_out_evenly() -> None:
    large = np.arange(224 * 224 * 3, dtype=np.float32)
    (mean,) = measure([feature(EVEN)], large)
    assert mean == pytest.approx(large.mean(), rel=0.001)


def test_a_profile_made_from_requests_is_read_back_and_finds_no_drift_in_others_alike() -> None:
    random = np.random.default_rng(5)

    def requests(count: int, scale: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        x = (random.normal(size=(count, 640)) * random.gamma(2, scale, size=(count, 1))).astype(np.float32)
        return x, random.dirichlet([1, 1, 1, 1], count).astype(np.float32)

    x, y = requests(2000)
    made = make_profile({"x": x}, {"y": y}, IO)
    data = made.model_dump_json(by_alias=True, exclude_none=True).encode()
    assert len(data) < MAX_BYTES / 4
    profile = parse_profile(data, IO)
    assert profile == made
    assert [item.name for item in profile.features] == [
        "y.Confidence", "x.Mean", "x.Std", "x.Max", "x.Min", "x.ZeroShare", "x.Rms",
    ]  # fmt: skip

    def score(name: str, scale: float) -> float:
        live = dict(zip(("x", "y"), requests(300, scale), strict=True))
        wanted = next(item for item in profile.features if item.name == name)
        values = [measure([wanted], row)[0] for row in live[wanted.tensor]]
        rod = Yardstick(reference(wanted, profile.samples), profile.samples)
        size = len(wanted.shares)
        return rod.score(np.bincount([bin_of(wanted, value) for value in values], minlength=size))

    for item in profile.features:
        assert abs(score(item.name, 1.0)) < 0.02, item.name
    assert score("x.Std", 2.0) > 0.1
    assert abs(score("y.Confidence", 2.0)) < 0.02


def test_short_rows_are_watched_by_element_and_constant_ones_show_any_change() -> None:
    io = ModelIO(inputs=(TensorSpec(name="x", dtype=DataType.FP32, shape=(-1, 3)),), outputs=IO.outputs)
    x = np.tile(np.array([[5.0, np.nan, 0.0]]), (200, 1))
    profile = make_profile({"x": x}, {"y": np.ones((200, 4))}, io)
    names = [item.name for item in profile.features]
    assert names == ["y.Confidence", "x.Element0", "x.Element1", "x.Element2"]
    constant = profile.features[1]
    assert {bin_of(constant, value) for value in (4.9, 5.0, 5.1)} == {0, 1, 2}
    rod = Yardstick(reference(constant, 200), 200)
    assert abs(rod.score(np.array([0, 500, 0, 0]))) < 0.02
    assert rod.score(np.array([0, 0, 500, 0])) > 0.9
    assert profile.features[2].shares[-1] == 1


@pytest.mark.parametrize("count", [0, 3])
def test_a_profile_of_nothing_or_of_different_numbers_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="the same number of requests"):
        make_profile({"x": np.ones((count, 640))}, {"y": np.ones((0, 4))}, IO)
