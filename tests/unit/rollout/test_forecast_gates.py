"""What gates will need, step by step, before a rollout begins."""

from datetime import timedelta

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.rollout.forecast_gates import (
    GateOutlook,
    Rates,
)
from tests.unit.rollout.forecasting import (
    COMPARED,
    ERRORS,
    HOUR,
    NOW,
    declared,
    gates,
    look,
    nodes,
    warned,
    warning,
)


def test_a_threshold_is_ready_when_it_has_its_samples() -> None:
    found = look(declared(analysis=gates(ERRORS)), nodes(40), rates={"errors": Rates(1200, 0.005)})
    gate = found.steps[0].gates[0]
    assert (gate.outlook, gate.ready_seconds, gate.finds_ratio) == (GateOutlook.IN_TIME, 600, 4)
    assert found.steps[1].gates[0].ready_seconds == 60
    assert found.finish == NOW + 3 * HOUR


def test_a_gate_that_is_ready_after_the_bake_makes_the_step_longer() -> None:
    steps: list[JsonObject] = [
        {"name": "one", "nodes": 1, "bakeSeconds": 60},
        {"name": "all", "percent": 100, "bakeSeconds": 60},
    ]
    found = look(declared(*steps, analysis=gates(ERRORS)), nodes(40), rates={"errors": Rates(1200, 0.005)})
    assert found.steps[0].gates[0].outlook is GateOutlook.LATE
    assert found.steps[0].end == NOW + timedelta(minutes=10)


def test_a_gate_is_not_measured_before_its_initial_delay() -> None:
    late: JsonObject = {**ERRORS, "initialDelaySeconds": 5000}
    found = look(declared(analysis=gates(late)), nodes(40), rates={"errors": Rates(1200, 0.005)})
    assert found.steps[1].gates[0].ready_seconds == 5000


def test_a_dry_run_gate_holds_nothing_up() -> None:
    dry: JsonObject = {**ERRORS, "mode": "DryRun"}
    found = look(declared(analysis=gates(dry)), nodes(40), rates={"errors": Rates(1, 0.005)})
    assert found.steps[0].gates[0].outlook is GateOutlook.NEVER
    assert found.finish == NOW + 3 * HOUR
    assert "holds nothing up" in warning(found, "GateNeverReady")


def test_a_gate_that_never_has_its_samples_within_a_query_is_told_and_the_step_never_ends() -> None:
    found = look(declared(analysis=gates(ERRORS)), nodes(4), rates={"errors": Rates(30, 0.005)})
    assert found.finish is None
    text = warning(found, "GateNeverReady")
    assert text.startswith("spec.analysis.metrics[0]: errors can never have enough data in first, some, all")
    assert "minSamples is 200, and 30 events are expected in the 60 min" in text
    assert found.steps[1].start is None
    assert found.steps[1].gates, "the gates of the steps behind it are told all the same"


def test_without_a_rate_the_gate_is_unknown_and_the_times_say_so() -> None:
    found = look(declared(analysis=gates(ERRORS)), nodes(4))
    assert found.steps[0].gates[0].outlook is GateOutlook.UNKNOWN
    assert found.finish == NOW + 3 * HOUR
    assert any("its rate of events is not known" in note for note in found.notes)


def test_a_limit_that_todays_revision_breaks_is_told() -> None:
    found = look(declared(analysis=gates(ERRORS)), nodes(40), rates={"errors": Rates(1200, 0.03)})
    assert "0.03 is above the limit 0.02, by what runs today" in warning(found, "LimitBrokenAlready")


def test_a_comparison_needs_exposure_which_grows_with_time_nodes_and_errors() -> None:
    def exposure(per_hour: float, share: float, fleet: int) -> list[float]:
        rates = {"errors": Rates(per_hour, share)}
        steps = look(declared(analysis=gates(COMPARED)), nodes(fleet), rates=rates).steps
        return [gate.exposure or 0.0 for step in steps for gate in step.gates]

    few, many, worse, larger = (
        exposure(100, 0.005, 40), exposure(1000, 0.005, 40), exposure(100, 0.05, 40), exposure(100, 0.005, 400)
    )  # fmt: skip
    assert few[0] < few[1]
    assert all(a < b for a, b in zip(few, many, strict=True))
    assert all(a < b for a, b in zip(few, worse, strict=True))
    assert few[1] < larger[1]


def test_a_comparison_is_ready_when_it_would_have_found_its_ratio() -> None:
    rates = {"errors": Rates(2000, 0.01)}
    found = look(declared(analysis=gates(COMPARED)), nodes(40), rates=rates)
    first, second = found.steps[0].gates[0], found.steps[1].gates[0]
    assert first.exposure_needed == pytest.approx(33.3, abs=0.1)
    assert first.outlook is GateOutlook.LATE
    assert first.ready_seconds is not None
    assert first.finds_ratio is not None
    assert first.finds_ratio > 2
    assert second.finds_ratio is not None
    assert second.finds_ratio < 2
    assert second.outlook is GateOutlook.IN_TIME


