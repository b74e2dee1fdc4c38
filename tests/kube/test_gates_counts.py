"""What is counted for a comparison, from a real Prometheus with hours of samples, and what spoils it."""

import math
import time

import numpy as np
import pytest

from edgecanary.analysis import reading
from edgecanary.analysis.counts import ComparisonCounts, Floats
from edgecanary.analysis.query import QueryError
from edgecanary.api.rollout_status import MeasurementOutcome, Verdict
from edgecanary.controller import counts_clock
from edgelab.prometheus import Prometheus
from tests.kube.backfill import STALE, Line, push
from tests.kube.gate_lab import CANARY, STABLE, Gate, Traffic, nodes

NODES = nodes(12)
CANARIES = NODES[:3]
HOUR = 3600.0
ERRORS = {"preset": "ErrorRate", "comparison": {}}


def started(hours_ago: float) -> float:
    return float(math.floor(time.time() - hours_ago * HOUR))


def counted(gate: Gate) -> ComparisonCounts:
    found = gate.read()
    assert isinstance(found, ComparisonCounts), found
    return found


def counted_at_once(gate: Gate, other: Gate) -> tuple[ComparisonCounts, ComparisonCounts]:
    """What both count, with no tick ending between the two."""
    for _ in range(10):
        one, two = counted(gate), counted(other)
        if one.since.ticks[:-1].tolist() == two.since.ticks[:-1].tolist():
            return one, two
    raise AssertionError("a tick ended each time")


def canary_part(counts: ComparisonCounts, values: Floats) -> dict[str, float]:
    """Each node's events as canary."""
    sums = np.where(counts.since.canary, values, 0.0).sum(-1)
    return {node: float(value) for node, value in zip(counts.nodes, sums, strict=True) if value}


def truth(traffic: Traffic, node: str, revision: str, begin: float, end: float) -> float:
    """How much the node's request counters really grew, `begin` and `end` in seconds since the start."""
    grown = 0.0
    for line in traffic.lines:
        if line.labels["node"] == node and line.labels["revision"] == revision:
            before = [value for moment, value in line.samples if moment <= traffic.start + begin]
            after = [value for moment, value in line.samples if moment <= traffic.start + end]
            grown += (after[-1] if after else 0.0) - (before[-1] if before else 0.0)
    return grown


