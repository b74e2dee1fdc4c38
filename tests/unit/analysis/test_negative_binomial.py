"""NegativeBinomial: the evidence equals its formulas, and keeps what is promised when data are thin or odd."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.analysis.baseline import learn
from edgecanary.analysis.counts import Blocks, History
from edgecanary.analysis.grid import block_edges
from edgecanary.analysis.negative_binomial import (
    AS_WRITTEN,
    PRODUCT,
    Evidence,
    Settings,
    expect,
    judge,
    weigh,
)
from edgecanary.analysis.settings import restart_weight
from tests.unit.analysis.fleets import Trace, Traffic, one, one_run, trace
from tests.unit.analysis.plain_gate import PlainFleet, gate

BOTH = pytest.mark.parametrize("weighing", [AS_WRITTEN, PRODUCT], ids=["as written", "product"])
LIMIT = 20.0


def plain(made: Trace, run: int, ticks: int) -> PlainFleet:
    history, canaries = one(made.history, run), made.traffic.canaries
    return PlainFleet(
        history.total.tolist(),
        history.bad.tolist(),
        history.ticks_total.tolist(),
        history.ticks_bad.tolist(),
        made.total[run, :, :ticks].sum(-1).tolist(),
        made.bad[run, :, :ticks].sum(-1).tolist(),
        (made.total[run, :, :ticks] > 0).sum(-1).tolist(),
        frozenset(range(canaries)),
        ticks,
    )


def evidence(made: Trace, edges: tuple[float, ...], weighing: Settings, ratio: float = 1.0) -> Evidence:
    return weigh(learn(made.history), made.blocks(edges, ratio), weighing)


def first_alarm(made: Trace, weighing: Settings, ratio: float = 1.0, begin: int = 0) -> list[int]:
    """The first tick of each run at which the evidence crosses the limit; 0 is never."""
    baseline, alarm = learn(made.history), np.zeros(made.traffic.runs, np.int64)
    for tick in range(1, made.traffic.ticks + 1):
        found = weigh(baseline, made.blocks(block_edges(tick), ratio, begin), weighing)
        alarm = np.where((alarm == 0) & (found.value >= LIMIT), tick, alarm)
    return [int(tick) for tick in alarm]


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(runs=3, nodes=12, canaries=1),
        Traffic(runs=3, nodes=12, canaries=3, offline=0.4),
        Traffic(runs=3, nodes=30, canaries=8, rate=0.002, requests=20.0, history_ticks=51),
    ],
    ids=["one canary", "often offline", "many canaries, few events"],
)
@pytest.mark.parametrize("ticks", [1, 7, 40])
def test_one_block_as_written_equals_the_formulas_in_plain_python(traffic: Traffic, ticks: int) -> None:
    made = trace(traffic)
    found = evidence(made, (0.0, float(ticks)), AS_WRITTEN)
    for run in range(traffic.runs):
        value, exposure = gate(plain(made, run, ticks))
        assert found.value[run] == pytest.approx(value, rel=1e-6)
        assert found.exposure[run] == pytest.approx(exposure, rel=1e-9)


@BOTH
def test_many_fleets_at_once_are_judged_as_each_alone(weighing: Settings) -> None:
    made = trace(Traffic(runs=4))
    blocks = made.blocks(block_edges(40))
    together = weigh(learn(made.history), blocks, weighing)
    for run in range(4):
        alone = weigh(learn(one(made.history, run)), one_run(blocks, run), weighing)
        assert alone.value == pytest.approx(together.value[run], rel=1e-9)
        np.testing.assert_allclose(alone.expected, together.expected[run])


@BOTH
def test_the_order_of_nodes_does_not_matter(weighing: Settings) -> None:
    made = trace(Traffic())
    order = np.random.Generator(np.random.PCG64(5)).permutation(12)
    history, blocks = made.history, made.blocks(block_edges(40), ratio=2.0)
    shuffled = History(
        history.total[:, order],
        history.bad[:, order],
        history.sample,
        history.ticks_total[:, order],
        history.ticks_bad[:, order],
    )
    turned = replace(
        blocks,
        canary=blocks.canary[:, order],
        total=blocks.total[:, order],
        bad=blocks.bad[:, order],
        active=blocks.active[:, order],
    )
    straight = weigh(learn(history), blocks, weighing)
    other = weigh(learn(shuffled), turned, weighing)
    np.testing.assert_allclose(other.value, straight.value, rtol=1e-9)
    np.testing.assert_allclose(other.contribution, straight.contribution[:, order])


def test_blocks_in_which_no_node_changes_sides_count_as_one() -> None:
    made = trace(Traffic(runs=2))
    whole = evidence(made, (0.0, 40.0), AS_WRITTEN)
    parts = evidence(made, block_edges(40), AS_WRITTEN)
    np.testing.assert_allclose(parts.value, whole.value)
    np.testing.assert_allclose(parts.exposure, whole.exposure)


@BOTH
def test_more_bad_events_of_the_canary_are_more_evidence(weighing: Settings) -> None:
    made = trace(Traffic(runs=3))
    values = [evidence(made, block_edges(40), weighing, ratio).value for ratio in (1.0, 1.5, 2.0, 3.0)]
    assert all((later > earlier).all() for earlier, later in pairwise(values))


def test_expectations_know_nothing_of_the_canarys_answers() -> None:
    made = trace(Traffic(runs=2))
    good, bad = made.blocks(block_edges(30)), made.blocks(block_edges(30), ratio=3.0)
    baseline = learn(made.history)
    expected = expect(baseline, good)
    np.testing.assert_allclose(judge(expected, bad.bad[:, :3]), weigh(baseline, bad).value)
    np.testing.assert_allclose(
        judge(expected.of(np.array([1])), bad.bad[1:, :3]), weigh(baseline, bad).value[1:]
    )


@BOTH
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_thin_and_odd_counts_give_finite_evidence(weighing: Settings, data: st.DataObject) -> None:
    nodes, count = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    ticks = data.draw(st.sampled_from([0, 1, 2, 5, 16]))

    def counts(*shape: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], ...]:
        size = int(np.prod(shape))
        total = data.draw(st.lists(st.sampled_from([0.0, 1.0, 3.0, 1e6]), min_size=size, max_size=size))
        share = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=size, max_size=size))
        made = np.array(total).reshape(shape)
        return made, np.floor(made * np.array(share).reshape(shape))

    ticks_total, ticks_bad = counts(nodes, ticks)
    history = History(ticks_total.sum(-1), ticks_bad.sum(-1), np.arange(nodes), ticks_total, ticks_bad)
    total, bad = counts(nodes, count)
    flags = data.draw(st.lists(st.booleans(), min_size=nodes * count, max_size=nodes * count))
    canary = np.array(flags, np.bool_).reshape(nodes, count)
    blocks = Blocks(np.full(count, 4.0), canary, total, bad, np.minimum(total, 4.0))
    found = weigh(learn(history), blocks, weighing)
    for figure in (found.value, found.exposure, found.expected, found.contribution, found.dispersion):
        assert np.isfinite(figure).all()
    assert (found.exposure >= 0).all()


def test_without_any_canary_there_is_no_evidence_and_no_exposure() -> None:
    made = trace(Traffic(canaries=0))
    found = evidence(made, block_edges(20), PRODUCT)
    assert found.value[0] < 2.0 * PRODUCT.whole + PRODUCT.restarted
    assert found.exposure[0] == 0
    assert np.isinf(found.detectable_ratio[0])
    assert found.canary_nodes[0] == 0


def test_without_history_nodes_are_compared_with_each_other() -> None:
    made = trace(Traffic(runs=2, nodes=30, canaries=6, rate=0.05))
    none = np.zeros((2, 30))
    history = History(none, none, np.arange(30), np.zeros((2, 30, 8)), np.zeros((2, 30, 8)))
    baseline = learn(history)
    assert not baseline.learned.any()
    good = weigh(baseline, made.blocks(block_edges(40)))
    bad = weigh(baseline, made.blocks(block_edges(40), ratio=8.0))
    assert (good.value < 5).all()
    assert (bad.value > LIMIT).all()


def test_a_node_without_history_is_expected_to_be_as_the_fleet() -> None:
    made = trace(Traffic())
    history = made.history
    history.total[0, 0] = history.bad[0, 0] = 0.0
    baseline = learn(history)
    assert baseline.node_rate[0, 0] == pytest.approx(baseline.rate[0])
    assert baseline.node_shape[0, 0] == pytest.approx(baseline.shape[0])


def test_a_fleet_of_one_is_compared_with_its_own_past() -> None:
    made = trace(
        Traffic(runs=3, nodes=1, canaries=1, rate=0.05, requests=500.0, offline=0.0, history_ticks=96)
    )
    good, bad = evidence(made, block_edges(40), PRODUCT), evidence(made, block_edges(40), PRODUCT, 4.0)
    assert (good.value < LIMIT).all()
    assert (bad.value > LIMIT).all()
    assert (bad.expected > 0).all()
    assert (bad.control_nodes == 0).all()


def test_when_all_nodes_are_canary_the_exposure_stays_that_of_the_blocks_with_stable_nodes() -> None:
    made = trace(Traffic(ticks=60))
    edges = (0.0, 4.0, 16.0, 32.0, 48.0, 60.0)
    blocks = made.blocks(edges)
    everybody = blocks.canary.copy()
    everybody[..., 3:] = True
    baseline = learn(made.history)
    found = weigh(baseline, replace(blocks, canary=everybody))
    before = weigh(baseline, made.blocks(edges[:4]))
    assert found.exposure[0] <= before.exposure[0] * 1.5
    worse = replace(blocks, canary=everybody, bad=np.where(everybody, blocks.bad * 8, blocks.bad))
    worse.bad[..., :3] = blocks.bad[..., :3]
    assert weigh(baseline, worse).value[0] > LIMIT


def test_a_long_warm_up_does_not_reject_a_good_model() -> None:
    made = trace(Traffic(runs=40, canaries=3, rate=0.05, requests=300.0, ticks=40), seed=3)
    made.bad[:, :3, :3] = np.minimum(made.bad[:, :3, :3] * 3, made.total[:, :3, :3])
    assert sum(tick > 0 for tick in first_alarm(made, AS_WRITTEN)) > 10
    assert sum(tick > 0 for tick in first_alarm(made, PRODUCT)) <= 3


def test_a_disaster_is_found_in_the_doubted_ticks_too() -> None:
    made = trace(Traffic(runs=10, rate=0.01, requests=500.0, ticks=4))
    assert all(0 < tick <= 3 for tick in first_alarm(made, PRODUCT, ratio=20.0))


def test_a_late_regression_is_found_sooner_than_by_all_counts_together() -> None:
    made = trace(Traffic(runs=30, rate=0.05, requests=300.0, ticks=90), seed=2)
    plain_ones = [tick or 999 for tick in first_alarm(made, AS_WRITTEN, ratio=2.0, begin=50)]
    restarted = [tick or 999 for tick in first_alarm(made, PRODUCT, ratio=2.0, begin=50)]
    assert np.median(restarted) - 50 <= 0.6 * (np.median(plain_ones) - 50)


def test_good_models_are_seldom_rejected_and_three_times_worse_ones_are_found() -> None:
    made = trace(Traffic(runs=120, ticks=32), seed=11)
    assert np.mean([tick > 0 for tick in first_alarm(made, PRODUCT)]) <= 0.06
    assert np.mean([tick > 0 for tick in first_alarm(made, PRODUCT, ratio=3.0)]) >= 0.95


def test_a_single_stable_node_is_not_taken_for_more_than_it_is() -> None:
    made = trace(
        Traffic(runs=100, nodes=3, canaries=2, rate=0.05, requests=300.0, burst=0.5, ticks=32), seed=12
    )
    coarse = replace(PRODUCT, most_shared=float("inf"))
    assert np.mean([tick > 0 for tick in first_alarm(made, PRODUCT)]) <= 0.05
    worse, baseline = made.blocks(block_edges(32), ratio=2.0), learn(made.history)
    assert np.median(weigh(baseline, worse).value) < 0.7 * np.median(weigh(baseline, worse, coarse).value)
    assert np.mean([tick > 0 for tick in first_alarm(made, PRODUCT, ratio=4.0)]) >= 0.9


def test_the_weights_of_restarts_add_up_to_no_more_than_one() -> None:
    shares = [restart_weight(float(tick)) for tick in range(1 << 16)]
    assert all(share >= 0 for share in shares)
    assert 0.5 < sum(shares) <= 1.0
    assert restart_weight(4.5) == 0
    assert restart_weight(2.0) == 0
