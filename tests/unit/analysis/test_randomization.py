"""Randomization: the real choice of canaries against other choices that were as likely."""

from dataclasses import replace

import numpy as np
import pytest

from edgecanary.analysis.baseline import learn
from edgecanary.analysis.counts import Blocks, Indices
from edgecanary.analysis.grid import look_edges
from edgecanary.analysis.randomization import (
    CHOICES,
    LEAST_CHOICES,
    Choices,
    Family,
    draw_choices,
    first_blocks,
    look,
    no_looks,
    possible_choices,
    replay,
    strata_of,
    switch_order,
)
from tests.unit.analysis.fleets import Trace, Traffic, one, one_run, trace

REAL = np.arange(3)
TRAFFIC = Traffic(runs=150, ticks=48)


def alike(nodes: int) -> Indices:
    """All nodes in one stratum."""
    return np.zeros(nodes, np.int64)


def judge(made: Trace, ratio: float = 1.0, seed: int = 1) -> Family:
    blocks = made.blocks(look_edges(made.traffic.ticks), ratio)
    return replay(learn(made.history), blocks, draw_choices(REAL, alike(made.traffic.nodes), seed))


def plain_score(made: Trace, blocks: Blocks, nodes: list[int]) -> float:
    """T of one choice from its formula, one node after the other; the first run."""
    baseline = learn(one(made.history, 0))
    table = baseline.over(baseline.around, float(blocks.ticks.sum()))
    variance = min(max(float(table.variance) + 0.5 * (2 / float(table.information)) ** 0.5, 0.005), 4.0)
    a = b = a_rest = b_rest = 0.0
    for i in range(blocks.total.shape[1]):
        e = float(baseline.node_rate[i]) * float(blocks.total[0, i].sum())
        g = 1 / (1 + (variance + 1 / float(baseline.node_shape[i])) * e)
        x = float(blocks.bad[0, i].sum())
        if i in nodes:
            a, b = a + g * x, b + g * e
        else:
            a_rest, b_rest = a_rest + g * x, b_rest + g * e
    c = (a_rest + 1) / (b_rest + 1)
    return float((a - c * b) / (c * b * (1 + b / b_rest) + 0.5) ** 0.5)


def test_the_family_takes_the_choices_that_look_worst_by_the_formula() -> None:
    made = trace(Traffic(ticks=40))
    blocks = made.blocks((0.0, 40.0), ratio=1.5)
    choices = draw_choices(REAL, alike(12), 1)
    family = look(learn(made.history), blocks, choices, no_looks(choices, (1,)))
    scores = np.array([plain_score(made, blocks, nodes.tolist()) for nodes in choices.nodes])
    worst = np.argsort(-scores)[: int(family.rejected.sum())]
    assert family.rejected.any()
    assert set(worst.tolist()) == set(np.flatnonzero(family.rejected[0]).tolist())


def test_a_good_canary_is_rejected_in_at_most_alpha_of_the_fleets() -> None:
    found = judge(trace(TRAFFIC, seed=21)).found
    assert found.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / TRAFFIC.runs)


def test_a_canary_three_times_worse_is_rejected() -> None:
    assert judge(trace(TRAFFIC, seed=22), ratio=3.0).found.mean() >= 0.9


def test_the_family_never_exceeds_its_share_and_never_shrinks() -> None:
    made = trace(replace(TRAFFIC, runs=5))
    baseline, choices = learn(made.history), draw_choices(REAL, alike(12), 1)
    blocks = made.blocks(look_edges(48))
    family = no_looks(choices, (5,))
    for count in range(1, blocks.ticks.size + 1):
        later = look(baseline, first_blocks(blocks, count), choices, family, alpha=0.05)
        assert (later.rejected | ~family.rejected).all()
        assert (later.rejected.mean(-1) <= 0.05).all()
        assert (later.exposure >= family.exposure).all()
        family = later


def test_a_replay_finds_what_the_looks_found_one_after_the_other() -> None:
    made = trace(replace(TRAFFIC, runs=3))
    baseline, choices = learn(made.history), draw_choices(REAL, alike(12), 1)
    blocks = made.blocks(look_edges(48), ratio=2.0)
    family = no_looks(choices, (3,))
    for count in range(1, blocks.ticks.size + 1):
        family = look(baseline, first_blocks(blocks, count), choices, family)
    np.testing.assert_array_equal(replay(baseline, blocks, choices).rejected, family.rejected)


def test_many_fleets_at_once_are_judged_as_each_alone() -> None:
    made = trace(replace(TRAFFIC, runs=3))
    blocks, choices = made.blocks(look_edges(48), ratio=2.0), draw_choices(REAL, alike(12), 1)
    together = replay(learn(made.history), blocks, choices)
    alone = replay(learn(one(made.history, 1)), one_run(blocks, 1), choices)
    np.testing.assert_array_equal(alone.rejected, together.rejected[1])