class TestCounts:
    def test_each_node_counts_for_the_canary_from_its_warm_up_on_and_for_the_stable_revision_before(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(2)).fleet(NODES, CANARIES, until=2 * HOUR, hours=3)
        push(prometheus.remote_write_url, traffic.lines)
        counts = counted(Gate(prometheus, ERRORS, traffic.start, 3 * 3600))
        assert counts.nodes == tuple(NODES)
        assert counts.since.canary.any(-1).tolist() == [node in CANARIES for node in NODES]
        for node, total in canary_part(counts, counts.since.total).items():
            warm = truth(traffic, node, CANARY, 60 + 300, 2 * HOUR)
            assert warm * 0.95 < total < warm * 1.01, "at most the time to the next edge is lost"
        stable = counts.since.total[3:].sum()
        whole = sum(truth(traffic, node, STABLE, 0, 2 * HOUR) for node in NODES[3:])
        assert stable == pytest.approx(whole, rel=0.01)

    def test_the_history_ends_where_the_rollout_begins_and_is_kept_tick_by_tick(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=3)
        push(prometheus.remote_write_url, traffic.lines)
        history = counted(Gate(prometheus, ERRORS, traffic.start, 3 * 3600)).history
        assert history.ticks_total.shape == (12, 180)
        whole = [truth(traffic, node, STABLE, -3 * HOUR, 0) for node in NODES]
        assert history.total == pytest.approx(whole, rel=0.02)
        assert history.total == pytest.approx(history.ticks_total.sum(-1))
        assert history.bad.sum() / history.total.sum() == pytest.approx(0.02, rel=0.1)

    def test_of_a_large_fleet_only_some_nodes_ticks_are_kept_and_the_same_ones_after_a_restart(
        self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MAX_HISTORY_NODES", 5)
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=2)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 2 * 3600)
        history, again = counted(gate).history, counted(gate.restarted()).history
        assert history.ticks_total.shape == (5, 120)
        assert (history.sample == again.sample).all()
        assert (history.ticks_bad == again.ticks_bad).all()
        whole = [truth(traffic, node, STABLE, -2 * HOUR, 0) for node in NODES]
        assert history.total == pytest.approx(whole, rel=0.02), "the sums are of all nodes"

    def test_what_an_earlier_attempt_counted_does_not_count(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(1))
        for node in NODES:
            traffic.serve(node, STABLE, -2 * HOUR, HOUR)
        for node in CANARIES:
            traffic.serve(node, CANARY, -HOUR, -60, rate=0.9)
            traffic.serve(node, CANARY, 30, HOUR)
        push(prometheus.remote_write_url, traffic.lines)
        counts = counted(Gate(prometheus, ERRORS, traffic.start, 3600))
        bad = sum(canary_part(counts, counts.since.bad).values())
        assert 0 < bad < 0.04 * sum(canary_part(counts, counts.since.total).values())

    def test_nodes_of_a_later_step_count_as_stable_until_they_switch(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(2))
        for number, node in enumerate(NODES):
            switch = 30.0 if number < 1 else HOUR + 30.0 if number < 6 else 2 * HOUR
            traffic.serve(node, STABLE, -HOUR, switch)
            if number < 6:
                traffic.serve(node, CANARY, switch, 2 * HOUR)
        push(prometheus.remote_write_url, traffic.lines)
        counts = counted(Gate(prometheus, ERRORS, traffic.start, 3600, later_steps=(HOUR,)))
        totals = canary_part(counts, counts.since.total)
        assert set(totals) == set(NODES[:6])
        assert totals[NODES[1]] == pytest.approx(
            truth(traffic, NODES[1], CANARY, HOUR + 330, 2 * HOUR), rel=0.06
        )
        stable_before = np.where(counts.since.canary, 0.0, counts.since.total).sum(-1)
        assert stable_before[1] > 0.8 * truth(traffic, NODES[1], STABLE, 0, HOUR)

    def test_steps_are_found_on_prometheuss_clock_when_the_operators_is_an_hour_ahead(
        self, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=2)
        push(prometheus.remote_write_url, traffic.lines)
        right = Gate(prometheus, ERRORS, traffic.start, 3600)
        expected = counted(right).history

        class Ahead:
            @staticmethod
            def time() -> float:
                return time.time() + HOUR

        monkeypatch.setattr(counts_clock, "time", Ahead)
        shifted = counted(Gate(prometheus, ERRORS, traffic.start + HOUR, 3600))
        assert shifted.history.ticks_total == pytest.approx(expected.ticks_total)
        assert shifted.since.ticks.sum() == pytest.approx(60, abs=2), "an hour since the start, in ticks"
        assert set(canary_part(shifted, shifted.since.total)) == set(CANARIES)


class TestRestart:
    def test_an_operator_that_starts_anew_counts_the_same_and_comes_to_the_same_verdict(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(2)).fleet(NODES, CANARIES, until=2 * HOUR, rate=0.026, hours=3)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 3 * 3600)
        gate.look()
        before = gate.look()
        counts, again = counted_at_once(gate, gate.restarted())
        assert (counts.since.total[:, :-1] == again.since.total[:, :-1]).all()
        assert (counts.since.bad[:, :-1] == again.since.bad[:, :-1]).all()
        assert (counts.since.canary == again.since.canary).all()
        assert (counts.history.ticks_total == again.history.ticks_total).all()
        after = gate.restarted().look()
        assert (after.verdict, after.reason, after.since) == (before.verdict, before.reason, before.since)

    def test_a_second_look_asks_only_for_what_is_new(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(2)).fleet(NODES, CANARIES, until=2 * HOUR, hours=3)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 3 * 3600)
        gate.read()
        first = len(gate.outcomes)
        gate.outcomes.clear()
        time.sleep(1.1)
        gate.read()
        assert 0 < len(gate.outcomes) < first / 3, "the open end, and what ended just before"


