"""What simulated nodes count is what their traits say, whatever the pieces that time is looked at in."""

from dataclasses import replace

import numpy as np
import pytest

from edgecanary.analysis.counts import ComparisonCounts
from edgecanary.analysis.grid import MAX_BLOCKS
from edgecanary.analysis.query import CountsQuery, QueryError
from edgecanary.analysis.timeline import cut, cut_looks, make_rhythm
from edgecanary.simulator.clockwork import moment_at
from edgecanary.simulator.counts import SCRAPE_SECONDS, AttemptCounts
from edgecanary.simulator.fleet import draw_fleet
from edgecanary.simulator.settings import DAY, HOUR, FleetSettings, Regression, Traffic, Version
from edgecanary.simulator.telemetry import Telemetry
from edgecanary.simulator.traces import Channel, Traces

OLD, NEW = "a" * 64, "b" * 64
GOOD = Regression()
PLAIN = Traffic(
    requests_per_hour=600.0, volume_sigma=0.0, baseline_cv=0.0, drift_sd=0.0, burst_cv2=0.0, volume_swing=0.0,
    rate_swing=0.0,
)  # fmt: skip


def telemetry(nodes: int = 40, traffic: Traffic = PLAIN, worse: Regression = GOOD) -> Telemetry:
    settings = FleetSettings(nodes=nodes, traffic=traffic)
    traces = Traces.draw(traffic, nodes, np.random.default_rng(3))
    made = Telemetry(traffic, list(draw_fleet(settings, 3)), traces)
    made.describe(OLD, Version("1"), 0.0)
    made.describe(NEW, Version("2", worse), 0.0)
    for node in range(nodes):
        made.serves(node, OLD, 0.0)
    made.remember(-DAY)
    return made


def rate(made: Telemetry, revision: str, begin: float) -> float:
    total, bad = made.window(revision, Channel.ERROR, begin)
    return bad / total


@pytest.mark.parametrize("piece", [30.0, 600.0, 3600.0])
def test_requests_and_errors_are_as_frequent_as_the_settings_say(piece: float) -> None:
    made = telemetry()
    for end in np.arange(piece, 3600.0 + 1, piece):
        made.advance(float(end))
    total, bad = made.window(OLD, Channel.ERROR, 0.0)
    assert total == pytest.approx(40 * 600, rel=0.05)
    assert bad / total == pytest.approx(0.01, rel=0.3)


def test_a_regression_shows_on_its_share_of_the_nodes_from_its_moment_on() -> None:
    made = telemetry(worse=Regression(times=10.0, share=0.5, from_seconds=HOUR))
    for node in range(40):
        made.serves(node, NEW, 0.0)
    made.advance(HOUR)
    before = rate(made, NEW, 0.0)
    made.advance(2 * HOUR)
    assert before == pytest.approx(0.01, rel=0.3)
    assert rate(made, NEW, HOUR) == pytest.approx(0.055, rel=0.35)


def test_a_node_that_switches_counts_for_both_revisions_by_its_time_with_each() -> None:
    made = telemetry(nodes=1)
    made.serves(0, NEW, 0.75 * HOUR)
    made.advance(HOUR)
    assert made.window(OLD, Channel.ERROR, 0.0)[0] == pytest.approx(450, rel=0.15)
    assert made.window(NEW, Channel.ERROR, 0.0)[0] == pytest.approx(150, rel=0.25)


def test_samples_of_a_node_without_network_arrive_when_it_is_back() -> None:
    made = telemetry(nodes=2)
    made.goes(1, 0.0)
    made.advance(HOUR)
    alone = made.window(OLD, Channel.ERROR, 0.0)[0]
    made.returns(1)
    assert made.window(OLD, Channel.ERROR, 0.0)[0] == pytest.approx(2 * alone, rel=0.2)


def test_many_short_looks_leave_the_window_as_it_is() -> None:
    made = telemetry()
    for end in range(2, 3602, 4):
        made.advance(float(end))
    assert len(made.spans) <= 121
    assert made.window(OLD, Channel.ERROR, 0.0)[0] == pytest.approx(40 * 600, rel=0.05)


def test_what_a_version_did_is_held_against_what_the_one_before_would_have_done() -> None:
    made = telemetry(worse=Regression(times=5.0))
    for node in range(40):
        made.serves(node, NEW, 0.0)
    made.advance(HOUR)
    harm = made.harm[NEW]
    assert harm.bad == pytest.approx(5 * harm.expected, rel=0.2)


TICK = 900.0


def counted(counts: AttemptCounts, query: CountsQuery) -> ComparisonCounts:
    found = counts.to_counts(query, Channel.ERROR)
    assert isinstance(found, ComparisonCounts)
    return found


