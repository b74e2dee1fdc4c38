"""The edges of blocks: few, on whole ticks, the same after a restart, and none that was dropped is wanted again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.grid import EARLY_TICKS, MAX_BLOCKS, block_edges, look_edges

STEPS = st.lists(st.floats(0.1, 5000), max_size=8)


@given(st.floats(0.01, 2**20), STEPS)
def test_there_are_never_more_blocks_than_the_bound(elapsed: float, steps: list[float]) -> None:
    edges = block_edges(elapsed, steps)
    assert edges[0] == 0
    assert edges[-1] == elapsed
    assert len(edges) - 1 <= MAX_BLOCKS
    assert all(a < b for a, b in pairwise(edges))
    assert all(edge == int(edge) for edge in edges[:-1])


@given(st.floats(1, 5000), st.floats(0, 200), STEPS)
def test_a_boundary_that_was_dropped_is_not_wanted_again(now: float, wait: float, steps: list[float]) -> None:
    begun = [step for step in steps if step < now]
    kept, later = set(block_edges(now, begun)[:-1]), set(block_edges(now + wait, begun))
    older = {edge for edge in later if edge < now - EARLY_TICKS}
    assert older <= kept | {float(int(now))}


def test_all_ticks_are_boundaries_at_first() -> None:
    assert block_edges(4.5) == (0, 1, 2, 3, 4, 4.5)


def test_the_last_blocks_are_short_and_the_early_ticks_stay_apart() -> None:
    edges = block_edges(1000.0)
    assert EARLY_TICKS in edges
    assert max(b - a for a, b in pairwise(edges) if a >= 960) <= 8
    assert any(400 < edge < 600 for edge in edges)


def test_the_begin_and_the_early_ticks_of_the_last_steps_are_boundaries() -> None:
    edges = block_edges(1000.0, [100.0, 500.0, 777.3])
    assert {500.0, 504.0, 777.0, 781.0} <= set(edges)


@pytest.mark.parametrize("elapsed", [0.0, -3.0])
def test_before_the_begin_there_are_no_blocks(elapsed: float) -> None:
    assert block_edges(elapsed) == (0.0,)


def test_the_same_moment_gives_the_same_edges_in_whatever_order_steps_are_given() -> None:
    assert block_edges(300.0, [10.0, 50.0]) == block_edges(300.0, [50.0, 10.0])


def test_looks_are_few_and_never_dropped() -> None:
    assert look_edges(17.2) == (0, 1, 2, 3, 4, 6, 8, 12, 16)
    assert set(look_edges(200.0)) <= set(look_edges(3000.0))
    assert len(look_edges(50_000.0)) - 1 <= MAX_BLOCKS
    assert look_edges(0.5) == (0.0,)