class TestTrouble:
    """Each has one defined outcome; none of them is a pass by itself."""

    def test_counter_resets_lose_nothing(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(1)).fleet(NODES, (), until=HOUR, hours=1)
        for node in CANARIES:
            for begin in range(30, 3600, 600):
                traffic.serve(node, CANARY, begin, begin + 600)
        lines: dict[tuple[str, ...], Line] = {}
        for line in traffic.lines:
            known = lines.setdefault(tuple(sorted(line.labels.values())), Line(line.labels))
            known.samples += line.samples
        push(prometheus.remote_write_url, list(lines.values()))
        counts = counted(Gate(prometheus, ERRORS, traffic.start, 3600))
        sent = 12 * (HOUR - 330) / 60 * 10  # 120 a minute
        for total in canary_part(counts, counts.since.total).values():
            assert 0.9 * sent < total < 1.02 * sent

    def test_a_node_that_was_not_scraped_for_a_while_keeps_its_counts_and_is_known_to_have_been_away(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(2)).fleet(NODES, CANARIES, until=2 * HOUR, hours=2)
        for line in traffic.lines:
            if line.labels["node"] == NODES[5]:
                line.samples = [s for s in line.samples if not 1800 < s[0] - traffic.start < 5400]
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 2 * 3600)
        counts = counted(gate)
        assert counts.since.active[5].sum() < 0.7 * counts.since.active[6].sum()
        assert counts.since.total[5].sum() > 0.4 * counts.since.total[6].sum()
        assert gate.look().verdict is not Verdict.FAIL

    def test_late_and_out_of_order_samples_count_at_the_next_look(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(0.25)).fleet(NODES, CANARIES, until=HOUR / 4, hours=1)
        late: list[Line] = []
        for line in traffic.lines:
            if line.labels["node"] == CANARIES[0] and line.labels["revision"] == CANARY:
                hidden = [sample for sample in line.samples if 845 < sample[0] - traffic.start < 885]
                late.append(Line(line.labels, hidden))
                line.samples = [sample for sample in line.samples if sample not in hidden]
                line.samples[-1] = (line.samples[-1][0], line.samples[-1][1] / 2)  # and then it restarted
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 3600)
        before = counted(gate)
        push(prometheus.remote_write_url, late)
        time.sleep(1.1)
        after = counted(gate)
        assert after.since.total[0].sum() > before.since.total[0].sum() + 40
        again = counted(gate.restarted())
        assert after.since.total[0].sum() == pytest.approx(again.since.total[0].sum(), rel=0.02)

    def test_samples_that_come_hours_late_count_after_some_looks_and_after_a_restart(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=1)
        late = [line for line in traffic.lines if line.labels["node"] == CANARIES[0]]
        push(prometheus.remote_write_url, [line for line in traffic.lines if line not in late])
        gate = Gate(prometheus, ERRORS, traffic.start, 3600)
        assert CANARIES[0] not in counted(gate).nodes
        push(prometheus.remote_write_url, late)
        counts = counted(gate.restarted())
        assert canary_part(counts, counts.since.total)[CANARIES[0]] > 5000
        time.sleep(1.1)
        assert CANARIES[0] in counted(gate).nodes, "the stretch that was not read for longest is read again"

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_node_whose_counter_is_no_number_is_left_out_and_the_others_are_judged(
        self, prometheus: Prometheus, value: float
    ) -> None:
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=1)
        for line in traffic.lines:
            if line.labels["node"] == CANARIES[0] and line.labels["revision"] == CANARY:
                line.samples = [(moment, value) for moment, _ in line.samples]
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 3600)
        counts = counted(gate)
        assert set(canary_part(counts, counts.since.total)) == set(CANARIES[1:])
        assert np.isfinite(counts.since.bad).all()
        assert gate.look().evidence is not None

    def test_a_node_that_dies_is_silent_and_neither_good_nor_bad(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(2), requests=30).fleet(NODES, CANARIES, until=2 * HOUR, hours=2)
        for line in traffic.lines:
            if line.labels["node"] in CANARIES and line.labels["revision"] == CANARY:
                alive = [sample for sample in line.samples if sample[0] - traffic.start < 900]
                line.samples = [*alive, (alive[-1][0] + 15, STALE)]
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 2 * 3600)
        counts = counted(gate)
        assert set(canary_part(counts, counts.since.total)) == set(CANARIES), "what it counted stays"
        assert (counts.since.active[:3].sum(-1) < 20).all(), "of 120 ticks"
        status = gate.look()
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "ExposureTooLow")
        assert "more requests" in status.message

    def test_a_canary_node_without_history_is_held_to_the_fleets_rate(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(2)).fleet(NODES, (), until=2 * HOUR, hours=3)
        traffic.serve("edge-new", CANARY, 60, 2 * HOUR, rate=0.2)
        push(prometheus.remote_write_url, traffic.lines)
        status = Gate(prometheus, ERRORS, traffic.start, 3 * 3600).look()
        assert (status.verdict, status.worst_nodes[0].name) == (Verdict.FAIL, "edge-new")

    def test_without_any_sample_of_the_canary_there_is_no_data(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(1)).fleet(NODES, (), until=HOUR, hours=1)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 3600)
        status = gate.look()
        assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, "NoData")
        assert gate.look().no_data == 2

    def test_an_empty_prometheus_is_no_data(self, prometheus: Prometheus) -> None:
        assert Gate(prometheus, ERRORS, started(1)).look().reason == "NoData"

    def test_while_canaries_warm_up_nothing_is_missing(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(0.05)).fleet(NODES, CANARIES, until=0.05 * HOUR, hours=1)
        push(prometheus.remote_write_url, traffic.lines)
        status = Gate(prometheus, ERRORS, traffic.start, 3600).look()
        assert (status.verdict, status.reason, status.no_data) == (Verdict.INCONCLUSIVE, "WarmingUp", 0)

    def test_metrics_without_the_nodes_name_are_an_error_that_says_so(self, prometheus: Prometheus) -> None:
        traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=1)
        for line in traffic.lines:
            line.labels = {**line.labels, "node": "", "instance": line.labels["node"]}
        push(prometheus.remote_write_url, _without_empty_labels(traffic.lines))
        status = Gate(prometheus, ERRORS, traffic.start, 3600).look()
        assert (status.reason, status.errors) == ("NodeLabelMissing", 1)
        assert "scrape configuration" in status.message

    def test_a_prometheus_that_hangs_is_an_error_after_the_time_limit_and_then_goes_on(
        self, prometheus: Prometheus
    ) -> None:
        traffic = Traffic(started(2)).fleet(NODES, CANARIES, until=2 * HOUR, hours=2)
        push(prometheus.remote_write_url, traffic.lines)
        gate = Gate(prometheus, ERRORS, traffic.start, 2 * 3600, timeout_seconds=1)
        prometheus.process.pause()
        status = gate.look()
        prometheus.process.resume()
        assert (status.reason, status.errors) == ("PrometheusUnavailable", 1)
        gate.timeout_seconds = 60
        after = gate.look()
        assert after.errors == 0
        assert after.evidence is not None

    def test_a_question_that_prometheus_cannot_answer_is_an_error_in_its_words(
        self, prometheus: Prometheus
    ) -> None:
        prometheus.stop()
        found = Gate(prometheus, ERRORS, started(1)).read()
        assert isinstance(found, QueryError)
        assert "does not answer" in found.message


def test_measurements_say_what_each_look_gave(prometheus: Prometheus) -> None:
    traffic = Traffic(started(1)).fleet(NODES, CANARIES, until=HOUR, hours=1)
    gate = Gate(prometheus, ERRORS, traffic.start, 3600)
    gate.look()
    push(prometheus.remote_write_url, traffic.lines)
    kept = gate.restarted().look().measurements
    assert kept[0].outcome is MeasurementOutcome.NO_DATA
    assert kept[1].samples == pytest.approx(3 * 120 * 54, rel=0.05)


def _without_empty_labels(lines: list[Line]) -> list[Line]:
    return [Line({k: v for k, v in line.labels.items() if v}, line.samples) for line in lines]
