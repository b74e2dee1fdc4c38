"""What a plan expects to know at a time: by the nodes' history, or by the one assumption."""

from collections.abc import Sequence

import numpy as np
import pytest

from edgecanary.analysis.baseline import learn
from edgecanary.analysis.counts import Floats, History
from edgecanary.analysis.grid import EARLY_TICKS, block_edges
from edgecanary.analysis.negative_binomial import weigh
from edgecanary.analysis.prospect import (
    ASSUMED_VARIANCE,
    Grid,
    Learned,
    Prospect,
    assume,
    assumed_baseline,
    foresee,
    learn_fleet,
    planned_exposure,
)
from tests.unit.analysis.fleets import Trace, Traffic, one, one_run, trace

FLEET = assumed_baseline(100, rate=0.01)
REQUESTS = np.full(100, 20.0)
TICK = 300.0


def first(canaries: int, nodes: int = 100) -> Floats:
    """The first nodes take the canary at once, the others never."""
    return np.where(np.arange(nodes) < canaries, 0.0, np.inf)


def names(number: int) -> tuple[str, ...]:
    return tuple(f"n{place:03}" for place in range(number))


def learned(made: Trace) -> Learned:
    found = learn_fleet(names(made.traffic.nodes), one(made.history, 0), TICK)
    assert found is not None
    return found


def foreseen(made: Trace, fleet: Sequence[str] | None = None) -> Prospect:
    """The prospect of the fleet that goes on as it did."""
    known = learned(made)
    return foresee(fleet or known.nodes, known, float(known.requests.mean()) / TICK)


def test_an_assumed_plan_equals_its_formula() -> None:
    mean, dispersion = 0.01 * 20 * 10, ASSUMED_VARIANCE + 0.25
    own = 5 * mean / (1 + dispersion * mean)
    uncertainty = 1 / (95 * mean + 2) + dispersion / 95
    found = float(planned_exposure(FLEET, REQUESTS, first(5), 10.0))
    assert found == pytest.approx(1 / (1 / own + uncertainty))


def test_a_plan_reaches_more_with_time_canaries_and_controls() -> None:
    by_time = [float(planned_exposure(FLEET, REQUESTS, first(5), at)) for at in (1.0, 10.0, 100.0)]
    assert by_time == sorted(set(by_time))
    assert planned_exposure(FLEET, REQUESTS, first(20), 10.0) > by_time[1]
    fewer = assumed_baseline(10, rate=0.01)
    assert planned_exposure(fewer, REQUESTS[:10], first(5)[:10], 10.0) < by_time[1]


def test_a_longer_history_to_come_makes_a_plan_surer() -> None:
    surer = assumed_baseline(100, rate=0.01, history_bad=100.0)
    assert planned_exposure(surer, REQUESTS, first(5), 10.0) > planned_exposure(
        FLEET, REQUESTS, first(5), 10.0
    )


def test_the_warm_up_does_not_count() -> None:
    plain, warmed = (
        float(planned_exposure(FLEET, REQUESTS, first(5), 10.0, warmup)) for warmup in (0.0, 4.0)
    )
    assert 0 < warmed < plain
    assert planned_exposure(FLEET, REQUESTS, first(5), 10.0, 10.0) == 0


def test_nodes_that_switch_later_count_from_then_on_and_for_the_stable_revision_before() -> None:
    later = first(5).copy()
    later[5:20] = 6.0
    alone, both = (float(planned_exposure(FLEET, REQUESTS, switch, 10.0)) for switch in (first(5), later))
    all_at_once = float(planned_exposure(FLEET, REQUESTS, first(20), 10.0))
    assert alone < both < all_at_once
    assert planned_exposure(FLEET, REQUESTS, later, 6.0) == planned_exposure(FLEET, REQUESTS, first(5), 6.0)


def test_time_without_stable_nodes_adds_nothing() -> None:
    everybody = np.where(np.arange(100) < 5, 0.0, 10.0)
    at_switch, long_after = (planned_exposure(FLEET, REQUESTS, everybody, at) for at in (10.0, 1000.0))
    assert float(at_switch) == float(long_after) > 0
    assert planned_exposure(FLEET, REQUESTS, np.zeros(100), 100.0) == 0


