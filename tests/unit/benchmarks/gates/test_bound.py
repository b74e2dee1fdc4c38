"""The bound that no gate can pass."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gates.bound import ALPHA, most_found, variation
from benchmarks.gates.cells import FLEETS, Noise, conditions
from benchmarks.gates.traces import generate

HARD = conditions(FLEETS[2], 0.005, 20.0, Noise.HARD)


def test_nothing_is_found_where_nothing_is_worse_but_by_chance() -> None:
    assert most_found(HARD, 1.0001, 60) == pytest.approx(ALPHA, abs=0.01)


def test_more_is_found_by_more_looks_more_canaries_and_more_knowledge() -> None:
    found = most_found(HARD, 2.0, 60)
    assert most_found(HARD, 2.0, 10) < found < most_found(HARD, 2.0, 240)
    assert most_found(replace(HARD, canaries=2), 2.0, 60) < found
    assert found < most_found(HARD, 2.0, 60, rates_known=True)


def test_the_variation_of_a_nodes_rate_is_that_of_the_traces() -> None:
    rough = replace(
        HARD,
        requests=1e5,
        volume_sigma=0.0,
        rate_cv=0.0,
        rate_swing=0.0,
        volume_swing=0.0,
        offline=0.0,
        ticks=40,
    )
    traces = generate(replace(rough, history_ticks=1), 20, (1,))
    rates = traces.bad.sum(0) / traces.total.sum(0) / 0.005
    assert np.var(rates) == pytest.approx(variation(rough, 40), rel=0.1)
