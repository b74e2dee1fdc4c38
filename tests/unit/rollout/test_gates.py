"""The gates of a step together: when they are due and what missing answers ask for."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Sample, Vector
from edgecanary.analysis.template import Scope
from edgecanary.api.analysis import Analysis, OnMissing
from edgecanary.api.rollout_status import AnalysisStatus, MetricStatus, StepStatus, Verdict
from edgecanary.rollout.gates import evaluate_gates, next_measurement, queries, view_gates, window_seconds

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SCOPE = Scope("plant", "pump", "c" * 64, "5" * 64, ("n1",), 60)
STEP = StepStatus(index=0, name="first", start_time=NOW)
DOWN = QueryError("PrometheusUnavailable", "no answer")


def analysis(*metrics: dict[str, object]) -> Analysis:
    base = {"preset": "Accuracy", "threshold": {"min": "0.9"}}
    named = [{"name": f"m{i}", **base, **metric} for i, metric in enumerate(metrics)]
    return Analysis.model_validate(
        {"prometheus": {"url": "http://p:9090"}, "intervalSeconds": 60, "metrics": named}
    )


def look(gates: Analysis, before: AnalysisStatus | None, value: Vector | QueryError) -> AnalysisStatus:
    answers = {m.name: Answer(MetricQuery(m.name, "q"), value, None) for m in gates.metrics}
    after = evaluate_gates(gates, before, answers, SCOPE, NOW)
    assert after is not None
    return after


def number(value: float) -> Vector:
    return Vector((Sample((), value),))


@pytest.mark.parametrize(("elapsed", "expected"), [(0, 10), (30, 31), (3599, 3600), (90_000, 3600)])
def test_queries_look_back_to_the_start_of_the_step_ten_seconds_to_an_hour(
    elapsed: int, expected: int
) -> None:
    assert window_seconds(STEP, NOW + timedelta(seconds=elapsed)) == expected


def test_a_step_is_measured_at_once_and_then_at_every_interval() -> None:
    gates = analysis({})
    assert next_measurement(gates, None, NOW) == NOW
    measured = look(gates, None, number(0.95))
    assert next_measurement(gates, measured, NOW) == NOW + timedelta(seconds=60)


def test_a_clock_that_jumps_back_does_not_stop_the_measurements() -> None:
    measured = AnalysisStatus(time=NOW + timedelta(days=365))
    assert next_measurement(analysis({}), measured, NOW) == NOW + timedelta(seconds=60)


def test_an_initial_delay_counts_from_the_moment_the_nodes_are_updated() -> None:
    gates = analysis({"initialDelaySeconds": 30})
    baking = STEP.model_copy(update={"bake_start_time": NOW})
    assert queries(gates, STEP, SCOPE, NOW) == ()
    assert queries(gates, baking, SCOPE, NOW + timedelta(seconds=29)) == ()
    assert len(queries(gates, baking, SCOPE, NOW + timedelta(seconds=30))) == 1


def test_a_gate_that_was_never_measured_has_not_passed() -> None:
    assert not view_gates(analysis({}), None).passed


def test_without_analysis_there_is_nothing_to_pass() -> None:
    assert view_gates(None, None).passed


def test_all_enforced_gates_must_pass() -> None:
    gates = analysis({}, {"threshold": {"min": "0.99"}, "failureLimit": 3})
    assert not view_gates(gates, look(gates, None, number(0.95))).passed


def test_a_dry_run_gate_is_shown_and_never_decides() -> None:
    gates = analysis({}, {"threshold": {"min": "0.99"}, "mode": "DryRun"})
    status = look(gates, None, number(0.95))
    view = view_gates(gates, status)
    assert view.passed
    assert view.failed == ()
    assert status.metrics[1].verdict is Verdict.FAIL
    assert status.display == "1/1 Pass"


@pytest.mark.parametrize("answer", [DOWN, Vector()])
@pytest.mark.parametrize("asked", [OnMissing.PAUSE, OnMissing.ROLLBACK])
def test_missing_answers_come_into_force_after_the_tolerated_number_in_a_row(
    answer: Vector | QueryError, asked: OnMissing
) -> None:
    gates = analysis({"consecutiveErrorLimit": 2, "onError": asked.value, "onNoData": asked.value})
    status: AnalysisStatus | None = None
    for _ in range(2):
        status = look(gates, status, answer)
        assert view_gates(gates, status).missing == ()
    status = look(gates, status, answer)
    assert [what for _, what in view_gates(gates, status).missing] == [asked]


def test_by_default_missing_answers_only_wait() -> None:
    gates = analysis({"consecutiveErrorLimit": 0})
    status = look(gates, look(gates, None, DOWN), DOWN)
    assert view_gates(gates, status).missing == ()
    assert not view_gates(gates, status).passed


def test_a_custom_query_with_an_unknown_place_is_reported_as_the_gates_error() -> None:
    known = analysis({"preset": None, "query": "up"})
    newer = known.metrics[0].model_copy(update={"query": "up{r='{{ cannary }}'}"})
    gates = known.model_copy(update={"metrics": (newer,)})
    assert queries(gates, STEP, SCOPE, NOW) == ()
    status = evaluate_gates(gates, None, {}, SCOPE, NOW)
    assert status is not None
    assert status.metrics[0].reason == "QueryInvalid"
    assert "spec.analysis.metrics[0].query" in status.metrics[0].message


class TestComparisons:
    COMPARED: ClassVar[dict[str, object]] = {"preset": "ErrorRate", "threshold": None, "comparison": {}}
    FIRST = Scope("plant", "pump", "c" * 64, "", ("n1",), 60)

    def test_the_attempts_steps_and_the_frozen_bound_are_what_is_asked_by(self) -> None:
        gates = analysis({**self.COMPARED, "preset": "LatencyP95"})
        times = (NOW - timedelta(days=1), NOW)
        known = MetricStatus(name="m0", bound_seconds="0.05")
        before = AnalysisStatus(step_times=times, metrics=(known,))
        (query,) = queries(gates, STEP, SCOPE, NOW, before)
        assert query.counts is not None
        assert query.counts.step_times == times
        assert query.counts.bound is None

    def test_an_attempt_without_noted_steps_began_with_this_one(self) -> None:
        (query,) = queries(analysis(self.COMPARED), STEP, SCOPE, NOW)
        assert query.counts is not None
        assert query.counts.step_times == (STEP.start_time,)

    def test_in_the_first_rollout_a_comparison_is_not_asked_does_not_decide_and_says_so(self) -> None:
        gates = analysis(self.COMPARED)
        assert queries(gates, STEP, self.FIRST, NOW) == ()
        assert not view_gates(gates, None).passed, "before the first look nothing is known"
        status = evaluate_gates(gates, None, {}, self.FIRST, NOW)
        assert status is not None
        assert (status.metrics[0].verdict, status.metrics[0].reason) == (
            Verdict.INCONCLUSIVE,
            "NotApplicable",
        )
        assert status.display == "0/0 Pass"
        assert view_gates(gates, status).passed

    def test_in_the_first_rollout_a_threshold_beside_the_comparison_decides(self) -> None:
        gates = analysis({**self.COMPARED, "threshold": {"max": "0.05"}})
        (query,) = queries(gates, STEP, self.FIRST, NOW)
        for value, passed in ((0.04, True), (0.06, False)):
            answers = {"m0": Answer(query, number(value))}
            status = evaluate_gates(gates, None, answers, self.FIRST, NOW)
            assert view_gates(gates, status).passed is passed

    def test_a_comparison_without_counts_has_not_passed(self) -> None:
        gates = analysis(self.COMPARED)
        (query,) = queries(gates, STEP, SCOPE, NOW)
        answers = {"m0": Answer(query, None, counts=DOWN)}
        status = evaluate_gates(gates, None, answers, SCOPE, NOW)
        view = view_gates(gates, status)
        assert not view.passed
        assert view.status is not None
        assert view.status.metrics[0].errors == 1

    def test_the_steps_of_the_attempt_are_kept_by_every_look(self) -> None:
        before = AnalysisStatus(step_times=(NOW,))
        after = evaluate_gates(
            analysis({}), before, {"m0": Answer(MetricQuery("m0", "q"), number(1))}, SCOPE, NOW
        )
        assert after is not None
        assert after.step_times == (NOW,)
