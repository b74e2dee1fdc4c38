"""What each way of judging says of hours of a fleet's samples in a real Prometheus."""

import math
import time
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from edgecanary.api.rollout_status import MetricStatus, Verdict
from edgelab.prometheus import Prometheus
from tests.kube.backfill import Line, push
from tests.kube.gate_lab import CANARY, STABLE, Gate, Traffic, nodes

NODES = nodes(16)
CANARIES = NODES[:4]
HOUR = 3600.0
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.5)


def started(hours_ago: float) -> float:
    return float(math.floor(time.time() - hours_ago * HOUR))


def judged(prometheus: Prometheus, traffic: Traffic, metric: Mapping[str, object]) -> MetricStatus:
    push(prometheus.remote_write_url, traffic.lines)
    return Gate(prometheus, metric, traffic.start, 3 * 3600).look()


def canary(line: Line) -> bool:
    return line.labels["revision"] == CANARY


def errors(rate: float, *, hours: float = 2) -> Traffic:
    return Traffic(started(hours)).fleet(NODES, CANARIES, until=hours * HOUR, rate=rate, hours=3)


class TestNegativeBinomial:
    METRIC: ClassVar[Mapping[str, object]] = {"preset": "ErrorRate", "comparison": {}}

    def test_a_revision_that_is_as_good_passes_once_the_declared_increase_would_have_been_found(
        self, prometheus: Prometheus
    ) -> None:
        status = judged(prometheus, errors(0.02), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.PASS, "NoRegression"), status.message
        assert "a 2x increase would have been found" in status.message
        assert status.evidence is not None
        assert float(status.evidence.exposure) > float(status.evidence.exposure_needed)
        assert (status.evidence.canary_nodes, status.evidence.control_nodes) == (4, 12)
        assert status.method == "NegativeBinomial"
        assert status.limit == "evidence below 20"

    def test_a_worse_revision_fails_with_value_baseline_evidence_and_the_worst_nodes(
        self, prometheus: Prometheus
    ) -> None:
        status = judged(prometheus, errors(0.08), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.FAIL, "RegressionFound"), status.message
        assert float(status.value or 0) == pytest.approx(0.08, rel=0.1)
        assert float(status.baseline or 0) == pytest.approx(0.02, rel=0.2)
        assert status.evidence is not None
        assert float(status.evidence.value) > float(status.evidence.limit) == 20
        assert len(status.worst_nodes) == 3
        assert {node.name for node in status.worst_nodes} <= set(CANARIES)
        for fact in ("4 canary nodes", "12 stable nodes", "against 20", status.worst_nodes[0].name):
            assert fact in status.message

    def test_too_little_traffic_is_inconclusive_and_says_what_is_needed(self, prometheus: Prometheus) -> None:
        status = judged(prometheus, errors(0.02, hours=0.2), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow"), status.message
        assert "more requests, about" in status.message
        assert "only a disaster would be found so soon after the switch" in status.message
        assert status.evidence is not None
        assert (status.evidence.exposure, status.evidence.detectable_ratio) == ("0", "")

    def test_a_smaller_increase_than_the_declared_one_takes_longer(self, prometheus: Prometheus) -> None:
        status = judged(
            prometheus, errors(0.02, hours=0.5), {**self.METRIC, "comparison": {"detectRatio": "1.1"}}
        )
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow"), status.message
        assert "x increase would be found now" in status.message

    def test_a_fail_stays_whatever_later_looks_say(self, prometheus: Prometheus) -> None:
        traffic = errors(0.08)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, self.METRIC, traffic.start, 3 * 3600)
        failed = gate.look()
        gate.metric = {"preset": "ErrorRate", "comparison": {"confidence": "0.999999999999999"}}
        later = gate.look()
        assert (later.verdict, later.message, later.evidence) == (
            failed.verdict,
            failed.message,
            failed.evidence,
        )

    def test_with_a_threshold_too_both_must_pass_and_either_fails(self, prometheus: Prometheus) -> None:
        metric = {**self.METRIC, "threshold": {"max": "0.01"}}
        status = judged(prometheus, errors(0.02), metric)
        assert (status.verdict, status.reason) == (Verdict.FAIL, "LimitExceeded")
        assert "a 2x increase would have been found" in status.message
        assert status.limit == "at most 0.01; evidence below 20"

    def test_the_query_and_its_link_can_be_opened_in_prometheus(self, prometheus: Prometheus) -> None:
        status = judged(prometheus, errors(0.02), self.METRIC)
        found = {sample.labels["revision"]: sample.value for sample in prometheus.query(status.query)}
        assert found[CANARY] == pytest.approx(0.02, rel=0.2)
        assert set(found) == {CANARY, STABLE}
        assert status.link.startswith(f"{prometheus.url}/graph?")
        asked = parse_qs(urlsplit(status.link).query)
        assert asked["g0.expr"] == [status.query]
        assert asked["g0.tab"] == ["1"]


