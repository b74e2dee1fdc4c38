"""The comparison of a gate: what it says of counts, and what it says when there is nothing to say."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.analysis.comparison import comparison_limit
from edgecanary.analysis.counting import Attempt
from edgecanary.analysis.counts import Blocks, ComparisonCounts, History
from edgecanary.analysis.presets import build_query
from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Sample, Vector
from edgecanary.analysis.template import Scope
from edgecanary.analysis.verdict import evaluate
from edgecanary.analysis.wording import describe_seconds
from edgecanary.api.analysis import Metric
from edgecanary.api.rollout_status import MeasurementOutcome, MetricStatus, Verdict

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SCOPE = Scope("plant", "pump", "c" * 64, "5" * 64, (), 60)
ATTEMPT = Attempt((NOW,), 6 * 3600, 60)
START = MetricStatus(name="m")


def metric(**fields: object) -> Metric:
    return Metric.model_validate({"name": "m", "preset": "ErrorRate", "comparison": {}, **fields})


def fleet(
    *,
    canaries: int = 3,
    nodes: int = 12,
    requests: float = 500.0,
    rate: float = 0.02,
    canary_rate: float | None = None,
    ticks: int = 64,
    seed: int = 1,
) -> ComparisonCounts:
    """Counts of an even fleet: 360 ticks of history, then `ticks` in which the first nodes are canaries."""
    random = np.random.default_rng(seed)
    past = random.poisson(requests, (nodes, 360)).astype(float)
    past_bad = random.binomial(past.astype(int), rate).astype(float)
    canary = np.zeros((nodes, 2), np.bool_)
    canary[:canaries] = True
    shares = np.where(canary, rate if canary_rate is None else canary_rate, rate)
    total = random.poisson(requests * ticks / 2, (nodes, 2)).astype(float)
    half = np.full(2, ticks / 2)
    return ComparisonCounts(
        tuple(f"edge-{number:02}" for number in range(nodes)),
        60.0,
        History(past.sum(1), past_bad.sum(1), np.arange(nodes), past, past_bad),
        Blocks(
            half,
            canary,
            total,
            random.binomial(total.astype(int), shares).astype(float),
            np.tile(half, (nodes, 1)),
        ),
    )


def judged(
    gate: Metric, counts: ComparisonCounts | QueryError | None, *, before: MetricStatus = START
) -> MetricStatus:
    query = build_query(gate, SCOPE, field="f", attempt=ATTEMPT, now=NOW)
    return evaluate(gate, before, Answer(query, None, counts=counts), NOW)


class TestVerdict:
    def test_no_regression_and_enough_exposure_pass(self) -> None:
        status = judged(metric(), fleet())
        assert (status.verdict, status.reason) == (Verdict.PASS, "NoRegression")
        assert status.measurements[-1].outcome is MeasurementOutcome.WITHIN

    def test_a_regression_fails_and_names_the_worst_nodes_the_worst_first(self) -> None:
        counts = fleet(canary_rate=0.06)
        counts.since.bad[1] *= 2
        status = judged(metric(), counts)
        assert (status.verdict, status.reason) == (Verdict.FAIL, "RegressionFound")
        assert status.worst_nodes[0].name == "edge-01"
        assert "worst: edge-01 (" in status.message

    def test_too_little_exposure_says_how_many_more_requests_how_long_and_what_would_be_found(self) -> None:
        status = judged(metric(), fleet(requests=5, ticks=16))
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow")
        assert status.message.split("; ")[-2].startswith("needs ")
        assert " more requests, about " in status.message
        assert status.message.endswith("x increase would be found now")
        assert status.evidence is not None
        assert float(status.evidence.exposure) < float(status.evidence.exposure_needed)

    def test_so_soon_after_the_switch_only_a_disaster_is_found(self) -> None:
        status = judged(metric(), fleet(requests=4000, ticks=4))
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow")
        assert " more requests, about " in status.message
        assert status.message.endswith("only a disaster would be found so soon after the switch")
        assert judged(metric(), fleet(requests=4000, ticks=4, canary_rate=0.9)).verdict is Verdict.FAIL

    def test_more_requests_are_not_promised_where_they_do_not_help(self) -> None:
        status = judged(metric(comparison={"detectRatio": "1.01"}), fleet(canaries=1))
        assert "will not do, since nodes vary" in status.message
        assert "widen the step or declare a larger detectRatio" in status.message

    def test_the_confidence_is_the_limit_of_the_evidence(self) -> None:
        weak = fleet(requests=30, canary_rate=0.03)
        strict = judged(metric(comparison={"confidence": "0.999999999"}), weak)
        assert strict.limit == "evidence below 1000000000"
        assert strict.verdict is not Verdict.FAIL
        assert judged(metric(comparison={"confidence": "0.6"}), weak).verdict is Verdict.FAIL

    def test_regressions_in_a_row_are_tolerated_up_to_the_limit(self) -> None:
        gate, bad = metric(failureLimit=1), fleet(canary_rate=0.1)
        first = judged(gate, bad)
        assert (first.verdict, first.reason) == (Verdict.INCONCLUSIVE, "RegressionFoundTolerated")
        assert judged(gate, bad, before=first).verdict is Verdict.FAIL

    def test_fewer_than_the_wanted_samples_decide_nothing_however_bad(self) -> None:
        status = judged(metric(minSamples=10_000_000), fleet(canary_rate=0.5))
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "TooFewSamples")

    def test_without_stable_nodes_of_the_same_time_nothing_passes(self) -> None:
        counts = fleet(canaries=12)
        counts.history.total[:] = 0
        counts.history.ticks_total[:] = 0
        assert judged(metric(), counts).verdict is not Verdict.PASS

    @given(st.integers(0, 12), st.integers(0, 2000), st.floats(0, 1), st.floats(0.5, 4000))
    def test_whatever_is_counted_has_a_verdict_that_fits_into_a_status(
        self, canaries: int, requests: int, rate: float, ticks: float
    ) -> None:
        counts = fleet(canaries=canaries, requests=requests, canary_rate=rate, ticks=max(2, int(ticks)))
        for method in ("NegativeBinomial", "Randomization"):
            status = judged(metric(comparison={"method": method}), counts)
            assert len(status.model_dump_json()) < 40_000
            assert "nan" not in status.message
            assert MetricStatus.model_validate(status.to_json()) == status


class TestStrata:
    """Randomization compares only choices with as many canaries of each stratum."""

    def judged_in(self, *strata: tuple[str, ...], canary_rate: float) -> MetricStatus:
        gate = metric(comparison={"method": "Randomization"})
        query = build_query(gate, replace(SCOPE, strata=strata), field="f", attempt=ATTEMPT, now=NOW)
        counts = fleet(canary_rate=canary_rate)
        return evaluate(gate, START, Answer(query, None, counts=counts), NOW)

    def test_a_stratum_that_is_all_canary_leaves_no_choice(self) -> None:
        names = fleet().nodes
        status = self.judged_in(names[:3], names[3:], canary_rate=0.1)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "TooFewChoices")
        assert f"3 of {len(names)} nodes in 2 strata give 1; use" in status.message

    def test_the_evidence_is_the_real_choices_place_against_what_may_be_rejected(self) -> None:
        names = fleet().nodes
        bad = self.judged_in(names, canary_rate=0.1)
        good = self.judged_in(names, canary_rate=0.02)
        assert bad.evidence is not None
        assert good.evidence is not None
        assert (bad.verdict, good.verdict) == (Verdict.FAIL, Verdict.PASS)
        assert 0 < float(bad.evidence.value) <= float(bad.evidence.limit) < 0.05
        assert float(good.evidence.value) > float(good.evidence.limit)


class TestMissing:
    @pytest.mark.parametrize(
        ("reason", "outcome"),
        [
            ("PrometheusUnavailable", MeasurementOutcome.ERROR),
            ("NodeLabelMissing", MeasurementOutcome.ERROR),
            ("BucketMismatch", MeasurementOutcome.ERROR),
            ("CountsIncomplete", MeasurementOutcome.TOO_FEW_SAMPLES),
            ("NoData", MeasurementOutcome.NO_DATA),
        ],
    )
    def test_counts_that_cannot_be_read_are_inconclusive(
        self, reason: str, outcome: MeasurementOutcome
    ) -> None:
        status = judged(metric(), QueryError(reason, "why"))
        assert (status.verdict, status.reason, status.message) == (Verdict.INCONCLUSIVE, reason, "why")
        assert status.measurements[-1].outcome is outcome

    def test_counts_that_were_not_asked_are_an_error(self) -> None:
        assert judged(metric(), None).reason == "NotAsked"

    def test_no_canary_at_all_is_no_data(self) -> None:
        assert judged(metric(), fleet(canaries=0)).reason == "NoData"

    def test_canaries_that_count_nothing_long_after_their_warm_up_are_no_data(self) -> None:
        counts = fleet()
        counts.since.total[:3] = 0
        counts.since.bad[:3] = 0
        status = judged(metric(), counts)
        assert (status.reason, status.no_data) == ("NoData", 1)
        short = fleet(ticks=6)
        short.since.total[:3] = 0
        short.since.bad[:3] = 0
        status = judged(metric(), short)
        assert (status.reason, status.no_data) == ("WarmingUp", 0)

    @pytest.mark.parametrize("method", ["NegativeBinomial", "Ratio"])
    def test_in_the_first_rollout_a_comparison_does_not_decide_and_its_threshold_does(
        self, method: str
    ) -> None:
        more = {"maxIncreasePercent": 10} if method == "Ratio" else {}
        gate = metric(comparison={"method": method, **more}, threshold={"max": "0.05"})
        first = Scope("plant", "pump", "c" * 64, "", (), 60)
        query = build_query(gate, first, field="f", attempt=ATTEMPT, now=NOW)
        for value, verdict in ((0.04, Verdict.PASS), (0.06, Verdict.FAIL)):
            status = evaluate(gate, START, Answer(query, Vector((Sample((), value),))), NOW)
            assert status.verdict is verdict
            assert "no stable revision to compare with" in status.message


class TestBoth:
    @pytest.mark.parametrize(
        ("value", "canary_rate", "verdict"),
        [(0.01, 0.02, Verdict.PASS), (0.9, 0.02, Verdict.FAIL), (0.01, 0.1, Verdict.FAIL)],
    )
    def test_either_fails_and_only_both_pass(
        self, value: float, canary_rate: float, verdict: Verdict
    ) -> None:
        gate = metric(threshold={"max": "0.05"})
        query = build_query(gate, SCOPE, field="f", attempt=ATTEMPT, now=NOW)
        answer = Answer(query, Vector((Sample((), value),)), counts=fleet(canary_rate=canary_rate))
        status = evaluate(gate, START, answer, NOW)
        assert status.verdict is verdict
        assert status.evidence is not None
        assert float(status.value or 0) == value, "the value is what the threshold judges"

    def test_a_threshold_that_passes_waits_for_the_comparison(self) -> None:
        gate = metric(threshold={"max": "0.05"})
        query = build_query(gate, SCOPE, field="f", attempt=ATTEMPT, now=NOW)
        answer = Answer(query, Vector((Sample((), 0.01),)), counts=QueryError("NoData", "none"))
        assert evaluate(gate, START, answer, NOW).verdict is Verdict.INCONCLUSIVE


class TestPaired:
    """Discordant pairs of a shadow: those against the canary are the bad ones."""

    GATE = Metric.model_validate(
        {"name": "m", "preset": "Disagreement", "comparison": {"method": "Paired", "detectRatio": "3"}}
    )

    def look(self, against: Sequence[float], pairs: Sequence[float]) -> MetricStatus:
        """Pairs on the first nodes; the last node is stable and has some that must not count."""
        total, bad = np.zeros((len(pairs) + 1, 2)), np.zeros((len(pairs) + 1, 2))
        total[:-1, 1], bad[:-1, 1] = pairs, against
        total[-1], bad[-1] = 500.0, 400.0
        canary = np.ones(total.shape, np.bool_)
        canary[-1] = False
        nodes, none = len(total), np.zeros((0, 0))
        counts = ComparisonCounts(
            tuple(f"edge-{number}" for number in range(nodes)),
            60.0,
            History(np.zeros(nodes), np.zeros(nodes), np.zeros(0, np.int64), none, none),
            Blocks(np.full(2, 10.0), canary, total, bad, np.full(total.shape, 10.0)),
        )
        query = build_query(self.GATE, SCOPE, field="f", attempt=ATTEMPT, now=NOW)
        return evaluate(self.GATE, START, Answer(query, None, counts=counts), NOW)

    def test_too_few_pairs_wait_and_say_how_many_more_and_how_long(self) -> None:
        status = self.look([10.0, 0.0], [20.0, 0.0])
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow")
        assert status.evidence is not None
        assert (status.evidence.exposure, status.evidence.canary_nodes) == ("5", 1)
        assert (
            "50 % of 20 discordant pairs on 1 canary node went against the canary, 50 % expected"
            in status.message
        )
        assert "needs 34 more discordant pairs, about 17 min" in status.message

    def test_a_canary_that_loses_no_more_than_half_passes(self) -> None:
        status = self.look([30.0, 28.0], [60.0, 60.0])
        assert (status.verdict, status.reason, status.samples) == (Verdict.PASS, "NoRegression", 120)

    def test_a_canary_that_loses_most_fails_and_the_worst_node_is_named_first(self) -> None:
        status = self.look([20.0, 55.0], [40.0, 60.0])
        assert (status.verdict, status.reason) == (Verdict.FAIL, "RegressionFound")
        assert "worst: edge-1 (55 of 60, 30 expected)" in status.message

    def test_without_pairs_nothing_is_known(self) -> None:
        assert self.look([0.0], [0.0]).verdict is Verdict.INCONCLUSIVE


class TestRatio:
    GATE = Metric.model_validate(
        {"name": "m", "preset": "Memory", "comparison": {"method": "Ratio", "maxIncreasePercent": 10}}
    )

    def look(self, value: float, stable: float | None) -> MetricStatus:
        query = MetricQuery("m", "q", baseline="b")
        baseline = Vector() if stable is None else Vector((Sample((), stable),))
        return evaluate(self.GATE, START, Answer(query, Vector((Sample((), value),)), baseline=baseline), NOW)

    @pytest.mark.parametrize(
        ("value", "stable", "verdict", "reason"),
        [
            (110.0, 100.0, Verdict.PASS, "WithinLimits"),
            (110.1, 100.0, Verdict.FAIL, "IncreaseExceeded"),
            (1.0, 100.0, Verdict.PASS, "WithinLimits"),
            (0.0, 0.0, Verdict.PASS, "WithinLimits"),
            (1.0, 0.0, Verdict.INCONCLUSIVE, "NoRatio"),
            (1.0, -1.0, Verdict.INCONCLUSIVE, "NoRatio"),
            (1.0, None, Verdict.INCONCLUSIVE, "NoData"),
        ],
    )
    def test_the_limit_itself_is_allowed_and_what_has_no_ratio_is_never_a_pass(
        self, value: float, stable: float | None, verdict: Verdict, reason: str
    ) -> None:
        status = self.look(value, stable)
        assert (status.verdict, status.reason) == (verdict, reason)

    def test_a_failure_tells_the_stable_revisions_value_too(self) -> None:
        status = self.look(200.0, 100.0)
        assert (status.value, status.baseline) == ("200", "100")

    def test_a_decrease_is_told_as_one(self) -> None:
        assert "90 is 10 % below the stable revision's 100" in self.look(90, 100).message


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("NegativeBinomial", "evidence below 20"),
        ("Randomization", "not among the worst choices of canaries at 5 %"),
    ],
)
def test_the_limit_is_told_in_the_methods_own_terms(method: str, text: str) -> None:
    gate = metric(comparison={"method": method})
    assert gate.comparison is not None
    assert comparison_limit(gate.comparison) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (10_800, "3 h"), (200_000, "2 days")],
)
def test_times_are_rough(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
