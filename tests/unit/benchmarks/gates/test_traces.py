"""The traces have the moments that their conditions say."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gates.cells import Onset, Regression, Scope, regressed, strength
from benchmarks.gates.traces import TICKS_PER_DAY, Conditions, Feed, Traces, generate

QUIET = Conditions(
    nodes=40,
    canaries=4,
    rate=0.05,
    requests=200.0,
    volume_sigma=0.0,
    rate_swing=0.0,
    volume_swing=0.0,
    offline=0.0,
    history_ticks=96,
    ticks=48,
)


def traces(runs: int = 20, **changes: float) -> Traces:
    return generate(replace(QUIET, **changes), runs, (7,))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_traces() -> None:
    rough = replace(QUIET, rate_cv=1.0, drift_sd=0.2, burst_cv2=0.5, offline=0.05)
    one, same, other = (generate(rough, 3, (seed,)) for seed in (1, 1, 2))
    assert np.array_equal(one.bad, same.bad)
    assert np.array_equal(one.history.ticks_bad, same.history.ticks_bad)
    assert not np.array_equal(one.bad, other.bad)


def test_a_regression_is_the_same_for_the_same_trace() -> None:
    trace = traces(runs=3)
    worse = Regression(2.0)
    assert np.array_equal(regressed(trace, worse), regressed(trace, worse))


def test_quiet_traces_have_the_rate_and_the_requests() -> None:
    trace = traces()
    assert trace.total.mean() == pytest.approx(200, rel=0.001)
    assert trace.bad.sum() / trace.total.sum() == pytest.approx(0.05, rel=0.01)
    excess = trace.bad.var() / (200 * 0.05 * 0.95)
    assert excess == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("cv", [0.5, 1.0])
def test_nodes_rates_have_the_coefficient_of_variation(cv: float) -> None:
    rates = traces(runs=100, rate_cv=cv).history
    found = rates.bad / rates.total
    assert found.mean() == pytest.approx(0.05, rel=0.1)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.1)


def test_volumes_are_lognormal_with_the_mean() -> None:
    total = traces(runs=200, volume_sigma=0.7).history.total / 96
    assert total.mean() == pytest.approx(200, rel=0.05)
    assert np.log(total).std() == pytest.approx(0.7, rel=0.05)


def test_the_diurnal_swing_is_shared_by_the_nodes_of_a_run() -> None:
    trace = traces(runs=10, volume_swing=0.4)
    day = trace.history.ticks_total[:, :, :TICKS_PER_DAY]
    assert day.shape[-1] == TICKS_PER_DAY
    assert day.max() == pytest.approx(280, rel=0.01)
    assert day.min() == pytest.approx(120, rel=0.02)
    assert (np.ptp(day, axis=1) <= 1).all()
    assert np.ptp(day[:, 0, 0]) > 20


def test_the_drift_of_a_node_has_its_size_and_memory() -> None:
    trace = traces(runs=100, drift_sd=0.2, drift_phi=0.9, requests=50000.0)
    drift = np.log(trace.bad / trace.total)
    deviation = drift - drift.mean((0, 1, 2))
    assert deviation.std() == pytest.approx(0.2, rel=0.05)
    memory = (deviation[1:] * deviation[:-1]).mean() / deviation.var()
    assert memory == pytest.approx(0.9, rel=0.05)


def test_bursts_are_new_in_every_tick() -> None:
    trace = traces(runs=50, burst_cv2=0.5, requests=50000.0)
    rates = trace.bad / trace.total / 0.05 - 1
    assert rates.var() == pytest.approx(0.5, rel=0.05)
    assert abs((rates[1:] * rates[:-1]).mean()) < 0.02


def test_nodes_are_offline_in_stretches() -> None:
    trace = traces(runs=50, offline=0.3, offline_ticks=12)
    offline = trace.total == 0
    assert offline.mean() == pytest.approx(0.3, abs=0.03)
    turns = (offline[1:] != offline[:-1]).mean()
    assert turns == pytest.approx(2 * 0.3 * 0.7 / 12, rel=0.15)


def test_a_shock_hits_all_nodes_and_a_warm_up_the_canaries() -> None:
    trace = traces(shock_ratio=3.0, shock_tick=10, warmup_ratio=2.0, warmup_ticks=3)
    rates = trace.bad.sum(1) / trace.total.sum(1) / 0.05
    assert rates[:3, :4].mean() == pytest.approx(2, rel=0.05)
    assert rates[:3, 4:].mean() == pytest.approx(1, rel=0.05)
    assert rates[3:10].mean() == pytest.approx(1, rel=0.05)
    assert rates[10:].mean() == pytest.approx(3, rel=0.02)


def test_a_regression_multiplies_the_canaries_rate() -> None:
    trace = traces()
    for ratio in (1.25, 2.0, 10.0):
        worse = regressed(trace, Regression(ratio))
        assert worse.sum() / trace.total[:, :, :4].sum() == pytest.approx(0.05 * ratio, rel=0.03)
        assert (worse >= trace.bad[:, :, :4]).all()
        assert (worse <= trace.total[:, :, :4]).all()


def test_a_late_regression_leaves_the_time_before_it_alone() -> None:
    trace = traces()
    worse = regressed(trace, Regression(3.0, Onset.MIDDLE))
    assert np.array_equal(worse[:24], trace.bad[:24, :, :4])
    assert worse[24:].sum() > 2.5 * trace.bad[24:, :, :4].sum()


def test_a_slow_regression_grows_by_the_same_factor_until_the_middle() -> None:
    grown = strength(Regression(4.0, Onset.SLOW), 48)
    assert grown[11] == pytest.approx(2)
    assert grown[23:] == pytest.approx(4)
    assert np.diff(np.log(grown[:24])) == pytest.approx(np.log(4) / 24)


def test_a_regression_of_one_class_has_a_third_of_the_canaries() -> None:
    trace = traces()
    worse = regressed(trace, Regression(3.0, Onset.START, Scope.CLASS))
    assert np.array_equal(worse[:, :, 1:], trace.bad[:, :, 1:4])
    assert worse[:, :, 0].sum() > 2 * trace.bad[:, :, 0].sum()


def test_blocks_are_the_sums_between_the_edges() -> None:
    trace = traces(runs=2, offline=0.3)
    blocks = Feed.of(trace).blocks((0, 5, 48))
    assert blocks.ticks.tolist() == [5, 43]
    assert np.array_equal(blocks.total[..., 0], trace.total[:5].sum(0))
    assert np.array_equal(blocks.bad[..., 1], trace.bad[5:].sum(0))
    assert np.array_equal(blocks.active.sum(-1), (trace.total > 0).sum(0))
    assert blocks.canary[:, :4].all()
    assert not blocks.canary[:, 4:].any()
