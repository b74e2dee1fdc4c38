"""What is remembered of comparisons' counts, and for how long."""

from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pytest

from edgecanary.analysis.query import QueryError, Sample, Vector
from edgecanary.controller.counts import CountsMemory, RolloutCounts
from edgecanary.controller.counts_bound import choose_bound
from edgecanary.controller.counts_cache import SpanCache, find_problem
from edgecanary.controller.counts_clock import at_offset, clock_offset
from edgecanary.controller.counts_nodes import Counted, NodeTable, make_side

CANARY, STABLE = "c" * 64, "5" * 64
LATE = QueryError("PrometheusUnavailable", "did not answer all queries within 10 s")


class Sized(RolloutCounts):
    """Counts of a known size."""

    @property
    def size(self) -> int:
        return 100


def vector(*samples: tuple[str, str, float]) -> Vector:
    return Vector(
        tuple(Sample((("node", node), ("revision", revision)), value) for node, revision, value in samples)
    )


class TestMemory:
    def test_a_rollouts_counts_are_kept_until_they_are_forgotten(self) -> None:
        memory = CountsMemory()
        first = memory.of("plant/pump")
        assert memory.of("plant/pump") is first
        memory.forget("plant/pump")
        memory.forget("never/seen")
        assert memory.of("plant/pump") is not first

    def test_the_least_recently_used_make_room(self) -> None:
        memory = CountsMemory(max_bytes=250, make=Sized)
        first, second = memory.of("a"), memory.of("b")
        assert memory.of("a") is first
        memory.of("c")
        assert memory.of("a") is first
        assert memory.of("b") is not second

    def test_one_rollout_that_is_too_large_by_itself_is_kept_all_the_same(self) -> None:
        memory = CountsMemory(max_bytes=1, make=Sized)
        first = memory.of("a")
        assert memory.of("a") is first


class TestReadingAgain:
    SPANS = ((0, 100), (100, 200), (200, 300))

    def cache(self, *times: int) -> SpanCache[str]:
        """What was read of the first spans at these times."""
        cache: SpanCache[str] = SpanCache(("total",), 1.5)
        for span, time in zip(self.SPANS, times, strict=False):
            cache.put((span, "total"), "found", time)
        return cache

    def test_what_was_never_read_is_missing_for_each_question(self) -> None:
        cache: SpanCache[str] = SpanCache(("total", "bad"), 1.5)
        cache.put(((0, 100), "total"), "found", 300)
        assert cache.missing(self.SPANS[:2]) == [
            ((0, 100), "bad"),
            ((100, 200), "total"),
            ((100, 200), "bad"),
        ]

    @pytest.mark.parametrize(("now", "again"), [(175, False), (176, True), (1000, True)])
    def test_a_span_is_stale_when_its_age_has_grown_by_half(self, now: int, again: bool) -> None:
        cache = self.cache(150)
        cache.put(((0, 10), "total"), "the one that waits longest", 149)
        assert (((0, 100), "total") in cache.stale([(0, 10), (0, 100)], now)) is again

    def test_a_span_that_was_open_when_it_was_read_is_stale_at_the_next_look(self) -> None:
        assert self.cache(100).stale([(0, 100)], 101) == [((0, 100), "total")]

    def test_the_span_that_waits_for_longest_has_its_turn(self) -> None:
        cache = self.cache(400, 395, 410)
        assert cache.stale(self.SPANS, 411) == [((100, 200), "total")]
        assert self.cache(411, 411, 411).stale(self.SPANS, 411) == []

    def test_what_is_not_wanted_any_more_is_forgotten(self) -> None:
        cache = self.cache(400, 400, 400)
        cache.keep([(100, 200)])
        assert list(cache.values()) == ["found"]
        assert cache.get((100, 200), "total") == "found"


class TestTrouble:
    def test_running_out_of_time_is_no_failure_as_long_as_something_was_read(self) -> None:
        found = find_problem([None, LATE, None], over=True)
        assert found is not None
        assert found.reason == "CountsIncomplete"
        assert "2 of 3 parts" in found.message

    @pytest.mark.parametrize(
        ("results", "over"),
        [
            ([LATE, LATE], True),
            ([None, LATE], False),
            ([None, QueryError("QueryInvalid", "parse error")], True),
        ],
    )
    def test_anything_else_is_told_as_it_is(self, results: list[QueryError | None], over: bool) -> None:
        assert find_problem(results, over=over) is next(result for result in results if result)

    def test_no_trouble_is_none(self) -> None:
        assert find_problem([None, None], over=True) is None