def test_few_choices_are_all_compared_and_many_are_drawn() -> None:
    few = draw_choices(REAL, alike(12), 1)
    assert len(few.nodes) == possible_choices(REAL, alike(12)) == 220
    assert len({tuple(sorted(nodes)) for nodes in few.nodes.tolist()}) == 220
    assert draw_choices(REAL, alike(60), 1).nodes.shape == (CHOICES, 3)


def test_the_real_choice_is_the_last_one() -> None:
    for nodes in (12, 60):
        assert draw_choices(np.array([7, 2, 5]), alike(nodes), 1).nodes[-1].tolist() == [7, 2, 5]


def test_the_same_seed_draws_the_same_choices_and_another_seed_others() -> None:
    first, again, other = (draw_choices(REAL, alike(60), seed).nodes for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_more_canaries_only_add_to_the_choices() -> None:
    few, more = draw_choices(np.arange(4), alike(60), 1), draw_choices(np.arange(9), alike(60), 1)
    np.testing.assert_array_equal(more.nodes[:, :4], few.nodes)


def test_each_choice_has_the_real_ones_nodes_in_every_stratum() -> None:
    strata = np.arange(60) % 3
    drawn = draw_choices(np.array([0, 1, 3, 4]), strata, 1).nodes
    np.testing.assert_array_equal(strata[drawn], np.broadcast_to([0, 1, 0, 1], drawn.shape))
    assert all(len(set(nodes)) == 4 for nodes in drawn.tolist())


def test_only_choices_with_as_many_nodes_of_each_stratum_are_possible() -> None:
    strata = np.array([0] * 6 + [1] * 4 + [2] * 5)
    assert possible_choices(np.array([0, 6, 7]), strata) == 6 * 6
    assert possible_choices(np.array([], np.int64), strata) == 1


def test_nodes_that_are_in_no_stratum_any_more_are_one_of_their_own() -> None:
    assert strata_of(("a", "gone", "c", "b"), (("a", "b"), ("c",))).tolist() == [0, 2, 1, 0]
    assert strata_of(("a", "b"), ()).tolist() == [0, 0]


def test_a_bad_stratum_is_not_held_against_canaries_that_are_all_of_it() -> None:
    """Its nodes turn worse whichever revision they run: only among themselves can they be compared."""
    made = trace(Traffic(runs=60, nodes=24, ticks=48), seed=23)
    blocks = made.blocks(look_edges(48))
    strata = (np.arange(24) >= 12).astype(np.int64)
    worse = replace(
        blocks, bad=np.where((strata == 0)[:, None], np.minimum(2 * blocks.bad, blocks.total), blocks.bad)
    )
    baseline = learn(made.history)
    within = replay(baseline, worse, draw_choices(REAL, strata, 1)).found.mean()
    across = replay(baseline, worse, draw_choices(REAL, alike(24), 1)).found.mean()
    assert within <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert across > 0.2


def test_a_look_tells_the_real_choices_place_and_what_may_be_rejected() -> None:
    made = trace(replace(TRAFFIC, runs=4), seed=24)
    blocks, choices = made.blocks(look_edges(48), ratio=6.0), draw_choices(REAL, alike(12), 1)
    family = replay(learn(made.history), blocks, choices)
    assert (family.place <= 0.02).all()
    np.testing.assert_allclose(family.spent, 0.05 * family.exposure / (family.exposure + 10))


def test_canaries_of_later_steps_count_from_their_switch_in_every_choice() -> None:
    made = trace(Traffic(ticks=40))
    blocks = made.blocks((0.0, 20.0, 40.0), ratio=1.0)
    canary = np.zeros_like(blocks.canary)
    canary[0, 0], canary[0, 1:3, 1:] = True, True
    staged = replace(blocks, canary=canary)
    single = Blocks(staged.ticks, canary[0], staged.total[0], staged.bad[0], staged.active[0])
    real = switch_order(single)
    assert real.tolist() == [0, 1, 2]
    choices = Choices(np.stack([real, real]))
    early = np.where(canary, staged.bad, 0.0).sum()
    counted = look(learn(made.history), staged, choices, no_looks(choices, (1,)))
    silent = replace(staged, bad=np.where(canary, 0.0, staged.bad))
    assert early > 0
    assert (
        counted.exposure[0] == look(learn(made.history), silent, choices, no_looks(choices, (1,))).exposure[0]
    )


def test_without_events_nothing_is_rejected() -> None:
    made = trace(Traffic(ticks=8))
    made.total[:], made.bad[:] = 0.0, 0.0
    family = judge(made)
    assert not family.rejected.any()


@pytest.mark.parametrize(("nodes", "canaries", "enough"), [(12, 1, False), (12, 3, True), (8, 4, False)])
def test_the_test_needs_some_hundred_ways_to_choose(nodes: int, canaries: int, enough: bool) -> None:
    assert (possible_choices(np.arange(canaries), alike(nodes)) >= LEAST_CHOICES) is enough
