"""From readings of single stretches to the counts of a comparison."""

import numpy as np
import pytest

from edgecanary.analysis.counts import MAX_HISTORY_NODES, ComparisonCounts, Floats
from edgecanary.analysis.reading import HistoryReading, Reading, Side, assemble, choose_sample
from edgecanary.analysis.timeline import Rhythm, Timeline

RHYTHM = Rhythm(tick=60, shortest=10, warmup=100)
LINE = Timeline(blocks=(0, 600, 1200), edges=(0, 200, 400, 600, 1200))
NAMES = ("b", "a", "c")
NONE = HistoryReading(np.zeros(0), np.zeros(0), (), np.zeros((0, 0)), np.zeros((0, 0)))


def side(*total: float) -> Side:
    values = np.array(total)
    return Side(values, values / 10, np.where(values > 0, 4.0, 0.0))


def readings(switch: float = np.inf) -> list[Reading]:
    """Each stretch: node b turns canary at `switch`; the others are stable with 10, 20, 30, 40 events."""
    first = np.array([switch, np.inf, np.inf])
    return [
        Reading(side(stable / 2, 0, 0), side(stable, stable, stable), first)
        for stable in (10.0, 20.0, 30.0, 40.0)
    ]


def assembled(switch: float) -> ComparisonCounts:
    return assemble(NAMES, LINE, readings(switch), NONE, RHYTHM)


def row(counts: ComparisonCounts, name: str, values: Floats) -> list[float]:
    return [float(value) for value in values[counts.nodes.index(name)]]


def test_nodes_are_in_the_order_of_their_names() -> None:
    assert assembled(np.inf).nodes == ("a", "b", "c")


def test_stretches_of_a_block_are_summed_and_blocks_measured_in_ticks() -> None:
    counts = assembled(np.inf)
    assert counts.since.ticks.tolist() == [10, 10]
    assert row(counts, "a", counts.since.total) == [60, 40]
    assert row(counts, "a", counts.since.bad) == [6, 4]
    assert not counts.since.canary.any()


@pytest.mark.parametrize(
    ("switch", "first_block", "second_block"),
    [
        (50, 10 + 15, 20),  # warm at 150, so from the edge at 200 on
        (100, 10 + 15, 20),  # warm at 200 just so
        (101, 15, 20),
        (400, 0, 20),  # warm at 500: the next edge is the second block's
        (599, 0, 0),
    ],
)
def test_a_node_counts_for_the_canary_from_the_first_edge_after_its_warm_up(
    switch: float, first_block: float, second_block: float
) -> None:
    counts = assembled(switch)
    assert row(counts, "b", counts.since.total) == [first_block, second_block]
    assert counts.since.canary[counts.nodes.index("b")].tolist() == [True, True]


def test_until_the_block_of_its_switch_a_node_counts_as_stable() -> None:
    counts = assembled(700)
    assert row(counts, "b", counts.since.total) == [60, 0]
    assert counts.since.canary[counts.nodes.index("b")].tolist() == [False, True]


def test_active_ticks_follow_from_the_samples_and_are_no_more_than_the_events() -> None:
    away = readings()
    away[0] = Reading(
        away[0].canary, Side(np.array([10.0, 0, 2]), np.zeros(3), np.array([4.0, 0, 2])), away[0].first
    )
    counts = assemble(NAMES, LINE, away, NONE, RHYTHM)
    assert row(counts, "b", counts.since.active) == [10, 10]
    assert row(counts, "a", counts.since.active)[0] == pytest.approx(20 / 3)
    few = [Reading(side(0, 0, 0), side(0.4, 0.4, 0.4), np.full(3, np.inf)) for _ in range(4)]
    assert assemble(NAMES, LINE, few, NONE, RHYTHM).since.active.max() <= 2


def test_a_node_that_was_not_known_to_an_earlier_reading_has_nothing_in_it() -> None:
    short = readings()
    short[0] = Reading(side(0.0, 0.0), side(10.0, 10.0), np.full(2, np.inf))
    counts = assemble(NAMES, LINE, short, NONE, RHYTHM)
    assert row(counts, "c", counts.since.total) == [50, 40]


def test_the_history_follows_the_order_of_the_nodes() -> None:
    ticks = np.array([[5.0, 6.0], [1.0, 2.0]])
    history = HistoryReading(
        np.array([30.0, 20.0, 10.0]), np.array([3.0, 2.0, 1.0]), (0, 1), ticks, ticks / 10
    )
    found = assemble(NAMES, LINE, readings(), history, RHYTHM).history
    assert found.total.tolist() == [3, 11, 10], "a and b by their ticks, then c"
    assert found.sample.tolist() == [0, 1]
    assert found.ticks_total.tolist() == [[1, 2], [5, 6]]


def test_all_nodes_of_a_small_fleet_are_sampled() -> None:
    assert choose_sample(NAMES, "seed") == (0, 1, 2)


def test_of_a_large_fleet_the_seed_and_the_names_alone_choose() -> None:
    names = [f"n{number}" for number in range(MAX_HISTORY_NODES + 200)]
    chosen = {names[position] for position in choose_sample(names, "seed")}
    backwards = names[::-1]
    assert len(chosen) == MAX_HISTORY_NODES
    assert {backwards[position] for position in choose_sample(backwards, "seed")} == chosen
    assert {names[position] for position in choose_sample(names, "other")} != chosen
