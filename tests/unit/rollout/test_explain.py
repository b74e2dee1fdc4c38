"""A failed gate in one line, short enough for an Event."""

from hypothesis import given
from hypothesis import strategies as st

from edgecanary.api.rollout_status import MetricStatus
from edgecanary.rollout.explain import FAILURE_LIMIT, describe_failure, describe_failures
from tests.unit.rollout.standing import FAILED_METRIC


def failed(**fields: object) -> MetricStatus:
    return MetricStatus.model_validate({**FAILED_METRIC, **fields})


def test_a_failed_comparison_says_value_limit_baseline_samples_evidence_and_the_worst_nodes() -> None:
    assert describe_failure(failed()) == (
        "errors: 1.9 times as many errors as on stable nodes; "
        "value 0.051, limit evidence 20, stable 0.0268, 12400 samples; "
        "evidence 34.2 against 20 (NegativeBinomial, 5 canary and 95 stable nodes); "
        "worst nodes: edge-07 with 212 of 2480 bad, 64.1 expected, edge-31 with 160 of 2511 bad, 70 expected, "
        "edge-88 with 131 of 2390 bad, 66.3 expected"
    )


def test_what_the_message_tells_is_not_told_twice() -> None:
    said = "0.051 is above the limit 0.02 over 12400 samples (stable: 0.0268)"
    metric = failed(method="Threshold", message=said, limit="at most 0.02", evidence=None, worstNodes=[])
    assert describe_failure(metric) == f"errors: {said}"


def test_nodes_that_the_message_names_are_not_named_again() -> None:
    text = describe_failure(failed(message="twice as many errors, most on edge-07"))
    assert text.count("edge-07") == 1
    assert text.count("edge-31") == 1


def test_a_metric_without_figures_says_its_message() -> None:
    metric = MetricStatus(name="errors", message="Prometheus has no data for the query yet")
    assert describe_failure(metric) == "errors: Prometheus has no data for the query yet"


def test_where_there_is_no_room_the_least_bad_node_goes_first() -> None:
    text = describe_failure(failed(), limit=270)
    assert "edge-07" in text
    assert "edge-88" not in text
    assert len(text) <= 270


def test_several_failed_metrics_share_the_room_and_none_is_forgotten() -> None:
    text = describe_failures([failed(name=f"errors-{i}") for i in range(3)])
    assert len(text) <= FAILURE_LIMIT
    for i in range(3):
        assert f"errors-{i}: 1.9" in text
    many = describe_failures([failed(name=f"errors-{i}") for i in range(20)])
    assert len(many) <= FAILURE_LIMIT
    assert many.startswith("errors-0: 1.9")
    assert many.endswith("more")


@given(
    names=st.lists(st.integers(1, 253), min_size=1, max_size=3),
    count=st.integers(1, 20),
    limit=st.integers(80, 900),
)
def test_no_length_of_names_breaks_the_limit(names: list[int], count: int, limit: int) -> None:
    worst = [{"name": "n" * size, "bad": "1", "expected": "1", "total": "9"} for size in names]
    metrics = [failed(name="e" * 63, worstNodes=worst, limit="l" * 256)] * count
    assert len(describe_failures(metrics, limit=limit)) <= limit
