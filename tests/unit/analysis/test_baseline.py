"""The baseline: what a node's rate is taken to be, and how much counts vary."""

import numpy as np
import pytest

from edgecanary.analysis.baseline import exact_moments, learn, moments
from edgecanary.analysis.counts import History
from tests.unit.analysis.fleets import Traffic, one, trace
from tests.unit.analysis.plain_gate import PlainFleet, history_variance, prior


def plain(history: History) -> PlainFleet:
    return PlainFleet(
        history.total.tolist(),
        history.bad.tolist(),
        history.ticks_total.tolist(),
        history.ticks_bad.tolist(),
        total=(),
        bad=(),
        online=(),
        canaries=frozenset(),
        ticks=1,
    )


@pytest.mark.parametrize("ticks", [2, 51, 64])
def test_rates_and_variation_equal_the_formulas_in_plain_python(ticks: int) -> None:
    history = one(trace(Traffic(history_ticks=ticks)).history, 0)
    found, fleet = learn(history), plain(history)
    known = prior(fleet)
    np.testing.assert_allclose(found.node_rate, known.rate)
    np.testing.assert_allclose(found.node_shape, known.a)
    table = np.array(history_variance(fleet, known))
    np.testing.assert_allclose(found.around.variance, table[:, 0], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found.around.information, table[:, 1], rtol=1e-7)
    np.testing.assert_allclose(found.around.pilot, table[:, 2], rtol=1e-7)


def test_bursts_of_single_ticks_are_learned_and_fade_with_longer_windows() -> None:
    found = learn(
        trace(Traffic(runs=40, nodes=20, rate=0.1, requests=500.0, burst=0.5, history_ticks=128)).history
    )
    means = found.around.variance.mean(0)
    assert means[0] == pytest.approx(0.5, rel=0.1)
    assert means[4] == pytest.approx(0.5 / 16 + 0.5 / 112, rel=0.2)


def test_nodes_that_drift_vary_more_ahead_of_what_is_known_than_inside_of_it() -> None:
    made = trace(
        Traffic(runs=60, nodes=12, rate=0.05, requests=1000.0, burst=0.0, offline=0.0, history_ticks=128)
    )
    random = np.random.Generator(np.random.PCG64(4))
    walk = np.exp(np.cumsum(random.normal(0, 0.05, made.history.ticks_total.shape), axis=-1))
    bad = random.poisson(made.history.ticks_total * 0.02 * walk).astype(np.float64)
    history = History(made.history.total, bad.sum(-1), made.history.sample, made.history.ticks_total, bad)
    found = learn(history)
    assert found.ahead.variance[:, 3].mean() > 1.15 * found.around.variance[:, 3].mean()


def test_a_factor_that_moves_all_nodes_is_learned_apart_from_the_nodes_own_variation() -> None:
    made = trace(
        Traffic(runs=40, nodes=20, burst=0.0, offline=0.0, rate=0.05, requests=1000.0, history_ticks=96)
    )
    random = np.random.Generator(np.random.PCG64(4))
    total = made.history.ticks_total
    factor = random.gamma(10.0, 0.1, (40, 1, 96))
    bad = random.poisson(total * 0.05 * factor).astype(np.float64)
    found = learn(History(made.history.total, bad.sum(-1), made.history.sample, total, bad))
    assert found.common.variance[:, 0].mean() == pytest.approx(0.1, rel=0.25)
    assert abs(found.around.variance[:, 0].mean()) < 0.01


def test_variation_is_interpolated_in_the_logarithm_and_clamped_at_the_ends() -> None:
    found = learn(one(trace(Traffic()).history, 0))
    table = found.around.variance
    assert float(found.over(found.around, 1.0).variance) == pytest.approx(table[0])
    assert float(found.over(found.around, 2**1.5).variance) == pytest.approx((table[1] + table[2]) / 2)
    assert float(found.over(found.around, 1e6).variance) == pytest.approx(table[-1])
    assert float(found.over(found.around, 0.1).variance) == pytest.approx(table[0])
    np.testing.assert_allclose(found.variance_over(found.around, np.array([1.0, 4.0])), table[[0, 2]])


def test_what_the_common_factor_takes_is_counted_for_nodes_of_unlike_volume() -> None:
    random = np.random.Generator(np.random.PCG64(6))
    mean = np.broadcast_to(np.array([1e6, 5e6, 2e7])[:, None], (3, 20_000))
    factor = random.normal(0.0, 0.1, mean.shape)
    taken = (mean * factor).sum(0) / mean.sum(0)
    bad, shape, pilot = mean * (1 + factor - taken), np.full_like(mean, 1e12), np.full_like(mean, 0.01)
    exact = exact_moments(bad, mean, shape, pilot, 0)
    plain = moments(bad, mean, shape, pilot, 0)
    assert exact[0].sum() / exact[1].sum() == pytest.approx(0.01, rel=0.03)
    assert plain[0].sum() / plain[1].sum() != pytest.approx(0.01, rel=0.03)


def test_each_fleet_of_a_batch_is_learned_as_if_alone() -> None:
    history = trace(Traffic(runs=3)).history
    together, alone = learn(history), learn(one(history, 2))
    np.testing.assert_allclose(together.node_rate[2], alone.node_rate)
    np.testing.assert_allclose(together.ahead.variance[2], alone.ahead.variance)


def test_the_variation_may_be_learned_from_a_sample_of_the_nodes() -> None:
    history = trace(Traffic(nodes=20)).history
    few = np.arange(5, 15)
    sampled = History(history.total, history.bad, few, history.ticks_total[:, few], history.ticks_bad[:, few])
    found, whole = learn(sampled), learn(history)
    np.testing.assert_allclose(found.node_rate, whole.node_rate)
    assert found.around.variance[0, 0] != whole.around.variance[0, 0]
    assert np.isfinite(found.around.variance).all()


@pytest.mark.parametrize("ticks", [0, 1])
def test_a_history_too_short_for_windows_knows_no_variation(ticks: int) -> None:
    empty = np.zeros((3, ticks))
    found = learn(History(np.zeros(3), np.zeros(3), np.arange(3), empty, empty))
    assert found.windows.size == 0
    assert float(found.over(found.around, 5.0).variance) == 0
    assert float(found.over(found.around, 5.0).information) == 0
    assert not bool(found.learned)


def test_nodes_without_events_do_not_disturb_the_others() -> None:
    history = one(trace(Traffic()).history, 0)
    history.ticks_total[3] = history.ticks_bad[3] = 0.0
    history.total[3] = history.bad[3] = 0.0
    found = learn(history)
    assert np.isfinite(found.around.variance).all()
    assert found.node_rate[3] == pytest.approx(float(found.rate))
