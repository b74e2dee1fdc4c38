"""How time is cut into stretches: the same after a restart, few however long it takes, none too short."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.grid import MAX_BLOCKS
from edgecanary.analysis.timeline import Rhythm, cut, cut_looks, history_parts, make_rhythm, sample_spacing

START = 1_700_000_000
RHYTHM = Rhythm(tick=300, shortest=60, warmup=300)


@given(st.integers(1, 60 * 86_400), st.lists(st.integers(1, 60 * 86_400), max_size=19, unique=True))
def test_blocks_and_stretches_cover_the_time_without_gaps_and_stay_few(
    elapsed: int, steps: list[int]
) -> None:
    begun = sorted(START + step for step in steps)
    line = cut(START, START + elapsed, begun, RHYTHM)
    assert (line.blocks[0], line.blocks[-1]) == (START, START + elapsed)
    assert (line.edges[0], line.edges[-1]) == (START, START + elapsed)
    assert list(line.edges) == sorted(set(line.edges))
    assert set(line.blocks) <= set(line.edges)
    assert len(line.blocks) <= MAX_BLOCKS + 1
    assert len(line.edges) <= 300


@given(st.integers(61, 30 * 86_400))
def test_no_stretch_is_too_short_for_an_increase(elapsed: int) -> None:
    line = cut(START, START + elapsed, (), RHYTHM)
    assert all(end - begin >= min(60, elapsed) for begin, end in line.stretches)


@given(st.integers(1, 20 * 86_400), st.integers(1, 86_400))
def test_an_edge_that_was_dropped_does_not_come_back(elapsed: int, more: int) -> None:
    first = cut(START, START + elapsed, (), RHYTHM).blocks[:-1]
    later = cut(START, START + elapsed + more, (), RHYTHM).blocks[:-1]
    assert {edge for edge in later if edge <= START + elapsed - RHYTHM.shortest} <= set(first)


def test_nodes_can_leave_their_warm_up_soon_after_a_step_and_less_exactly_later() -> None:
    line = cut(START, START + 86_400, (), RHYTHM)
    assert [edge - START for edge in line.edges if edge < START + 1200][1:4] == [360, 435, 502]


def test_looks_are_never_dropped_and_end_with_a_whole_tick() -> None:
    now = set(cut_looks(START, START + 10_000, (), RHYTHM).blocks)
    later = cut_looks(START, START + 90_000, (), RHYTHM).blocks
    assert now <= set(later)
    assert all((edge - START) % RHYTHM.tick == 0 for edge in later)


def test_before_the_first_look_there_is_no_stretch() -> None:
    assert cut_looks(START, START + 299, (), RHYTHM).stretches == ()


@given(st.integers(60, 2_592_000), st.integers(60, 86_400))
def test_the_history_is_whole_ticks_up_to_the_start(seconds: int, tick: int) -> None:
    parts = history_parts(START, seconds, tick)
    assert sum(end - begin for begin, end in parts) == seconds // tick * tick
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(parts))
    assert not parts or parts[-1][1] == START


@pytest.mark.parametrize(
    ("spacing", "tick", "shortest"), [(0, 60, 60), (1, 60, 60), (15, 60, 60), (30, 120, 120), (60, 240, 240)]
)
def test_ticks_and_stretches_are_long_enough_for_four_samples(spacing: int, tick: int, shortest: int) -> None:
    assert make_rhythm(60, 60, 300, spacing) == Rhythm(tick, shortest, 300)


def test_a_short_interval_allows_short_stretches() -> None:
    assert make_rhythm(60, 1, 0, 1).shortest == 5


@pytest.mark.parametrize(("samples", "spacing"), [(240.0, 15), (241.0, 15), (3600.0, 1), (1.0, 0), (0.0, 0)])
def test_how_far_apart_samples_are_follows_from_their_number(samples: float, spacing: int) -> None:
    assert sample_spacing(3600, samples) == spacing
