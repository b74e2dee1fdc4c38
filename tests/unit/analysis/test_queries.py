"""What is asked of Prometheus: presets and custom queries."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.presets import build_query
from edgecanary.analysis.template import Scope, fill, nodes_pattern
from edgecanary.api.analysis import Metric, Preset
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