def test_the_last_step_leaves_nobody_to_compare_with_and_adds_no_exposure() -> None:
    found = look(declared(analysis=gates(COMPARED)), nodes(40), rates={"errors": Rates(2000, 0.01)})
    last = found.steps[2].gates[0]
    assert last.exposure is not None
    assert last.outlook is GateOutlook.IN_TIME
    longer = declared(
        {"name": "some", "percent": 25, "bakeSeconds": 3600},
        {"name": "all", "percent": 100, "bakeSeconds": 36_000},
        analysis=gates(COMPARED),
    )
    shorter = declared(
        {"name": "some", "percent": 25, "bakeSeconds": 3600},
        {"name": "all", "percent": 100, "bakeSeconds": 3600},
        analysis=gates(COMPARED),
    )
    rates = {"errors": Rates(100, 0.001)}
    assert look(longer, nodes(40), rates=rates).steps[1].gates[0].exposure == pytest.approx(
        look(shorter, nodes(40), rates=rates).steps[1].gates[0].exposure
    )


def test_a_rollout_in_one_step_has_nobody_to_compare_with() -> None:
    one = declared({"name": "all", "percent": 100, "bakeSeconds": 3600}, analysis=gates(COMPARED))
    found = look(one, nodes(40), rates={"errors": Rates(2000, 0.01)})
    assert "no stable nodes left to compare with in all" in warning(found, "NoStableNodesLeft")
    assert found.finish is None


def test_the_very_first_revision_is_not_compared() -> None:
    found = look(declared(analysis=gates(COMPARED)), nodes(40), first=True)
    assert {gate.outlook for step in found.steps for gate in step.gates} == {GateOutlook.NOT_JUDGED}
    assert found.finish == NOW + 3 * HOUR
    assert warned(found) == []


def test_randomization_with_too_few_choices_is_told() -> None:
    metric: JsonObject = {"name": "errors", "preset": "ErrorRate", "comparison": {"method": "Randomization"}}
    found = look(declared(analysis=gates(metric)), nodes(12), rates={"errors": Rates(2000, 0.01)})
    text = warning(found, "TooFewArrangements")
    assert "needs 200 ways to choose the canary nodes, and 1 of 12 nodes in first can be chosen in 12" in text
    wider = declared(
        {"name": "some", "nodes": 3, "bakeSeconds": 3600},
        {"name": "all", "percent": 100},
        analysis=gates(metric),
    )
    assert "TooFewArrangements" not in warned(look(wider, nodes(12), rates={"errors": Rates(2000, 0.01)}))


def test_choices_of_canaries_are_counted_within_strata() -> None:
    metric: JsonObject = {"name": "errors", "preset": "ErrorRate", "comparison": {"method": "Randomization"}}
    two = declared(
        {"name": "some", "nodes": 3, "bakeSeconds": 3600},
        {"name": "all", "percent": 100},
        analysis=gates(metric),
    )
    rates = {"errors": Rates(2000, 0.01)}
    text = warning(look(two, nodes(6, 6), rates=rates), "TooFewArrangements")
    assert "3 of 12 nodes in some can be chosen in 90 within their strata" in text
    assert "TooFewArrangements" not in warned(look(two, nodes(12), rates=rates))


def test_pairs_are_needed_for_a_paired_comparison() -> None:
    paired: JsonObject = {
        "name": "twins", "preset": "Disagreement", "comparison": {"method": "Paired", "detectRatio": "2"}
    }  # fmt: skip
    assert look(declared(analysis=gates(paired)), nodes(4)).steps[0].gates[0].events_needed == 134


def test_the_samples_that_a_threshold_needs_are_told() -> None:
    (gate,) = (
        look(declared(analysis=gates(ERRORS)), nodes(40), rates={"errors": Rates(1200, 0.005)}).steps[0].gates
    )
    assert gate.events_needed == 200


@pytest.mark.parametrize("share", [None, 0.0])
def test_without_bad_events_today_no_ratio_can_be_told(share: float | None) -> None:
    (gate,) = (
        look(declared(analysis=gates(ERRORS)), nodes(40), rates={"errors": Rates(1200, share)}).steps[0].gates
    )
    assert gate.finds_ratio is None


def test_a_comparison_without_a_share_of_bad_events_is_unknown_and_says_why() -> None:
    (gate,) = (
        look(declared(analysis=gates(COMPARED)), nodes(40), rates={"errors": Rates(1200)}).steps[0].gates
    )
    assert (gate.outlook, gate.why) == (GateOutlook.UNKNOWN, "the share of bad events is not known")


def test_few_expected_events_are_told_with_a_decimal() -> None:
    found = look(declared(analysis=gates(ERRORS)), nodes(4), rates={"errors": Rates(2.5, 0.005)})
    assert "and 2.5 events are expected" in warning(found, "GateNeverReady")


@pytest.mark.parametrize(("wrong", "broken"), [(0.2, True), (0.05, False)])
def test_an_accuracy_that_is_too_low_already_is_told(wrong: float, broken: bool) -> None:
    accuracy: JsonObject = {"name": "right", "preset": "Accuracy", "threshold": {"min": "0.9"}}
    found = look(declared(analysis=gates(accuracy)), nodes(40), rates={"right": Rates(1200, wrong)})
    assert ("LimitBrokenAlready" in warned(found)) is broken


@pytest.mark.parametrize(("number", "share"), [(1, "1 node"), (2, "2 nodes")])
def test_a_step_in_nodes_is_told_in_words(number: int, share: str) -> None:
    steps: list[JsonObject] = [{"name": "few", "nodes": number}, {"name": "all", "percent": 100}]
    assert look(declared(*steps), nodes(40)).steps[0].share == share