class TestClock:
    @pytest.mark.parametrize(
        ("difference", "offset"),
        [(0.0, 0), (14.0, 0), (-14.0, 0), (16.0, 15), (-100.0, -105), (3601.0, 3600)],
    )
    def test_small_differences_are_the_networks_doing(self, difference: float, offset: int) -> None:
        assert clock_offset(difference) == offset

    def test_steps_are_moved_to_prometheuss_clock(self) -> None:
        step = datetime(2026, 1, 5, tzinfo=UTC)
        assert at_offset(0, (step,), 60).start == int(step.timestamp()) + 60


class TestNodes:
    def test_nodes_keep_their_position_and_have_both_sides(self) -> None:
        table = NodeTable(CANARY, STABLE)
        total = table.counted(vector(("b", STABLE, 10), ("a", STABLE, 20), ("a", CANARY, 5)))
        assert isinstance(total, Counted)
        assert table.names == ("a", "b")
        assert (total.canary.tolist(), total.stable.tolist()) == ([5, 0], [20, 10])
        more = table.counted(vector(("c", STABLE, 1), ("b", STABLE, 2)))
        assert isinstance(more, Counted)
        assert more.stable.tolist() == [0, 2, 1]

    def test_nodes_without_a_series_of_bad_events_had_none(self) -> None:
        side = make_side(np.array([10.0, 5.0]), np.array([2.0]), np.array([4.0, 4.0]), 3)
        assert (side.total.tolist(), side.bad.tolist(), side.present.tolist()) == (
            [10, 5, 0],
            [2, 0, 0],
            [4, 4, 0],
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_node_whose_count_is_no_number_is_unknown(self, value: float) -> None:
        for total, bad in ((value, 1.0), (10.0, value)):
            side = make_side(np.array([total]), np.array([bad]), np.array([4.0]), 1)
            assert (side.total[0], side.bad[0], side.present[0]) == (0, 0, 0)

    def test_there_are_no_more_bad_events_than_events(self) -> None:
        assert make_side(np.array([3.0]), np.array([4.0]), np.array([1.0]), 1).bad.tolist() == [3]

    def test_counts_without_a_nodes_name_are_an_error_unless_they_are_zero(self) -> None:
        nameless = Vector((Sample((("revision", CANARY),), 3.0),))
        found = NodeTable(CANARY, STABLE).counted(nameless)
        assert isinstance(found, QueryError)
        assert found.reason == "NodeLabelMissing"

    def test_other_revisions_are_none_of_its_business(self) -> None:
        table = NodeTable(CANARY, STABLE)
        table.counted(vector(("a", "f" * 64, 3)))
        assert table.names == ()
        assert table.position((("node", "a"), ("revision", CANARY)), STABLE) == -1

    def test_the_first_canary_sample_of_a_node_is_a_time_or_never(self) -> None:
        table = NodeTable(CANARY, STABLE)
        table.counted(vector(("a", CANARY, 1), ("b", STABLE, 1)))
        began = Vector((Sample((("node", "a"),), 1000.0), Sample((("node", "new"),), 5.0)))
        assert table.first_samples(began).canary.tolist() == [1000.0, np.inf, 5.0]


class TestBound:
    BOUNDS: ClassVar[dict[float, str]] = {0.01: "0.01", 0.05: "0.05", 0.1: "0.1", 1.0: "1.0"}

    @pytest.mark.parametrize(
        ("quantile", "bound"), [(0.001, "0.01"), (0.04, "0.05"), (0.075, "0.05"), (0.08, "0.1"), (9.0, "1.0")]
    )
    def test_the_nearest_bound_is_taken_and_the_lower_of_two(self, quantile: float, bound: str) -> None:
        assert choose_bound(quantile, self.BOUNDS, self.BOUNDS) == bound

    def test_only_bounds_of_both_revisions_count(self) -> None:
        assert choose_bound(0.05, {0.1: "0.1", 0.04: "0.04"}, self.BOUNDS) == "0.1"
        found = choose_bound(0.05, {0.2: "0.2"}, self.BOUNDS)
        assert isinstance(found, QueryError)
        assert found.reason == "BucketMismatch"

    def test_before_the_canary_has_a_histogram_there_is_no_bound(self) -> None:
        found = choose_bound(0.05, {}, self.BOUNDS)
        assert isinstance(found, QueryError)
        assert found.reason == "NoData"