class TestRandomization:
    METRIC: ClassVar[Mapping[str, object]] = {
        "preset": "ErrorRate",
        "comparison": {"method": "Randomization"},
    }

    def test_a_worse_revision_fails(self, prometheus: Prometheus) -> None:
        status = judged(prometheus, errors(0.08), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.FAIL, "RegressionFound"), status.message

    def test_a_good_revision_passes(self, prometheus: Prometheus) -> None:
        status = judged(prometheus, errors(0.02), self.METRIC)
        assert status.verdict is Verdict.PASS, status.message

    def test_with_too_few_ways_to_choose_it_never_decides_and_says_what_to_do(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(1)).fleet(NODES, NODES[:1], until=HOUR, rate=0.5, hours=2)
        status = judged(prometheus, traffic, self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "TooFewChoices")
        assert "1 of 16 nodes give 16; use NegativeBinomial" in status.message


class TestAccuracy:
    METRIC: ClassVar[Mapping[str, object]] = {"preset": "Accuracy", "comparison": {}}

    @pytest.mark.parametrize(("wrong", "verdict"), [(0.05, Verdict.PASS), (0.2, Verdict.FAIL)])
    def test_wrong_answers_are_the_bad_ones_and_the_value_is_the_accuracy(
        self, prometheus: Prometheus, wrong: float, verdict: Verdict
    ) -> None:
        traffic = Traffic(started(2))
        for node in NODES:
            traffic.judge(node, STABLE, -3 * HOUR, 30 if node in CANARIES else 2 * HOUR, wrong=0.05)
        for node in CANARIES:
            traffic.judge(node, CANARY, 30, 2 * HOUR, wrong=wrong)
        status = judged(prometheus, traffic, self.METRIC)
        assert status.verdict is verdict, status.message
        assert float(status.value or 0) == pytest.approx(1 - wrong, abs=0.01)
        assert "judged answers" in status.message


class TestLatency:
    METRIC: ClassVar[Mapping[str, object]] = {"preset": "LatencyP95", "comparison": {}}

    def latencies(self, slow: float, *, canary_buckets: tuple[float, ...] = BUCKETS) -> Traffic:
        traffic = Traffic(started(2))
        for node in NODES:
            end = 30 if node in CANARIES else 2 * HOUR
            traffic.answer(node, STABLE, -3 * HOUR, end, buckets=BUCKETS, slow=0.02)
        for node in CANARIES:
            traffic.answer(node, CANARY, 30, 2 * HOUR, buckets=canary_buckets, slow=slow)
        return traffic

    @pytest.mark.parametrize(("slow", "verdict"), [(0.02, Verdict.PASS), (0.1, Verdict.FAIL)])
    def test_answers_slower_than_the_bucket_bound_at_the_stable_quantile_are_the_bad_ones(
        self, prometheus: Prometheus, slow: float, verdict: Verdict
    ) -> None:
        status = judged(prometheus, self.latencies(slow), self.METRIC)
        assert status.verdict is verdict, status.message
        assert status.bound_seconds == "0.05"
        assert "were slower than 0.05 s" in status.message

    def test_the_bound_is_frozen_for_the_attempt(self, prometheus: Prometheus) -> None:
        traffic = self.latencies(0.02)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, self.METRIC, traffic.start, 3 * 3600)
        gate.look()
        assert gate.status is not None
        frozen = gate.status.metrics[0].model_copy(update={"bound_seconds": "0.1"})
        gate.status = gate.status.model_copy(update={"metrics": (frozen,)})
        assert gate.look().bound_seconds == "0.1"
        assert "were slower than 0.1 s" in gate.look().message

    def test_revisions_with_other_buckets_are_compared_at_a_bound_that_both_have(
        self, prometheus: Prometheus
    ) -> None:
        traffic = self.latencies(0.1, canary_buckets=(0.02, 0.1, 0.3))
        status = judged(prometheus, traffic, self.METRIC)
        assert (status.bound_seconds, status.verdict) == ("0.1", Verdict.FAIL), status.message

    def test_revisions_without_a_common_bucket_are_not_compared_and_the_message_says_so(
        self, prometheus: Prometheus
    ) -> None:
        status = judged(prometheus, self.latencies(0.9, canary_buckets=(0.02, 0.3)), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "BucketMismatch")
        assert "canary 0.02 0.3; stable 0.01 0.025 0.05 0.1 0.5" in status.message

    def test_nodes_whose_histogram_lacks_the_bound_are_left_out_and_not_taken_for_fast(
        self, prometheus: Prometheus
    ) -> None:
        traffic = self.latencies(0.02)
        for line in traffic.lines:
            if (line.labels["node"], line.labels.get("le")) == (CANARIES[0], "0.05") and canary(line):
                line.samples = []
        status = judged(prometheus, traffic, self.METRIC)
        assert status.evidence is not None
        assert status.evidence.canary_nodes == 3


