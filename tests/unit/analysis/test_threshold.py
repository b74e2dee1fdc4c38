"""The Threshold gate: what one look says, and what looks in a row say together."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.look import format_value
from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Sample, Vector
from edgecanary.analysis.verdict import evaluate, take_look
from edgecanary.api.analysis import Metric
from edgecanary.api.rollout_status import MeasurementOutcome, MetricStatus, Verdict

NOW = datetime(2026, 1, 5, tzinfo=UTC)
QUERY = MetricQuery("m", "up")
DOWN = QueryError("PrometheusUnavailable", "no answer within 10 s")
START = MetricStatus(name="m")


def metric(**fields: object) -> Metric:
    return Metric.model_validate({"name": "m", "preset": "Accuracy", "threshold": {"min": "0.9"}, **fields})


def vector(*values: float) -> Vector:
    return Vector(tuple(Sample((("i", str(i)),), value) for i, value in enumerate(values)))


def answer(value: Vector | QueryError, samples: float | None = None, baseline: float | None = None) -> Answer:
    return Answer(
        QUERY,
        value,
        None if samples is None else vector(samples),
        None if baseline is None else vector(baseline),
    )


def run(gate: Metric, *answers: Answer) -> MetricStatus:
    status = START
    for given_answer in answers:
        status = evaluate(gate, status, given_answer, NOW)
    return status


@pytest.mark.parametrize(
    ("threshold", "value", "outcome"),
    [
        ({"min": "0.9"}, 0.9, MeasurementOutcome.WITHIN),
        ({"min": "0.9"}, 0.8999, MeasurementOutcome.BEYOND),
        ({"max": "85"}, 85.0, MeasurementOutcome.WITHIN),
        ({"max": "85"}, 85.0001, MeasurementOutcome.BEYOND),
        ({"min": "1", "max": "2"}, 1.5, MeasurementOutcome.WITHIN),
        ({"min": "1", "max": "2"}, 0.5, MeasurementOutcome.BEYOND),
        ({"min": "1", "max": "2"}, 2.5, MeasurementOutcome.BEYOND),
        ({"min": "-1.5"}, -1.5, MeasurementOutcome.WITHIN),
    ],
)
def test_the_limits_themselves_are_allowed(
    threshold: dict[str, str], value: float, outcome: MeasurementOutcome
) -> None:
    assert take_look(metric(threshold=threshold), answer(vector(value))).outcome is outcome


@pytest.mark.parametrize(
    ("given_value", "outcome", "reason"),
    [
        (Vector(), MeasurementOutcome.NO_DATA, "NoData"),
        (vector(float("nan")), MeasurementOutcome.NO_DATA, "NotANumber"),
        (vector(float("inf")), MeasurementOutcome.NO_DATA, "NotANumber"),
        (vector(float("-inf")), MeasurementOutcome.NO_DATA, "NotANumber"),
        (vector(0.99, 0.98), MeasurementOutcome.ERROR, "SeveralSeries"),
        (DOWN, MeasurementOutcome.ERROR, "PrometheusUnavailable"),
    ],
)
def test_an_answer_without_one_finite_number_is_neither_pass_nor_fail(
    given_value: Vector | QueryError, outcome: MeasurementOutcome, reason: str
) -> None:
    status = run(metric(), answer(given_value))
    assert status.verdict is Verdict.INCONCLUSIVE
    assert status.reason == reason
    assert status.measurements[-1].outcome is outcome


def test_too_few_samples_give_no_verdict_however_bad_the_value() -> None:
    status = run(metric(minSamples=100), answer(vector(0.1), samples=99))
    assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "TooFewSamples")
    assert status.message == "needs 100 samples, has 99; 0.1 so far"


def test_an_unknown_number_of_samples_is_too_few() -> None:
    assert run(metric(minSamples=1), answer(vector(0.99))).reason == "TooFewSamples"


def test_enough_samples_give_a_verdict() -> None:
    assert run(metric(minSamples=100), answer(vector(0.97), samples=100)).verdict is Verdict.PASS


def test_the_first_value_beyond_the_limits_fails_when_none_is_tolerated() -> None:
    status = run(metric(), answer(vector(0.5), samples=10, baseline=0.97))
    assert status.verdict is Verdict.FAIL
    assert status.message == "0.5 is below the limit 0.9 over 10 samples (stable: 0.97)"


def test_values_beyond_the_limits_are_tolerated_up_to_the_limit_in_a_row() -> None:
    bad, good, gate = answer(vector(0.5)), answer(vector(0.95)), metric(failureLimit=2)
    assert run(gate, bad, bad).verdict is Verdict.INCONCLUSIVE
    assert run(gate, bad, bad, good, bad, bad).verdict is Verdict.INCONCLUSIVE
    assert run(gate, bad, bad, bad).verdict is Verdict.FAIL


def test_a_look_that_says_nothing_does_not_forgive_earlier_ones() -> None:
    bad, nothing = answer(vector(0.5)), answer(Vector())
    assert run(metric(failureLimit=2), bad, nothing, bad, nothing, bad).verdict is Verdict.FAIL


def test_a_fail_latches() -> None:
    status = run(metric(), answer(vector(0.5)), answer(vector(0.99)))
    assert status.verdict is Verdict.FAIL
    assert status.message == "0.5 is below the limit 0.9"


def test_a_latched_fail_keeps_what_it_said_and_only_notes_the_measurement() -> None:
    status = run(metric(), answer(vector(0.5), baseline=0.97), answer(vector(0.99)))
    assert (status.value, status.baseline) == ("0.5", "0.97")
    assert [entry.value for entry in status.measurements] == ["0.5", "0.99"]


def test_a_metric_without_limits_never_passes() -> None:
    gate = metric().model_copy(update={"threshold": None})
    status = run(gate, answer(vector(0.99), samples=1000))
    assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "NoLimit")


def test_the_status_says_how_it_was_judged_and_links_to_the_query() -> None:
    status = evaluate(metric(), START, answer(vector(0.95)), NOW, prometheus="http://prometheus:9090/")
    assert (status.method, status.limit, status.query) == ("Threshold", "at least 0.9", "up")
    assert status.link == (
        "http://prometheus:9090/graph?g0.expr=up&g0.tab=1&g0.moment_input=2026-01-05%2000%3A00%3A00"
    )


def test_since_moves_with_the_verdict_and_its_reason_alone() -> None:
    later, last = NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)
    first = evaluate(metric(), START, answer(vector(0.95)), NOW)
    second = evaluate(metric(), first, answer(vector(0.96)), later)
    third = evaluate(metric(), second, answer(Vector()), last)
    assert (first.since, second.since, third.since) == (NOW, NOW, last)


def test_errors_and_missing_data_are_counted_apart_and_forgotten_when_an_answer_comes() -> None:
    down, nothing = answer(DOWN), answer(Vector())
    assert run(metric(), down, down).errors == 2
    assert (run(metric(), down, nothing).errors, run(metric(), down, nothing).no_data) == (0, 1)
    assert run(metric(), down, nothing, answer(vector(0.95))).no_data == 0


@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_last_ten_measurements_are_kept(values: list[float]) -> None:
    status = run(metric(mode="DryRun"), *(answer(vector(value)) for value in values))
    assert [m.value for m in status.measurements] == [format_value(value) for value in values][-10:]


@given(st.floats(-1e30, 1e30))
def test_values_are_written_as_plain_decimals(value: float) -> None:
    text = format_value(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=1e-5, abs=1e-30)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_value_fits_into_a_status(value: float) -> None:
    status = run(metric(), answer(vector(value), samples=10))
    assert status.value is not None
    assert float(status.value) == pytest.approx(value, rel=1e-5, abs=1e-30)


def test_a_long_answer_of_prometheus_fits_into_a_status() -> None:
    status = run(metric(), answer(QueryError("QueryInvalid", "x" * 100_000)))
    assert len(status.message) == 4096
