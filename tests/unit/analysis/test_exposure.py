"""Exposure: what a declared effect needs, and what is missing."""

import math

import numpy as np
import pytest

from edgecanary.analysis.baseline import learn
from edgecanary.analysis.exposure import detectable_ratio, needed_exposure
from edgecanary.analysis.grid import block_edges
from edgecanary.analysis.negative_binomial import Evidence, weigh
from edgecanary.analysis.outlook import remaining
from tests.unit.analysis.fleets import Traffic, one, one_run, trace


def seen(ticks: int) -> Evidence:
    made = trace(Traffic(nodes=30, canaries=6, history_ticks=192, ticks=80))
    return weigh(learn(one(made.history, 0)), one_run(made.blocks(block_edges(ticks)), 0))


@pytest.mark.parametrize(("ratio", "needed"), [(1.5, 97.3), (2.0, 33.3), (3.0, 13.26)])
def test_a_declared_ratio_needs_sixteen_over_its_squared_logarithm(ratio: float, needed: float) -> None:
    assert needed_exposure(ratio) == pytest.approx(needed, rel=1e-3)
    assert float(detectable_ratio(np.asarray(needed_exposure(ratio)))) == pytest.approx(ratio)


def test_without_exposure_nothing_can_be_detected() -> None:
    assert math.isinf(float(detectable_ratio(np.asarray(0.0))))
    assert np.isfinite(detectable_ratio(np.asarray(1e-12)))


def test_nothing_remains_when_the_exposure_is_reached() -> None:
    found = seen(40)
    left = remaining(learn(one(trace(Traffic()).history, 0)), found, float(found.exposure) * 0.9, 40)
    assert (left.requests, left.bad_events, left.ticks) == (0, 0, 0)


def test_what_remains_comes_near_what_later_counts_show() -> None:
    made = trace(Traffic(nodes=30, canaries=6, history_ticks=192, ticks=80))
    baseline, now, later = learn(one(made.history, 0)), seen(16), seen(64)
    left = remaining(baseline, now, float(later.exposure), 16)
    assert 0.4 * 48 < left.ticks < 2.5 * 48
    assert left.requests == pytest.approx(left.ticks / 16 * float(now.total.sum()))


def test_more_exposure_takes_longer_and_too_much_is_never_reached() -> None:
    baseline = learn(one(trace(Traffic(nodes=30, canaries=6, history_ticks=192, ticks=80)).history, 0))
    found = seen(16)
    needs = [float(found.exposure) * growth for growth in (1.2, 1.5, 2.0)]
    waits = [remaining(baseline, found, need, 16).ticks for need in needs]
    assert waits == sorted(waits)
    assert waits[0] > 0
    assert math.isinf(remaining(baseline, found, 1e9, 16).ticks)


def test_what_the_evidence_doubts_adds_nothing_to_the_exposure() -> None:
    """However much is asked: the first ticks of a node may be its warm-up, so no regression is found by them."""
    busy = trace(Traffic(nodes=30, canaries=6, requests=2000, rate=0.05, history_ticks=192, ticks=24))
    baseline = learn(one(busy.history, 0))

    def after(ticks: int) -> Evidence:
        return weigh(baseline, one_run(busy.blocks(block_edges(ticks)), 0))

    for ticks in (1, 2, 3, 4):
        early = after(ticks)
        assert float(early.exposure) == 0.0
        left = remaining(baseline, early, needed_exposure(3.0), ticks)
        assert 4.0 - ticks < left.ticks < 24
    assert float(after(8).exposure) >= needed_exposure(3.0)


def test_nothing_is_cleared_before_it_could_be_found() -> None:
    """A revision three times worse is never cleared in a look before the one that finds it."""
    busy = trace(Traffic(nodes=30, canaries=6, requests=500, rate=0.05, history_ticks=192, ticks=24))
    baseline, needed = learn(one(busy.history, 0)), needed_exposure(3.0)
    for ticks in range(1, 25):
        found = weigh(baseline, one_run(busy.blocks(block_edges(ticks), 3.0), 0))
        if float(found.value) >= 20:
            return
        assert float(found.exposure) < needed
    raise AssertionError("the regression was never found")


def test_without_requests_the_rest_takes_for_ever() -> None:
    made = trace(Traffic(canaries=0))
    baseline = learn(one(made.history, 0))
    nothing = weigh(baseline, one_run(made.blocks(block_edges(20)), 0))
    assert math.isinf(remaining(baseline, nothing, 10.0, 20).requests)