def attempt(made: Telemetry, query_at: float) -> tuple[AttemptCounts, CountsQuery]:
    counts = AttemptCounts(made, NEW, OLD, 0.0, TICK)
    made.follow(counts)
    made.advance(query_at)
    return counts, CountsQuery(
        "", "", NEW, OLD, (), history_seconds=int(DAY), tick_seconds=900, warmup_seconds=0
    )


def test_a_comparisons_history_is_the_stable_revisions_since_each_node_has_had_it() -> None:
    made = telemetry()
    made.since[0] = -HOUR
    counts, query = attempt(made, HOUR)
    history = counted(counts, query).history
    assert history.total[1:].mean() == pytest.approx(24 * 600, rel=0.05)
    assert history.total[0] == pytest.approx(600, rel=0.2)
    assert history.ticks_total.shape == (40, 96)
    assert np.array_equal(history.ticks_total.sum(axis=1), history.total[history.sample])


def test_a_block_in_which_a_node_switched_holds_its_canary_counts_only_without_the_warm_up() -> None:
    made = telemetry()
    made.warmup_seconds = 600.0
    counts = AttemptCounts(made, NEW, OLD, 0.0, TICK)
    made.follow(counts)
    made.serves(0, NEW, 900.0)
    made.advance(1800.0)
    made.advance(3600.0)
    query = CountsQuery("", "", NEW, OLD, (), history_seconds=900, tick_seconds=900, warmup_seconds=600)
    blocks = counted(counts, query).since
    assert blocks.canary[0].tolist() == [False, True, True, True]
    assert blocks.total[0] == pytest.approx([150, 50, 150, 150], rel=0.5)
    assert not blocks.canary[1:].any()
    assert blocks.ticks.tolist() == [1.0, 1.0, 1.0, 1.0]


def asked(*steps: float, fixed_looks: bool = False) -> CountsQuery:
    """A query for counts in an attempt whose later steps begin at these moments."""
    times = tuple(moment_at(step) for step in (0.0, *steps))
    return CountsQuery(
        "",
        "",
        NEW,
        OLD,
        times,
        history_seconds=900,
        tick_seconds=900,
        warmup_seconds=0,
        fixed_looks=fixed_looks,
    )


def followed(nodes: int) -> tuple[Telemetry, AttemptCounts]:
    """A fleet, and an attempt that begins with it."""
    made = telemetry(nodes)
    counts = AttemptCounts(made, NEW, OLD, 0.0, TICK)
    made.follow(counts)
    return made, counts


def test_long_attempts_are_kept_in_few_blocks_with_nothing_lost() -> None:
    made, counts = followed(3)
    for end in range(300, int(3 * DAY), 300):
        made.advance(float(end))
    blocks = counted(counts, asked()).since
    assert blocks.total.shape[-1] <= MAX_BLOCKS
    assert len(counts.blocks) <= 2 * MAX_BLOCKS
    assert blocks.total.sum() == pytest.approx(3 * 72 * 600, rel=0.05)
    assert blocks.ticks.sum() == pytest.approx(3 * 96, abs=1)


@pytest.mark.parametrize("pause", [420.0, 1800.0, 5000.0])
def test_time_is_cut_as_the_product_cuts_it_at_every_look(pause: float) -> None:
    """Steps begin off the grid, and looks come at any pace."""
    made, counts = followed(2)
    rhythm = make_rhythm(900, 60, 0, SCRAPE_SECONDS)
    begun: list[float] = []
    now = 0.0
    while now < 2 * DAY:
        now += pause
        made.advance(now)
        if len(begun) < 3 and now > (len(begun) + 1) * 37_000:
            begun.append(now)
            counts.begin_step(len(begun), now)
        steps = [int(step) for step in begun]
        since = counted(counts, asked(*begun)).since
        assert np.cumsum(since.ticks) * TICK == pytest.approx(cut(0, int(now), steps, rhythm).blocks[1:])
        if looks := cut_looks(0, int(now), steps, rhythm).blocks[1:]:
            fixed = counted(counts, asked(*begun, fixed_looks=True)).since
            assert np.cumsum(fixed.ticks) * TICK == pytest.approx(looks)


def test_before_the_first_look_there_are_no_counts_for_methods_with_fixed_looks() -> None:
    made, counts = followed(2)
    made.advance(600.0)
    found = counts.to_counts(asked(fixed_looks=True), Channel.ERROR)
    assert isinstance(found, QueryError)
    assert found.reason == "CountsIncomplete"


def test_an_edit_of_the_pace_keeps_what_was_counted() -> None:
    made, counts = followed(2)
    made.advance(DAY)
    finer = replace(asked(), tick_seconds=600, interval_seconds=600)
    before, after = counted(counts, asked()).since, counted(counts, finer).since
    assert after.total.sum() == before.total.sum()
    assert after.ticks.sum() * 600 == pytest.approx(DAY)