@pytest.mark.parametrize("burst", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize(("nodes", "canaries", "requests"), [(30, 6, 100.0), (12, 1, 100.0), (100, 5, 30.0)])
def test_what_is_foreseen_comes_near_what_the_gate_will_find(
    nodes: int, canaries: int, requests: float, burst: float
) -> None:
    traffic = Traffic(
        nodes=nodes, canaries=canaries, requests=requests, burst=burst, history_ticks=192, ticks=64
    )
    made = trace(traffic)
    exposure = foreseen(made).exposure([(names(nodes)[:canaries], 0.0)], 0.0)
    baseline = learn(one(made.history, 0))
    assert exposure(4 * TICK) == 0
    for ticks in (8, 16, 64):
        found = float(weigh(baseline, one_run(made.blocks(block_edges(ticks)), 0)).exposure)
        assert exposure(ticks * TICK) == pytest.approx(found, rel=0.35)


def test_a_node_that_is_asked_more_is_expected_to_tell_more() -> None:
    known = learned(trace(Traffic(nodes=30, history_ticks=192)))
    volume = np.where(np.arange(30) == 0, 10.0, 1.0) * float(known.requests.mean())
    uneven = Learned(known.nodes, known.baseline, volume, TICK)
    prospect = foresee(known.nodes, uneven, 1.0)
    assert prospect.requests[0] == pytest.approx(10 * prospect.requests[1])
    assert prospect.requests.mean() == pytest.approx(TICK)


def test_a_node_without_a_history_is_taken_for_an_average_one() -> None:
    made = trace(Traffic(nodes=12, history_ticks=64))
    known = learned(made)
    prospect = foreseen(made, (*known.nodes, "new"))
    assert prospect.requests[-1] == pytest.approx(float(known.requests.mean()))
    assert prospect.baseline.node_rate[-1] == pytest.approx(float(known.baseline.rate))
    assert prospect.baseline.node_shape[-1] == pytest.approx(float(known.baseline.shape))


def test_nodes_are_found_by_name_whatever_their_order() -> None:
    made = trace(Traffic(nodes=12, history_ticks=64))
    known = learned(made)
    there = foreseen(made).exposure([(known.nodes[:3], 0.0)], 0.0)(TICK * 20)
    back = foreseen(made, known.nodes[::-1]).exposure([(known.nodes[:3], 0.0)], 0.0)(TICK * 20)
    assert there == pytest.approx(back)


@pytest.mark.parametrize("ticks", [0, 1])
def test_a_history_that_cannot_say_how_counts_vary_says_nothing(ticks: int) -> None:
    made = trace(Traffic(nodes=12, history_ticks=64))
    history = one(made.history, 0)
    short = History(
        history.total,
        history.bad,
        history.sample,
        history.ticks_total[:, :ticks],
        history.ticks_bad[:, :ticks],
    )
    assert learn_fleet(names(12), short, TICK) is None


def test_a_history_without_requests_says_nothing() -> None:
    none = np.zeros((12, 64))
    empty = History(np.zeros(12), np.zeros(12), np.arange(12), none, none)
    assert learn_fleet(names(12), empty, TICK) is None


def test_an_assumed_plan_is_in_seconds_and_by_name_and_leaves_out_doubted_ticks() -> None:
    prospect = assume(names(100), 0.01, 0.2, Grid(history_seconds=3600.0, tick_seconds=60.0))
    exposure = prospect.exposure([(names(100)[:5], 0.0)], 60.0)
    baseline = assumed_baseline(100, 0.01, history_bad=0.01 * 0.2 * 3600)
    lead = 1.0 + EARLY_TICKS
    assert exposure(lead * 60) == 0
    assert exposure(7200.0) == pytest.approx(
        float(planned_exposure(baseline, np.full(100, 12.0), first(5), 120.0, lead))
    )
