"""What is asked of Prometheus: presets and custom queries."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.counting import Attempt, fill_places, le_matcher, tick_seconds
from edgecanary.analysis.presets import METHODS, build_query, check_comparison
from edgecanary.analysis.query import CountsQuery
from edgecanary.analysis.template import Scope, fill, nodes_pattern
from edgecanary.api.analysis import ComparisonMethod, Metric, Preset
from edgecanary.base.errors import InvalidInput

SCOPE = Scope(
    "plant", "pump", canary="c" * 64, stable="5" * 64, nodes=("node-1", "node.2"), window_seconds=90
)
NODE_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


def metric(preset: str) -> Metric:
    return Metric.model_validate({"name": "m", "preset": preset, "threshold": {"max": "1"}})


def test_accuracy_is_the_share_of_correct_feedback_of_the_canary_since_the_step_began() -> None:
    query = build_query(metric("Accuracy"), SCOPE, field="f")
    labels = f'namespace="plant",model="pump",revision="{"c" * 64}"'
    assert query.value == (
        f'sum(increase(edgecanary_feedback_total{{{labels},outcome="correct"}}[90s])) / '
        f"sum(increase(edgecanary_feedback_total{{{labels}}}[90s]))"
    )
    assert query.samples == f"sum(increase(edgecanary_feedback_total{{{labels}}}[90s]))"
    assert query.baseline is not None
    assert "5" * 64 in query.baseline


@pytest.mark.parametrize("preset", list(Preset))
def test_every_preset_asks_for_this_model_and_the_canary(preset: Preset) -> None:
    query = build_query(metric(preset.value), SCOPE, field="f")
    for text in (query.value, query.samples or ""):
        assert 'namespace="plant",model="pump"' in text
        assert "c" * 64 in text


def test_without_a_stable_revision_there_is_no_baseline() -> None:
    first = Scope("plant", "pump", canary="c" * 64, stable="", nodes=(), window_seconds=90)
    assert build_query(metric("ErrorRate"), first, field="f").baseline is None


def test_a_custom_query_has_its_places_filled_in() -> None:
    text = 'max(t{node=~"{{ nodes }}", ns="{{namespace}}", r="{{ canary }}"}[{{ window }}])'
    assert fill(text, SCOPE, field="f") == (
        f'max(t{{node=~"node-1|node\\\\.2", ns="plant", r="{"c" * 64}"}}[90s])'
    )


def test_an_unknown_place_is_named_with_those_that_are_known() -> None:
    with pytest.raises(
        InvalidInput, match=r"f: \{\{ cannary \}\} is not known; use one of \{\{ namespace \}\}"
    ):
        fill("up{r='{{ cannary }}'}", SCOPE, field="f")


def test_a_custom_query_counts_the_canarys_answers_as_samples() -> None:
    custom = Metric.model_validate({"name": "m", "query": "up", "threshold": {"max": "1"}})
    query = build_query(custom, SCOPE, field="f")
    assert query.value == "up"
    assert query.samples is not None
    assert "edgecanary_requests_total" in query.samples


@given(st.sets(NODE_NAMES, min_size=1, max_size=8), NODE_NAMES)
def test_the_nodes_pattern_matches_just_these_nodes(nodes: set[str], other: str) -> None:
    pattern = nodes_pattern(tuple(nodes)).replace("\\\\", "\\")
    assert all(re.fullmatch(pattern, node) for node in nodes)
    assert (re.fullmatch(pattern, other) is not None) == (other in nodes)


def test_without_nodes_the_pattern_matches_nothing() -> None:
    assert re.fullmatch(nodes_pattern(()), "") is None
    assert re.fullmatch(nodes_pattern(()), "none-in-step") is None


NOW = datetime(2026, 1, 5, tzinfo=UTC)
ATTEMPT = Attempt((NOW - timedelta(hours=1), NOW), 259_200, 60)
BOTH = f'namespace="plant",model="pump",revision=~"{"c" * 64}|{"5" * 64}"'


def compared(preset: str | None, method: str = "NegativeBinomial", **more: object) -> Metric:
    comparison = {"method": method, **({"maxIncreasePercent": 10} if method == "Ratio" else {})}
    return Metric.model_validate({"name": "m", "preset": preset, "comparison": comparison, **more})


def counts_of(gate: Metric, attempt: Attempt = ATTEMPT) -> CountsQuery:
    found = build_query(gate, SCOPE, field="f", attempt=attempt, now=NOW).counts
    assert found is not None
    return found


class TestCounts:
    def test_errors_are_counted_by_node_and_revision(self) -> None:
        counts = counts_of(compared("ErrorRate"))
        metric_name = "edgecanary_requests_total"
        assert counts.total == f"sum by (node, revision) (increase({metric_name}{{{BOTH}$nodes}}[$window]))"
        assert counts.bad == (
            f'sum by (node, revision) (increase({metric_name}{{{BOTH},outcome="error"$nodes}}[$window]))'
        )
        assert counts.step_times == ATTEMPT.step_times
        assert (counts.history_seconds, counts.tick_seconds, counts.warmup_seconds) == (259_200, 450, 300)

    @pytest.mark.parametrize("preset", ["LatencyP95", "LatencyP99"])
    def test_a_latency_bound_is_asked_for_first_and_then_frozen(self, preset: str) -> None:
        unknown = counts_of(compared(preset))
        assert unknown.bound is not None
        assert preset[-2:] in unknown.bound.quantile
        assert "$bound" in unknown.total
        known = counts_of(compared(preset), Attempt((NOW,), 3600, 60, bound="0.05"))
        assert known.bound is None
        assert 'le="0.05"' in known.bad
        assert "$bound" not in known.total + known.bad

    def test_pairs_need_no_history(self) -> None:
        counts = counts_of(compared("Disagreement", "Paired"))
        assert counts.history_seconds == 0
        assert 'outcome=~"canary_worse|stable_worse"' in counts.total
        assert 'outcome="canary_worse"' in counts.bad

    def test_only_randomization_needs_looks_that_stay(self) -> None:
        assert counts_of(compared("ErrorRate", "Randomization")).fixed_looks
        assert not counts_of(compared("ErrorRate")).fixed_looks

    def test_the_query_that_is_shown_has_no_places_left_and_covers_the_attempt(self) -> None:
        query = build_query(compared("LatencyP95"), SCOPE, field="f", attempt=ATTEMPT, now=NOW)
        assert "$" not in query.value
        assert "[3601s]" in query.value
        assert not query.asks_value

    def test_with_a_threshold_the_value_is_asked_too(self) -> None:
        query = build_query(
            compared("ErrorRate", threshold={"max": "1"}), SCOPE, field="f", attempt=ATTEMPT, now=NOW
        )
        assert query.asks_value
        assert query.counts is not None

    def test_without_a_stable_revision_no_counts_are_asked(self) -> None:
        first = Scope("plant", "pump", canary="c" * 64, stable="", nodes=(), window_seconds=90)
        for gate in (compared("ErrorRate"), compared("Memory", "Ratio")):
            query = build_query(gate, first, field="f", attempt=ATTEMPT, now=NOW)
            assert (query.counts, query.baseline) == (None, None)

    @pytest.mark.parametrize(
        ("interval", "history", "tick"), [(60, 259_200, 450), (1, 60, 10), (60, 3600, 60), (900, 86_400, 900)]
    )
    def test_a_tick_is_at_least_a_look_ten_seconds_and_a_part_of_the_history(
        self, interval: int, history: int, tick: int
    ) -> None:
        assert tick_seconds(history, interval) == tick

    @pytest.mark.parametrize(
        ("bound", "matcher"), [("0.05", 'le="0.05"'), ("1.0", 'le=~"1|1[.]0"'), ("1", 'le=~"1|1[.]0"')]
    )
    def test_a_bound_is_found_in_any_spelling(self, bound: str, matcher: str) -> None:
        assert le_matcher(bound) == matcher

    def test_places_without_a_value_stay(self) -> None:
        assert fill_places("a[$window] $nodes", {"window": "5s"}) == "a[5s] $nodes"


class TestMethods:
    @pytest.mark.parametrize("preset", [*Preset])
    @pytest.mark.parametrize("method", [*ComparisonMethod])
    def test_a_method_that_does_not_fit_the_preset_is_refused_with_those_that_do(
        self, preset: Preset, method: ComparisonMethod
    ) -> None:
        gate = compared(preset.value, method.value)
        if method in METHODS[preset]:
            check_comparison(gate, field="f")
        else:
            with pytest.raises(
                InvalidInput, match=rf"f\.comparison\.method: must be .* for {preset}, got {method}"
            ):
                check_comparison(gate, field="f")

    def test_a_query_that_does_not_name_the_canary_cannot_be_compared(self) -> None:
        with pytest.raises(InvalidInput, match=r"f\.query: must name \{\{ canary \}\}"):
            check_comparison(compared(None, "Ratio", query="up"), field="f")

    def test_the_stable_revision_is_asked_the_same_query_and_else_as_of_the_start(self) -> None:
        gate = compared(None, "Ratio", query='max(a{r="{{ canary }}"})')
        query = build_query(gate, SCOPE, field="f", attempt=ATTEMPT, now=NOW)
        assert query.value == f'max(a{{r="{"c" * 64}"}})'
        assert query.baseline == f'max(a{{r="{"5" * 64}"}})'
        assert query.baseline_at == ATTEMPT.step_times[0]
