"""What a rollout will do before it begins: nodes by step, times, gates, warnings."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecanary.api.artifacts import Format
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.cohort import Share, quotas
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.forecast import Forecast, forecast
from edgecanary.rollout.forecast_cohorts import Occasion
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import Stage, model
from tests.unit.rollout.forecasting import HOUR, NOW, STATEMENT, declared, look, nodes, warned, warning

# Nodes


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    count=st.integers(1, 40),
    percents=st.lists(st.integers(1, 99), max_size=4, unique=True),
)
def test_each_step_covers_its_quota_and_the_additions_sum_to_the_fleet(
    sizes: list[int], count: int, percents: list[int]
) -> None:
    steps: list[JsonObject] = [{"name": "n", "nodes": count}]
    steps += [{"name": f"p{percent}", "percent": percent} for percent in sorted(percents)]
    steps.append({"name": "all", "percent": 100})
    found = look(declared(*steps), nodes(*sizes))
    strata: dict[tuple[str, ...], int] = {(f"hw{kind}",): size for kind, size in enumerate(sizes)}
    covered: dict[tuple[str, ...], int] = {}
    for step, spec in zip(found.steps, steps, strict=True):
        share = Share(
            percent=cast("int | None", spec.get("percent")), nodes=cast("int | None", spec.get("nodes"))
        )
        wanted = quotas(strata, share, covered)
        now = {tuple(s.stratum.values()): s.nodes for s in step.strata}
        assert now == {key: max(wanted[key], covered.get(key, 0)) for key in strata}
        assert step.added == sum(len(s.added) for s in step.strata)
        assert step.nodes == sum(now.values()) == sum(covered.values()) + step.added
        covered = now
    assert sum(step.added for step in found.steps) == found.eligible == sum(sizes)
    added = [name for step in found.steps for s in step.strata for name in s.added]
    assert len(added) == len(set(added))


def test_the_nodes_are_those_that_the_planner_chooses() -> None:
    stage = Stage.with_nodes(12).promoted()
    stage.model = model("2.0.0", generation=2)
    found = forecast(Occasion(stage.rollout, STATEMENT, tuple(stage.nodes.values()), stage.now))
    stage.reconcile()
    assert stage.release is not None
    chosen = [
        name
        for name, node in stage.nodes.items()
        if assign(stage.release.spec, node.facts).role is Role.CANARY
    ]
    assert not found.choice_is_example
    assert [name for s in found.steps[0].strata for name in s.added] == chosen
    assert len(chosen) == 1


def test_without_a_uid_or_a_revision_the_choice_is_an_example_and_the_counts_are_exact() -> None:
    rollout = declared()
    unborn = rollout.model_copy(update={"metadata": rollout.metadata.model_copy(update={"uid": ""})})
    found = look(unborn, nodes(8, 4))
    assert found.choice_is_example
    assert "the Rollout does not exist yet" in found.notes[0]
    assert [step.nodes for step in found.steps] == [step.nodes for step in look(rollout, nodes(8, 4)).steps]
    unknown = forecast(Occasion(rollout, None, nodes(8), NOW))
    assert unknown.choice_is_example
    assert "every selected node counts" in unknown.notes[0]


def test_nodes_that_no_variant_fits_are_left_out_and_named() -> None:
    old = NodeView(
        NodeFacts("old", {"hardware": "hw0"}, "amd64", 2**30, runtimes=frozenset({Format.TVM})), True
    )
    found = look(declared(), (*nodes(4), old))
    assert (found.selected, found.eligible, found.incompatible) == (5, 4, 1)
    assert "1 node that no variant of the model fits: old" in warning(found, "IncompatibleNodes")


def test_a_selector_that_matches_nobody_is_told_and_nothing_finishes() -> None:
    found = look(declared(nodeSelector={"matchLabels": {"edge": "no"}}), nodes(4))
    assert "matches none of 4 nodes" in warning(found, "NoMatchingNodes")
    assert found.finish is None


def test_the_very_first_revision_may_go_straight_to_the_last_step() -> None:
    found = look(declared(strategy={"initial": "AllAtOnce"}), nodes(4), first=True)
    assert [(step.name, step.added) for step in found.steps] == [("all", 4)]
    assert any("AllAtOnce" in note for note in found.notes)


def test_offline_nodes_count_and_are_told() -> None:
    found = look(declared(), (*nodes(8), *nodes(0, 2, online=False)))
    assert (found.eligible, found.online) == (10, 8)
    assert "2 nodes offline now, to follow later: hw1-000, hw1-001" in warning(found, "NodesOffline")


def test_a_step_whose_nodes_are_all_offline_is_told() -> None:
    found = look(declared(), nodes(3, online=False))
    assert warned(found).count("StepOffline") == 3


def test_more_strata_than_a_release_can_name_are_refused_by_the_field() -> None:
    with pytest.raises(InvalidInput, match=r"stratifyBy: gives 257 strata and at most 256"):
        look(declared(), nodes(*[1] * 257))


# Times


def test_bakes_and_soaks_add_up_to_the_finish() -> None:
    found = look(declared(health={"soakSeconds": 60}), nodes(8))
    assert found.finish == NOW + 3 * HOUR + timedelta(minutes=3)
    assert found.steps[1].start == found.steps[0].end


def test_a_step_that_adds_nobody_needs_no_window_and_no_soak() -> None:
    steps: list[JsonObject] = [
        {"name": "one", "nodes": 1, "bakeSeconds": 60},
        {"name": "five", "percent": 5, "bakeSeconds": 60},
        {"name": "all", "percent": 100, "bakeSeconds": 60},
    ]
    window = {"schedule": "0 8 * * *", "durationSeconds": 60}
    found = look(declared(*steps, health={"soakSeconds": 10}, updateWindows=[window]), nodes(4))
    assert found.steps[1].end == NOW + timedelta(seconds=130)
    assert found.steps[2].switch == NOW + timedelta(days=1)
    assert "the step five (5 %) adds no node" in warning(found, "StepAddsNobody")


def test_nodes_switch_when_their_window_opens() -> None:
    window = {"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlin"}
    found = look(declared(updateWindows=[window], strategy={"stepDeadlineSeconds": 604_800}), nodes(8))
    assert found.steps[0].switch == datetime(2026, 1, 6, 1, 0, tzinfo=UTC)
    assert found.steps[1].switch == datetime(2026, 1, 6, 2, 0, tzinfo=UTC)
    assert found.steps[2].switch == datetime(2026, 1, 7, 1, 0, tzinfo=UTC)
    assert found.finish == datetime(2026, 1, 7, 2, 0, tzinfo=UTC)


def test_a_window_that_never_opens_is_told_and_nothing_finishes() -> None:
    found = look(declared(updateWindows=[{"schedule": "0 2 30 2 *", "durationSeconds": 60}]), nodes(8))
    assert warning(found, "WindowNeverOpens").startswith("spec.updateWindows[0].schedule: '0 2 30 2 *'")
    assert found.finish is None
    assert found.steps[0].switch is None


def test_one_dead_window_among_others_is_told_and_the_others_are_used() -> None:
    dead = {"schedule": "0 2 30 2 *", "durationSeconds": 60}
    found = look(declared(updateWindows=[dead, {"schedule": "* * * * *", "durationSeconds": 60}]), nodes(8))
    assert warned(found) == ["WindowNeverOpens"]
    assert found.finish == NOW + 3 * HOUR


def test_a_deadline_that_is_shorter_than_the_time_between_windows_is_told_with_what_would_do() -> None:
    weekly = {"schedule": "0 2 * * 1", "durationSeconds": 7200}
    found = look(declared(updateWindows=[weekly], strategy={"stepDeadlineSeconds": 86_400}), nodes(8))
    assert "1 d is shorter than a step can take: up to 6 d 22 h until a window opens" in warning(
        found, "DeadlineShorterThanWindows"
    )
    assert "set it to 601200 or more" in warning(found, "DeadlineShorterThanWindows")
    assert found.finish is None
    enough = look(declared(updateWindows=[weekly], strategy={"stepDeadlineSeconds": 601_200}), nodes(8))
    assert "DeadlineShorterThanWindows" not in warned(enough)
    assert enough.finish is not None


def test_months_without_a_window_are_found_behind_frequent_openings() -> None:
    spring = {"schedule": "*/10 * * 1-6 *", "durationSeconds": 300}
    found = look(declared(updateWindows=[spring], strategy={"stepDeadlineSeconds": 604_800}), nodes(8))
    assert "DeadlineShorterThanWindows" in warned(found)


def test_the_deadline_does_what_the_spec_says() -> None:
    weekly = {"schedule": "0 2 * * 1", "durationSeconds": 7200}
    strategy: JsonObject = {"stepDeadlineSeconds": 3600, "onDeadline": "Rollback"}
    found = look(declared(updateWindows=[weekly], strategy=strategy), nodes(8))
    assert all(
        "the revision is taken back then" in w.message
        for w in found.warnings
        if w.reason == "DeadlineBeforeBake"
    )
    assert "DeadlineBeforeBake" in warned(found)


# What is known of the revision already


def with_status(**status: object) -> Forecast:
    rollout = declared()
    return look(rollout.model_copy(update={"status": RolloutStatus.model_validate(status)}), nodes(8))


def test_a_revision_that_is_stable_already_is_told() -> None:
    found = with_status(stable={"revision": STATEMENT.revision})
    assert "2.0.0" in warning(found, "AlreadyStable")


def test_a_rejected_revision_is_told_to_need_a_retry() -> None:
    entry = {"revision": STATEMENT.revision, "reason": "AnalysisFailed", "time": NOW}
    assert "edgecanary.dev/retry" in warning(with_status(rejected=[entry]), "RevisionRejected")


def test_a_rollout_that_is_under_way_is_told_with_its_step() -> None:
    step = {"index": 1, "name": "some", "display": "2/3 some", "startTime": NOW}
    found = with_status(canary={"revision": STATEMENT.revision}, step=step)
    assert "under way already in 2/3 some" in warning(found, "AlreadyUnderWay")


@pytest.mark.parametrize(("window", "told"), [(3, ["ReturnsAtOnce"]), (0, [])])
def test_a_revision_in_the_rollback_window_is_told_to_return_at_once(window: int, told: list[str]) -> None:
    ended = {"revision": STATEMENT.revision, "outcome": "Promoted", "endTime": NOW}
    status = {"stable": {"revision": "d" * 64}, "history": [ended]}
    rollout = declared(strategy={"rollbackWindowRevisions": window})
    found = look(rollout.model_copy(update={"status": RolloutStatus.model_validate(status)}), nodes(8))
    assert warned(found) == told


# Strata


def test_a_stratum_of_one_is_told() -> None:
    found = look(declared(), nodes(8, 1))
    assert "1 stratum of one node (hw1)" in warning(found, "StratumOfOne")
    assert "StratumOfOne" not in warned(look(declared(), nodes(8, 2)))
    assert "StratumOfOne" not in warned(look(declared(), nodes(1)))


def test_nodes_without_the_label_are_told() -> None:
    bare = NodeView(NodeFacts("bare", {}, "amd64", 2**30), online=True)
    found = look(declared(), (*nodes(8), bare))
    assert "1 node without the label hardware form a stratum of their own: bare" in warning(
        found, "StratumLabelMissing"
    )


def test_a_first_step_that_leaves_strata_out_is_told() -> None:
    found = look(declared(), nodes(8, 4, 4))
    assert "the step first takes no node of 2 strata: hw1, hw2" in warning(found, "StratumNotCovered")
