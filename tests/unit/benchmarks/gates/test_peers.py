"""The peers on data made by hand."""

import numpy as np
import pytest

from benchmarks.gates import peers
from benchmarks.gates.peers import Groups, RankSums, first, is_high, rank_z

RNG = np.random.Generator(np.random.PCG64(5))


def groups(total: object, bad: object, stable_total: object, stable_bad: object) -> Groups:
    """One run; each argument has a value for each tick."""
    canary, stable = (
        tuple(np.asarray(values, np.float64)[:, None] for values in pair)
        for pair in ((total, bad), (stable_total, stable_bad))
    )
    return Groups((canary[0], canary[1]), (stable[0], stable[1]), (stable[0], stable[1]), np.array([0.01]))


def test_a_fixed_threshold_fires_when_it_is_exceeded_for_the_third_time() -> None:
    found = groups([100] * 6, [3, 0, 2, 3, 0, 3], [100] * 6, [1] * 6)
    assert peers.fixed_threshold(found).tolist() == [[6], [6], [6]]
    found = groups([100] * 6, [3, 0, 2, 3, 0, 2], [100] * 6, [1] * 6)
    assert peers.fixed_threshold(found).tolist() == [[0], [0], [0]]


def test_a_threshold_of_twice_the_usual_rate_looks_at_the_history() -> None:
    found = groups([1000] * 3, [21, 25, 30], [1000] * 3, [10] * 3)
    assert peers.usual_threshold(found).tolist() == [[3], [3], [3]]
    found = groups([1000] * 3, [21, 25, 20], [1000] * 3, [10] * 3)
    assert peers.usual_threshold(found).tolist() == [[0], [0], [0]]


def test_a_tick_without_requests_exceeds_nothing() -> None:
    found = groups([0] * 12, [0] * 12, [100] * 12, [1] * 12)
    for judge in peers.PEERS.values():
        assert judge(found).tolist() == [[0], [0], [0]]


def test_the_z_test_looks_at_all_events_since_the_switch() -> None:
    # 60 of 1000 against 40 of 1000: z = 2.05; 50 of 1000: z = 1.08.
    assert peers.z_test(groups([1000], [60], [1000], [40])).tolist() == [[1], [1], [1]]
    assert peers.z_test(groups([1000], [50], [1000], [40])).tolist() == [[0], [0], [0]]
    assert peers.z_test(groups([500, 500], [20, 40], [500, 500], [20, 20])).tolist() == [[2], [2], [2]]


def test_a_better_canary_is_never_taken_back() -> None:
    worse = [30 + tick % 5 for tick in range(60)]
    found = groups([1000] * 60, [5] * 60, [1000] * 60, worse)
    for judge in (peers.z_test, peers.rank_test, peers.kayenta_judge):
        assert not judge(found).any()


def test_growing_rank_sums_are_those_of_the_samples_so_far() -> None:
    one = RNG.integers(0, 6, (15, 3)).astype(float)
    other = RNG.integers(0, 5, (15, 3)).astype(float)
    one[4, 0] = other[7, 1] = np.nan
    z = RankSums(one, other).z()
    for tick in (3, 8, 14):
        for run in range(3):
            mine, theirs = one[: tick + 1, run], other[: tick + 1, run]
            expected = rank_z(mine[~np.isnan(mine)], theirs[~np.isnan(theirs)])
            assert z[tick, run] == pytest.approx(expected)


def test_the_rank_statistic_without_ties() -> None:
    # U = 9 of 9 pairs: (9 - 4.5 - 0.5) / sqrt(9 * 7 / 12).
    assert rank_z(np.array([4.0, 5, 6]), np.array([1.0, 2, 3])) == pytest.approx(4 / np.sqrt(5.25))


@pytest.mark.parametrize(("high", "verdict"), [(7, False), (8, True)])
def test_the_judge_agrees_with_the_case_reported_by_its_users(high: int, verdict: bool) -> None:
    canary = np.array([100.0] * high + [1.0] * (10 - high))
    assert is_high(canary, np.ones(10)) is verdict


def test_the_tolerance_band_spares_a_shift_that_is_not_clearly_above_it() -> None:
    baseline = np.linspace(0, 10, 50)
    assert rank_z(baseline + 1.6, baseline) > peers.Z_98_PERCENT
    assert not is_high(baseline + 1.6, baseline)
    assert is_high(baseline + 4, baseline)


def test_the_judge_judges_three_times_in_a_life() -> None:
    bad = [0] * 20 + [90] * 40
    found = groups([1000] * 60, bad, [1000] * 60, [10 + tick % 3 for tick in range(60)])
    short, middle, long = peers.kayenta_judge(found)[:, 0]
    assert (short, middle) == (0, 60), "at tick 40 as many were better as worse"
    assert long == 0, "the third of 240 is at tick 80, and there are 60"


def test_the_first_look_is_number_one_and_never_is_zero() -> None:
    flags = np.array([[False, True, False], [True, True, False]])
    assert first(flags).tolist() == [2, 1, 0]
    assert peers.at_horizons(np.array([10, 11, 0], np.int16)).tolist() == [
        [10, 0, 0],
        [10, 11, 0],
        [10, 11, 0],
    ]
