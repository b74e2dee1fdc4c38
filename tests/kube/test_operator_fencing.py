"""What a replica that no longer leads still has on its way changes nothing, on a real API server."""

import math
from collections.abc import Iterator

import pytest

from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import Conflict
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgecanary.controller.permit import Permit
from edgecanary.controller.release_writer import TERM_ANNOTATION
from edgelab.modelzoo import ZooModel
from edgelab.s3 import S3Server
from tests.kube.bench import NAMES, Bench, Interruption
from tests.kube.operator_lab import Fleet, OperatorLab


class Terms(Permit):
    """A permit that begins a new term whenever an operator is begun anew."""

    turns = 0

    def next(self) -> None:
        self.turns += 1
        self.give(f"{self.turns}.lab", math.inf)


class TwoReplicas(Bench):
    """Each restart is the other replica, which takes over."""

    @property
    def turns(self) -> int:
        assert isinstance(self.permit, Terms)
        return self.permit.turns

    def restart(self) -> None:
        assert isinstance(self.permit, Terms)
        self.permit.next()
        super().restart()


@pytest.fixture
def bench(stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel) -> Iterator[TwoReplicas]:
    lab = stocked_lab
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    found = TwoReplicas(lab, permit=Terms())
    yield found
    found.kube.close()


def test_replicas_that_freeze_at_each_write_and_send_it_after_the_other_went_on_change_nothing(
    bench: TwoReplicas,
) -> None:
    bench.kube.interruption = Interruption(freezes=True)
    releases = bench.roll(until="Promoted", looks=120)
    assert [spec.sequence for spec in releases] == [1, 2, 3], "no step skipped, repeated or lost"
    assert [spec.canary is not None for spec in releases] == [True, True, False]
    for reason in ("RolloutStarted", "StepStarted", "Promoted", "Verified"):
        assert [event["count"] for event in bench.lab.events(reason)] == [1], reason
    status = Rollout.model_validate(bench.lab.get(ROLLOUTS)).status
    assert [(entry.outcome, entry.attempt) for entry in status.history] == [("Promoted", 1)]
    assert bench.turns > 5, "replicas have changed in the midst of it"


def test_a_widening_that_was_decided_before_a_pause_does_not_arrive_after_the_other_has_taken_over(
    bench: TwoReplicas,
) -> None:
    """The other replica has nothing to change in the release; that it has taken over must be enough."""
    for _ in range(2):
        bench.look()
    before = bench.lab.release().spec
    Fleet(bench.lab, NAMES).obey()
    bench.kube.interruption = frozen = Interruption(freezes=True, only=MODEL_RELEASES)
    for _ in range(3):
        if frozen.frozen is None:
            bench.look()
    assert frozen.frozen is not None, "the second step was about to be written"
    frozen.freezes = False
    bench.lab.change(ROLLOUTS, {"spec": {"paused": True}})
    bench.look()
    assert bench.lab.ready(ROLLOUTS)[1] == "Paused"
    frozen.wake()
    assert frozen.landed == []
    assert bench.lab.release().spec == before


def test_a_release_under_way_carries_the_leaders_term_and_is_marked_once_by_each(bench: TwoReplicas) -> None:
    bench.look()
    bench.look()
    for _ in range(2):
        bench.restart()
        written = bench.kube.interruption.writes
        bench.look()
        bench.look()
        release = bench.lab.release()
        assert release.metadata.annotations[TERM_ANNOTATION] == bench.permit.term
        assert release.spec.sequence == 1, "nodes are told nothing new"
        assert bench.kube.interruption.writes == written + 1


def test_what_is_not_under_way_is_left_alone_by_a_new_leader(bench: TwoReplicas) -> None:
    bench.roll(until="Promoted")
    version = bench.lab.release().metadata.resource_version
    bench.restart()
    bench.look()
    assert bench.lab.release().metadata.resource_version == version


def test_without_a_permit_nothing_is_written(bench: TwoReplicas) -> None:
    bench.permit.take()
    for part in bench.cache.parts:
        part.reload(bench.kube)
    with pytest.raises(Conflict, match="another replica leads"):
        bench.models.reconcile(bench.key)
    assert "conditions" not in bench.lab.get(EDGE_MODELS)["status"]  # type: ignore[operator]
