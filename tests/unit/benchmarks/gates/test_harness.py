"""Cells are judged once, the same every time, and as the product would judge each run alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gates import cells, harness, ours
from benchmarks.gates.cells import GOOD, Cell, Fleet, Noise, Onset, Regression
from benchmarks.gates.traces import Feed, generate, running
from edgecanary.analysis.baseline import learn
from edgecanary.analysis.counts import Blocks, History
from edgecanary.analysis.grid import block_edges
from edgecanary.analysis.negative_binomial import PRODUCT, weigh

FLEET = Fleet(12, 3)
SMALL = replace(cells.conditions(FLEET, 0.05, 100.0, Noise.HARD), history_ticks=32, ticks=20)
WORSE = Regression(10.0)
CELL = Cell("12x3 small", FLEET, SMALL, (GOOD, WORSE), runs=7)


def test_what_is_on_disk_is_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not harness.is_done(CELL, tmp_path)
    before = harness.results_of(CELL, tmp_path)
    assert harness.is_done(CELL, tmp_path)
    monkeypatch.setattr(harness, "_batches", None)
    after = harness.results_of(CELL, tmp_path)
    assert before.keys() == after.keys()
    assert (ours.PRODUCT_NAME, WORSE) in after
    assert all(np.array_equal(before[key].alarm, after[key].alarm) for key in after)


def test_the_same_cell_gives_the_same_results(tmp_path: Path) -> None:
    one, other = (harness.results_of(CELL, tmp_path / name) for name in ("one", "other"))
    for key, result in one.items():
        assert np.array_equal(result.alarm, other[key].alarm), key
        assert np.array_equal(result.requests, other[key].requests), key


def test_results_of_another_cell_are_not_taken(tmp_path: Path) -> None:
    harness.results_of(CELL, tmp_path)
    changed = replace(SMALL, burst_cv2=0.4)
    assert not harness.is_done(replace(CELL, conditions=changed), tmp_path)
    assert not harness.is_done(replace(CELL, runs=8), tmp_path)


def test_a_good_revision_is_looked_at_after_every_tick() -> None:
    assert harness.looks_for(GOOD, 240) == list(range(1, 241))
    late = harness.looks_for(Regression(2.0, Onset.MIDDLE), 240)
    assert set(range(121, 137)) < set(late)
    assert max(late) == 240


def test_many_runs_at_once_are_judged_as_each_alone() -> None:
    traces = generate(SMALL, 6, (3,))
    feed = Feed.of(traces)
    worse = running(cells.regressed(traces, WORSE))
    looks = range(1, SMALL.ticks + 1)
    trials = [ours.Trial(running(traces.bad[:, :, :3]), looks), ours.Trial(worse, looks)]
    outcome = ours.NegativeBinomial(PRODUCT, learn(traces.history)).judge(feed, trials)[1]
    for run in range(6):
        assert outcome.alarm[-1, run] == alone(traces.history, feed, worse, run)
    assert outcome.alarm[-1].any(), "ten times as bad must be found"


def alone(
    history: History, feed: Feed, bad: np.ndarray[tuple[int, ...], np.dtype[np.float32]], run: int
) -> int:
    """The first alarm of one run, without leading axes."""
    mine = History(
        history.total[run], history.bad[run], history.sample, history.ticks_total[run], history.ticks_bad[run]
    )
    baseline = learn(mine)
    for tick in range(1, feed.conditions.ticks + 1):
        edges = [int(edge) for edge in block_edges(tick)]
        blocks = feed.blocks(edges)
        counted = blocks.bad[run].copy()
        counted[:3] = np.diff(bad[edges, run], axis=0).T
        single = Blocks(blocks.ticks, blocks.canary[run], blocks.total[run], counted, blocks.active[run])
        if float(weigh(baseline, single, PRODUCT).value) >= ours.LIMIT:
            return tick
    return 0
