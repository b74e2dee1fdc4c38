"""The reconcilers on a real API server, interrupted at every write, and with a clock that is moved."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.base.errors import Conflict, NotFound, Unavailable
from edgecanary.clients.events import EventRecorder
from edgecanary.clients.kube import Secrets
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgecanary.controller.views import ObjectKey
from edgelab.modelzoo import ZooModel
from edgelab.s3 import S3Server
from tests.kube.bench import NAMES, Bench, Interruption
from tests.kube.operator_lab import SECRET, OperatorLab


@pytest.fixture
def bench(stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel) -> Iterator[Bench]:
    lab = stocked_lab
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    found = Bench(lab)
    yield found
    found.kube.close()


def story(releases: list[ModelReleaseSpec]) -> list[tuple[int, bool, bool]]:
    """What nodes saw, in order: sequence, whether there was a stable revision, whether a canary."""
    return [(spec.sequence, spec.stable is not None, spec.canary is not None) for spec in releases]


def told(lab: OperatorLab) -> list[tuple[str, int]]:
    """The Events with their counts. A step that is entered again after a kill may bake visibly: no matter."""
    found = ((str(event["reason"]), cast("int", event["count"])) for event in lab.events())
    return sorted(pair for pair in found if pair[0] != "BakeStarted")


STORY = [(1, False, True), (2, False, True), (3, True, False)]
TOLD = [("Promoted", 1), ("RolloutStarted", 1), ("StepStarted", 1), ("Verified", 1)]


def test_undisturbed_a_rollout_is_told_in_three_releases_and_one_event_for_each_transition(
    bench: Bench,
) -> None:
    assert story(bench.roll(until="Promoted")) == STORY
    assert told(bench.lab) == TOLD


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 18))
def test_killed_at_any_write_nodes_and_people_are_told_the_same(
    bench: Bench, at: int, *, after: bool
) -> None:
    bench.kube.interruption = Interruption(at, after)
    assert story(bench.roll(until="Promoted")) == STORY
    assert told(bench.lab) == TOLD


def test_the_interruptions_cover_every_write(bench: Bench) -> None:
    bench.roll(until="Promoted")
    assert 12 <= bench.kube.interruption.writes <= 17


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
def test_killed_at_any_write_a_bad_version_is_taken_back_once_and_stays_away(
    bench: Bench, at: int, *, after: bool
) -> None:
    good = bench.roll(until="Promoted")[-1]
    golden = {"absoluteTolerance": "0.01"}
    bench.lab.change(EDGE_MODELS, {"spec": {"version": "9.9.9", "golden": golden}})
    bench.kube.interruption = Interruption(at, after)
    releases = bench.roll(until="RolledBack", fails=NAMES)
    assert [spec.canary is not None for spec in releases] in ([False, True, False], [True, False])
    last = releases[-1]
    assert last.stable == good.stable
    assert [(entry.version, entry.attempt) for entry in last.rejected] == [("9.9.9", 1)]
    assert last.sequence == good.sequence + 2
    for _ in range(3):
        bench.look()
    assert bench.lab.release().spec == last


class TestAddresses:
    def test_they_are_renewed_at_half_of_their_life_and_the_release_says_so(self, bench: Bench) -> None:
        bench.roll(until="Promoted")
        first = bench.lab.release().spec
        bench.clock.ahead = timedelta(hours=11)
        wait = bench.look()
        assert wait is not None
        assert 3000 < wait <= 3600, "the renewal wakes the operator by itself"
        assert bench.lab.release().spec == first
        bench.clock.ahead = timedelta(hours=13)
        bench.look()
        second = bench.lab.release().spec
        assert second.sequence == first.sequence + 1
        assert first.stable is not None
        assert second.stable is not None
        assert first.stable.urls_expire_at is not None
        assert second.stable.urls_expire_at is not None
        assert second.stable.urls_expire_at - first.stable.urls_expire_at > timedelta(hours=12)

    def test_a_secret_that_is_gone_leaves_the_old_ones_and_is_told_until_it_is_back(
        self, bench: Bench, s3: S3Server
    ) -> None:
        bench.roll(until="Promoted")
        first = bench.lab.release().spec
        bench.lab.api.delete(f"/api/v1/namespaces/{bench.lab.namespace}/secrets/{SECRET}")
        bench.clock.ahead = timedelta(hours=20)
        assert bench.look() == 60.0
        assert bench.lab.release().spec == first
        (event,) = bench.lab.events("AddressesUnavailable")
        assert f"there is no Secret {SECRET}" in str(event["message"])
        bench.lab.secret(s3.environment)
        bench.look()
        assert bench.lab.release().spec.sequence == first.sequence + 1

    def test_an_abort_does_not_wait_for_a_secret(self, bench: Bench) -> None:
        bench.look()
        bench.look()
        assert bench.lab.release().spec.canary is not None
        bench.lab.api.delete(f"/api/v1/namespaces/{bench.lab.namespace}/secrets/{SECRET}")
        bench.clock.ahead = timedelta(hours=20)
        bench.lab.annotate("abort", "now")
        bench.look()
        assert bench.lab.release().spec.canary is None


def test_a_write_by_somebody_else_in_between_is_a_conflict_and_nothing_is_lost(bench: Bench) -> None:
    bench.look()
    lab = bench.lab
    observe = bench.cache.fleet

    def fleet_and_annotation(model: ObjectKey) -> object:
        lab.annotate("note", str(bench.clock.now()))
        return observe(model)

    bench.cache.fleet = fleet_and_annotation  # type: ignore[method-assign, assignment]
    lab.change(ROLLOUTS, {"spec": {"paused": True}})
    with pytest.raises(Conflict):
        bench.rollouts.reconcile(bench.key)
    bench.cache.fleet = observe  # type: ignore[method-assign]
    bench.look()
    assert lab.ready(ROLLOUTS) == ("Unknown", "Paused")


def test_a_release_that_changes_between_reading_and_writing_is_a_conflict(bench: Bench) -> None:
    bench.roll(until="Promoted")
    lab, observe = bench.lab, bench.cache.fleet

    def fleet_and_foreign_write(model: ObjectKey) -> object:
        lab.change(MODEL_RELEASES, {"spec": {"health": {"maxCrashes": 77}}})
        return observe(model)

    bench.cache.fleet = fleet_and_foreign_write  # type: ignore[method-assign, assignment]
    lab.change(ROLLOUTS, {"spec": {"health": {"soakSeconds": 5}}})
    with pytest.raises(Conflict, match="modelreleases"):
        bench.rollouts.reconcile(bench.key)
    bench.cache.fleet = observe  # type: ignore[method-assign]
    bench.look()
    health = lab.release().spec.health
    assert (health.soak_seconds, health.max_crashes) == (5, 2)


def test_a_rollout_that_is_gone_is_no_failure(bench: Bench) -> None:
    bench.look()
    bench.lab.api.delete(bench.lab.path(ROLLOUTS, "pump"))
    assert bench.rollouts.reconcile(bench.key) is None


def test_a_model_that_is_gone_is_no_failure(bench: Bench) -> None:
    bench.lab.api.delete(bench.lab.path(EDGE_MODELS, "pump"))
    assert bench.models.reconcile(bench.key) is None


def test_a_rollout_that_is_being_deleted_is_left_alone(bench: Bench) -> None:
    lab = bench.lab
    lab.change(ROLLOUTS, {"metadata": {"finalizers": ["example.com/hold"]}})
    lab.api.delete(lab.path(ROLLOUTS, "pump"))
    assert bench.look() is None
    assert lab.find(MODEL_RELEASES) is None
    lab.change(ROLLOUTS, {"metadata": {"finalizers": None}})


def test_events_that_cannot_be_written_hold_nothing_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("Forbidden", "events are forbidden")

    monkeypatch.setattr(EventRecorder, "record", refuse)
    bench.roll(until="Promoted")
    assert bench.lab.events() == []


def test_a_failed_check_is_not_made_again_before_its_time(bench: Bench, s3: S3Server, bucket: str) -> None:
    lab = bench.lab
    model = EdgeModel.model_validate(lab.get(EDGE_MODELS))
    key = model.spec.variants[0].files[0].uri.removeprefix(f"s3://{bucket}/")
    content = s3.get(bucket, key)
    s3.delete(bucket, key)
    wait = bench.models.reconcile(bench.key)
    assert wait is not None
    assert lab.ready(EDGE_MODELS) == ("False", "SourceNotFound")
    s3.put(bucket, key, content)
    bench.models.reconcile(bench.key)
    assert lab.ready(EDGE_MODELS) == ("False", "SourceNotFound"), "an event does not shorten the wait"
    bench.clock.ahead = timedelta(seconds=wait + 1)
    assert bench.models.reconcile(bench.key) is None
    assert lab.ready(EDGE_MODELS) == ("True", "Verified")


def test_the_waits_between_checks_grow(bench: Bench, s3: S3Server, bucket: str) -> None:
    model = EdgeModel.model_validate(bench.lab.get(EDGE_MODELS))
    s3.delete(bucket, model.spec.variants[0].files[0].uri.removeprefix(f"s3://{bucket}/"))
    waits = []
    for _ in range(12):
        wait = bench.models.reconcile(bench.key)
        assert wait is not None
        waits.append(wait)
        bench.clock.ahead += timedelta(seconds=wait + 1)
    assert waits[0] <= 2
    assert max(waits) <= 300
    assert max(waits[-3:]) > 10 * waits[0]


def test_a_stalled_model_is_looked_at_again_after_a_while(bench: Bench, s3: S3Server, bucket: str) -> None:
    model = EdgeModel.model_validate(bench.lab.get(EDGE_MODELS))
    key = model.spec.variants[0].files[0].uri.removeprefix(f"s3://{bucket}/")
    content = s3.get(bucket, key)
    s3.put(bucket, key, content[:-1])
    assert bench.models.reconcile(bench.key) == pytest.approx(600, abs=5)
    assert bench.lab.ready(EDGE_MODELS) == ("False", "SizeMismatch")
    s3.put(bucket, key, content)
    bench.clock.ahead = timedelta(minutes=11)
    bench.models.reconcile(bench.key)
    assert bench.lab.ready(EDGE_MODELS) == ("True", "Verified")


def test_a_full_disk_is_said_and_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    bench.models.reconcile(bench.key)
    assert bench.lab.ready(EDGE_MODELS) == ("Unknown", "OperatorDiskFull")
    assert "give the operator more temporary space" in bench.lab.message(EDGE_MODELS)


def test_a_missing_secret_is_not_found_by_name(bench: Bench) -> None:
    with pytest.raises(NotFound, match="there is no Secret other"):
        Secrets(bench.kube).read(bench.lab.namespace, "other")