class TestPaired:
    METRIC: ClassVar[Mapping[str, object]] = {"preset": "Disagreement", "comparison": {"method": "Paired"}}

    @pytest.mark.parametrize(("against", "verdict"), [(0.5, Verdict.PASS), (0.75, Verdict.FAIL)])
    def test_only_pairs_in_which_one_revision_was_right_count(
        self, prometheus: Prometheus, against: float, verdict: Verdict
    ) -> None:
        traffic = Traffic(started(2))
        for node in CANARIES:
            traffic.shadow(node, 30, 2 * HOUR, pairs=30, against=against)
        status = judged(prometheus, traffic, self.METRIC)
        assert status.verdict is verdict, status.message
        assert "discordant pairs" in status.message
        assert status.evidence is not None
        assert status.evidence.control_nodes == 0

    def test_few_pairs_say_how_many_more_are_needed(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(1))
        traffic.shadow(NODES[0], 30, HOUR, pairs=5, against=0.5)
        status = judged(prometheus, traffic, self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow")
        assert "more discordant pairs" in status.message


class TestRatio:
    METRIC: ClassVar[Mapping[str, object]] = {
        "preset": "Memory",
        "comparison": {"method": "Ratio", "maxIncreasePercent": 10},
    }

    def memory(self, canary: float, *, everybody: bool = False) -> Traffic:
        traffic = Traffic(started(1))
        for node in NODES:
            switched = everybody or node in CANARIES
            traffic.weigh(node, STABLE, -HOUR, 600 if switched else HOUR, memory=1e8)
            if switched:
                traffic.weigh(node, CANARY, 600, HOUR, memory=canary)
        return traffic

    @pytest.mark.parametrize(("memory", "verdict"), [(1.09e8, Verdict.PASS), (1.2e8, Verdict.FAIL)])
    def test_the_canarys_value_is_held_against_the_stable_one(
        self, prometheus: Prometheus, memory: float, verdict: Verdict
    ) -> None:
        status = judged(prometheus, self.memory(memory), self.METRIC)
        assert status.verdict is verdict, status.message
        assert status.baseline == "100000000"
        assert "% above the stable revision's 100000000" in status.message

    def test_when_no_node_runs_the_stable_revision_any_more_its_last_value_counts(
        self, prometheus: Prometheus
    ) -> None:
        status = judged(prometheus, self.memory(1.2e8, everybody=True), self.METRIC)
        assert (status.verdict, status.baseline) == (Verdict.FAIL, "100000000")

    def test_a_query_is_asked_for_the_stable_revision_in_the_canarys_place(
        self, prometheus: Prometheus
    ) -> None:
        query = 'max(edgecanary_model_memory_bytes{revision="{{ canary }}"})'
        metric = {**self.METRIC, "preset": None, "query": query}
        assert judged(prometheus, self.memory(1.2e8), metric).verdict is Verdict.FAIL

    def test_several_series_where_one_is_expected_are_an_error(self, prometheus: Prometheus) -> None:
        query = 'edgecanary_model_memory_bytes{revision="{{ canary }}"}'
        metric = {**self.METRIC, "preset": None, "query": query}
        status = judged(prometheus, self.memory(1e8), metric)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "SeveralSeries")

    @pytest.mark.parametrize(("value", "reason"), [(math.nan, "NotANumber"), (math.inf, "NotANumber")])
    def test_what_is_no_number_says_nothing(self, prometheus: Prometheus, value: float, reason: str) -> None:
        status = judged(prometheus, self.memory(value), self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, reason)

    def test_a_stable_value_of_zero_has_no_ratio(self, prometheus: Prometheus) -> None:
        traffic = self.memory(1e8)
        traffic.lines = [
            Line(line.labels, [(moment, 0.0) for moment, _ in line.samples])
            if line.labels["revision"] == STABLE
            else line
            for line in traffic.lines
        ]
        status = judged(prometheus, traffic, self.METRIC)
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "NoRatio")
