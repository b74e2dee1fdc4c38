"""Shares, intervals and delays."""

import numpy as np
import pytest

from benchmarks.gates import study
from benchmarks.gates.cells import Fleet, Onset, Regression
from benchmarks.gates.figures import (
    Share,
    detection,
    differ,
    false_rollback,
    full_delay,
    promoted,
    wilson,
)
from benchmarks.gates.harness import Result
from benchmarks.gates.peers import at_horizons

NEVER = np.zeros((3, 4), np.int16)


def result(*alarms: int, cleared: tuple[int, ...] = (0, 0, 0, 0)) -> Result:
    """Alarms of four runs; the requests are a hundred for each look."""
    looks = np.array(alarms, np.int16)
    requests = 100 * looks.astype(np.float32)
    return Result(at_horizons(looks), np.array([cleared] * 3, np.int16), requests)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (10, 1000, 0.0054, 0.0183),
        (0, 0, 0, 1),
    ],
)
def test_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of) == pytest.approx((low, high), abs=1e-4)


def test_a_share_is_shown_with_its_interval() -> None:
    assert str(Share(10, 1000)) == "1.0 (0.5-1.8)"


def test_false_rollbacks_count_up_to_the_horizon() -> None:
    found = result(5, 30, 200, 0)
    assert [false_rollback(found, looks).count for looks in (10, 60, 240)] == [1, 2, 3]


def test_a_regression_from_the_start_is_found_or_missed() -> None:
    found = detection(result(5, 30, 200, 0), Regression(2.0), Fleet(100, 5), 60)
    assert (found.found.count, found.found.of) == (2, 4)
    assert found.delay == 17.5
    assert found.exposed == 5 + 0.5 * 95


def test_alarms_before_a_late_regression_are_left_out() -> None:
    found = detection(result(5, 121, 140, 0), Regression(2.0, Onset.MIDDLE), Fleet(12, 1), 240)
    assert (found.found.count, found.found.of) == (2, 3)
    assert found.delay == 10.5
    assert found.requests == 13050


def test_the_delay_of_all_runs_is_infinite_when_most_do_not_find_it() -> None:
    assert full_delay(result(5, 30, 200, 0), Regression(2.0)) == np.inf
    assert full_delay(result(5, 30, 20, 0), Regression(2.0)) == 25
    assert full_delay(result(125, 150, 130, 0), Regression(2.0, Onset.MIDDLE)) == 20


def test_a_slow_regression_counts_by_the_increase_that_is_there() -> None:
    slow = Regression(2.0, Onset.SLOW)
    assert full_delay(result(120, 120, 120, 120), slow) == pytest.approx(120 * (1 / np.log(2) - 1), rel=0.02)
    later = full_delay(result(140, 140, 140, 140), slow)
    assert later == pytest.approx(full_delay(result(120, 120, 120, 120), slow) + 20)


def test_promoted_is_what_reached_the_exposure_before_an_alarm() -> None:
    share, waiting = promoted(result(5, 30, 0, 0, cleared=(0, 20, 40, 0)), 0)
    assert (share.count, share.of) == (2, 3)
    assert (waiting.count, waiting.of) == (1, 4)


def test_shares_differ_when_chance_does_not_explain_it() -> None:
    assert not differ(Share(50, 1000), Share(70, 1000))
    assert differ(Share(50, 1000), Share(90, 1000))
    assert not differ(Share(0, 1000), Share(0, 1000))


def test_the_studys_table_is_read_whole() -> None:
    figures = study.figures()
    assert len(figures) == 13 * (2 + 5 * 3)
    (one,) = [f for f in figures if (f.cell, f.looks, f.ratio) == ("100x5 0.5%/20 hard", 240, 2.0)]
    assert (one.percent, one.delay, one.runs) == (95, 29, 1000)
