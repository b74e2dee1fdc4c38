"""Paired: sequential McNemar on discordant pairs, exact at every look."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.analysis.exposure import needed_exposure
from edgecanary.analysis.paired import needed_pairs, weigh_pairs


def exact(worse: int, better: int) -> float:
    """The mixture's likelihood ratio by expanding the integrand, in fractions."""
    total = sum(
        Fraction((-1) ** j * math.comb(better, j), worse + j + 1) * (1 - Fraction(1, 2 ** (worse + j + 1)))
        for j in range(better + 1)
    )
    return float(2 ** (worse + better + 1) * total)


def value(worse: float, better: float) -> float:
    return float(weigh_pairs(np.asarray(worse), np.asarray(better)).value)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_evidence_is_the_integral_over_all_worse_chances(worse: int, better: int) -> None:
    assert value(worse, better) == pytest.approx(exact(worse, better), rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 300), st.integers(0, 300))
def test_an_equal_canary_gains_nothing_on_average(worse: int, better: int) -> None:
    after = (value(worse + 1, better) + value(worse, better + 1)) / 2
    assert after == pytest.approx(value(worse, better), rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(0, 200))
def test_each_pair_against_the_canary_is_evidence_and_each_for_it_is_not(worse: int, better: int) -> None:
    assert value(worse + 1, better) > value(worse, better) > value(worse, better + 1)


def test_no_pairs_are_no_evidence() -> None:
    found = weigh_pairs(np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(found.value, 1.0)
    np.testing.assert_allclose(found.exposure, 0.0)
    assert np.isinf(found.detectable_ratio).all()


def test_an_equal_canary_is_rarely_rejected_at_any_of_many_looks() -> None:
    random = np.random.Generator(np.random.PCG64(7))
    worse = np.cumsum(random.random((800, 250)) < 0.5, axis=-1).astype(np.float64)
    pairs = np.arange(1.0, 251.0)
    crossed = (weigh_pairs(worse, pairs - worse).value >= 20).any(-1)
    assert crossed.mean() <= 0.05


def test_a_canary_that_loses_two_of_three_pairs_is_found_by_the_needed_pairs() -> None:
    random = np.random.Generator(np.random.PCG64(8))
    pairs = needed_pairs(2.0)
    worse = random.binomial(round(pairs), 2 / 3, 500).astype(np.float64)
    found = weigh_pairs(worse, round(pairs) - worse)
    assert (found.value >= 20).mean() >= 0.8
    assert found.exposure[0] == pytest.approx(needed_exposure(2.0), rel=0.01)
    assert found.detectable_ratio[0] == pytest.approx(2.0, rel=0.01)


def test_millions_of_pairs_stay_finite() -> None:
    found = weigh_pairs(np.array([5e6, 9e6, 0.0]), np.array([5e6, 1e6, 1e7]))
    assert np.isfinite(found.value).all()
    assert found.value[0] < 1
    assert found.value[1] > 1e100


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_what_is_no_count_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="counts of 0 or more"):
        weigh_pairs(np.asarray(bad), np.asarray(3.0))
