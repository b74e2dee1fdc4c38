"""The counts by stratum agree with the planner's own, whatever the fleet does."""

import pytest

from edgecanary.api.edgenode import ModelState
from edgecanary.rollout.cohorts import CohortCounts, count_cohorts, total
from tests.unit.rollout.fleet_play import Stage, model

STEPS = [
    {"name": "some", "percent": 25, "bakeSeconds": 60},
    {"name": "all", "percent": 100, "bakeSeconds": 0},
]


def fleet_of(count: int, *, npu: int) -> Stage:
    """A stage with two kinds of hardware, whose first model is stable."""
    stage = Stage.with_nodes(count, strategy={"steps": STEPS, "stratifyBy": ["hardware"]})
    for place, name in enumerate(list(stage.nodes)):
        stage.relabel(name, {"hardware": "npu" if place < npu else "cpu"})
    return stage.promoted_at_once()


def counted(stage: Stage) -> tuple[CohortCounts, ...]:
    assert stage.release is not None
    return count_cohorts(stage.rollout.spec, stage.release.spec, tuple(stage.nodes.values()))


def test_while_nothing_rolls_everybody_is_to_run_the_stable_revision() -> None:
    cpu, npu = counted(fleet_of(10, npu=4))
    assert cpu == CohortCounts(stratum={"hardware": "cpu"}, targeted=6, in_step=6, updated=6, healthy=6)
    assert npu == CohortCounts(stratum={"hardware": "npu"}, targeted=4, in_step=4, updated=4, healthy=4)


@pytest.mark.parametrize("seconds", [0, 20, 100])
def test_the_sum_over_the_strata_is_what_the_status_says(seconds: float) -> None:
    stage = fleet_of(20, npu=8)
    stage.model = model("2.0.0", generation=2)
    stage.set_online("node-03", False)
    stage.failing = {"node-05"}
    stage.edit(
        stage.rollout.model_copy(
            update={
                "spec": stage.rollout.spec.model_copy(
                    update={
                        "strategy": stage.rollout.spec.strategy.model_copy(update={"max_failed_nodes": 5})
                    }
                )
            }
        )
    )
    stage.reconcile()
    stage.play(seconds)
    # The status is as old as the last look, and the nodes may have answered since.
    stage.reconcile()
    found, said = total(counted(stage)), stage.status.nodes
    assert (found.targeted, found.offline, found.in_step) == (said.targeted, said.offline, said.in_step)
    assert (found.healthy, found.failed) == (said.updated, said.failed)


def test_a_node_on_trial_is_updated_and_not_yet_healthy() -> None:
    stage = fleet_of(8, npu=8)
    stage.model = model("2.0.0", generation=2)
    stage.reconcile()
    stage.answer()
    name = stage.covered()[0]
    view = stage.nodes[name]
    assert view.report is not None
    trial = view.report.model_copy(update={"state": ModelState.PENDING})
    stage.nodes[name] = type(view)(view.facts, online=True, report=trial)
    (npu,) = counted(stage)
    assert (npu.in_step, npu.updated, npu.healthy) == (2, 2, 1)


def test_without_a_revision_there_is_nothing_to_count() -> None:
    stage = fleet_of(4, npu=2)
    assert stage.release is not None
    empty = stage.release.spec.model_copy(update={"stable": None})
    assert count_cohorts(stage.rollout.spec, empty, tuple(stage.nodes.values())) == ()
