"""One model on one node: from an order in a release to what is served, reported and kept on disk."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.ports import HealthCounters, ModelKey
from edgecanary.api.artifacts import VariantRequirements
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth, UpdateWindow
from tests.unit.agent.nodeplay import Node, link_of, node, quiet
from tests.unit.agent.releasing import (
    NOW,
    FixedClock,
    MemoryProber,
    MemoryServer,
    Releases,
    everywhere,
    rejected,
    sha256,
    statement,
    until,
)
from tests.unit.fileserver import Behaviour, FileServer, file_server


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(files: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=files.put, golden=b"golden a")


@pytest.fixture
def b(files: FileServer) -> RevisionStatement:
    return statement("2.0.0", publish=files.put, golden=b"golden b")


@pytest.fixture
def c(files: FileServer) -> RevisionStatement:
    return statement("3.0.0", publish=files.put)


async def running(edge: Node, stated: RevisionStatement) -> Releases:
    """The release that made the revision active on the node."""
    releases = Releases()
    edge.hear(releases.next(stable=stated))
    await edge.settles(stated)
    return releases


async def test_a_first_revision_goes_through_every_state_and_is_reported_once(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        await quiet()

        assert edge.serves == link_of(edge.home) == a.revision
        assert edge.store.states == [
            State.ACCEPTED,
            State.PRECHECK,
            State.DOWNLOAD,
            State.VERIFY,
            State.STAGE,
            State.PROBE,
            State.WINDOW,
            State.SWITCH,
            State.HEALTH,
            State.COMMIT,
            State.SETTLED,
        ]
        assert [(news.state, news.result, news.desired) for news in edge.news] == [
            (ModelState.ACTIVE, ModelResult.SUCCEEDED, a.revision)
        ]
        assert edge.record.outcome.probe is not None


async def test_a_canary_replaces_the_stable_revision_which_stays_on_disk(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)

        assert (edge.record.active, edge.record.previous) == (b.revision, a.revision)
        assert edge.record.outcome.attempt == 1
        edge.home.check(a.revision)


async def test_a_canary_that_is_taken_back_costs_neither_download_nor_probe(
    tmp_path: Path, files: FileServer, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        requests, probes, news = len(files.seen), len(edge.prober.probed), len(edge.news)

        edge.hear(releases.next(stable=a, taken_back=(rejected(b),)))
        await edge.settles(a)
        await quiet()

        assert (len(files.seen), len(edge.prober.probed)) == (requests, probes)
        assert edge.serves == link_of(edge.home) == a.revision
        assert len(edge.news) == news + 1
        assert edge.record.rejected == ()


async def test_a_third_revision_makes_the_first_one_garbage(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement, c: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = Releases()
        for stated in (a, b, c):
            edge.hear(releases.next(stable=stated))
            await edge.settles(stated)

        await until(lambda: {path.name for path in edge.home.store.iterdir()} == {b.revision, c.revision})


async def test_a_file_that_both_revisions_have_is_fetched_once(tmp_path: Path, files: FileServer) -> None:
    shared = b"labels " * 100
    one = statement("1.0.0", publish=files.put, files={"model.onnx": b"one", "labels.txt": shared})
    two = statement("2.0.0", publish=files.put, files={"model.onnx": b"two", "labels.txt": shared})
    async with node(tmp_path) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=one))
        await edge.settles(one)
        edge.hear(releases.next(stable=two))
        await edge.settles(two)

    assert [seen.path for seen in files.seen] == [
        "/1.0.0/model.onnx",
        "/1.0.0/labels.txt",
        "/2.0.0/model.onnx",
    ]


async def test_a_model_that_is_only_delivered_is_neither_probed_nor_given_golden_cases(
    tmp_path: Path, files: FileServer
) -> None:
    plain = statement("1.0.0", publish=files.put, golden=b"golden", serve=False)
    async with node(tmp_path) as edge:
        edge.hear(Releases(health=DeviceHealth(soak_seconds=600)).next(stable=plain))
        await edge.settles(plain)

        assert (edge.prober.probed, edge.serves) == ([], None)
        assert (edge.home.root / "active" / "model.onnx").exists()
    assert [seen.path for seen in files.seen] == ["/1.0.0/model.onnx"]


async def test_a_failed_probe_reverts_is_reported_once_and_never_touches_what_serves(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path, prober=MemoryProber(bad={"2.0.0": "score 0.3, not 0.9"})) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: edge.record.rejected)
        await quiet()

        outcome = edge.record.outcome
        assert (outcome.state, outcome.result, outcome.reason) == (
            ModelState.REVERTED,
            ModelResult.PROBE_FAILED,
            "GoldenMismatch",
        )
        assert outcome.message == "score 0.3, not 0.9; 1.0.0 is active again"
        assert (outcome.desired, outcome.attempt) == (b.revision, 1)
        assert edge.server.log == ["activate 1.0.0"]
        assert len(edge.news) == 2
        assert edge.prober.probed == ["1.0.0", "2.0.0"]


async def test_a_failed_revision_is_tried_again_only_in_its_next_attempt(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path, prober=MemoryProber(bad={"2.0.0": "wrong"})) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: edge.record.rejected)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        edge.hear(releases.next(stable=b))
        await quiet()
        assert edge.prober.probed.count("2.0.0") == 1

        edge.prober.bad.clear()
        edge.hear(releases.next(stable=a, canary=everywhere(b, attempt=2)))
        await edge.settles(b)

        assert edge.record.rejected == ()
        assert edge.record.outcome.attempt == 2


async def test_a_revision_that_fails_requests_on_trial_is_taken_back(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        releases.health = DeviceHealth(soak_seconds=600, max_error_percent=5)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        assert edge.serves == link_of(edge.home) == b.revision
        edge.server.answers = HealthCounters(requests=100, errors=6)
        await until(lambda: edge.record.rejected)

        assert edge.record.outcome.result is ModelResult.HEALTH_FAILED
        assert "6 of 100 requests failed" in edge.record.outcome.message
        assert edge.serves == link_of(edge.home) == a.revision


async def test_a_first_revision_that_fails_leaves_nothing_served(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path, server=MemoryServer(bad={"1.0.0": "no memory"})) as edge:
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.record.rejected)

        assert edge.record.outcome.reason == "ModelLoadFailed"
        assert edge.record.outcome.message == "no memory; nothing is served"
        assert (edge.serves, link_of(edge.home)) == (None, None)


async def test_going_back_works_though_there_is_no_room_for_two_models(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    class Cramped(MemoryServer):
        async def deactivate(self, key: ModelKey) -> None:
            self.bad.pop("1.0.0", None)
            await super().deactivate(key)

    async with node(tmp_path, server=Cramped()) as edge:
        releases = await running(edge, a)
        releases.health = DeviceHealth(soak_seconds=600)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        edge.server.bad["1.0.0"] = "no memory beside the other"
        edge.server.answers = HealthCounters(requests=10, errors=10)
        await until(lambda: edge.record.rejected)

        assert edge.serves == a.revision


async def test_an_order_that_changes_its_mind_ends_a_download_at_once(
    tmp_path: Path, files: FileServer, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        files.behaviour = Behaviour(pause_after=10)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.DOWNLOAD)
        await until(lambda: len(files.seen) == 3)

        edge.hear(releases.next(stable=a, taken_back=(rejected(b),)))
        await edge.settles(a)
        await quiet()

        await until(lambda: not [item for item in threading.enumerate() if item.name.startswith("fetch ")])
        assert list(edge.home.incoming.iterdir()) == []
        assert edge.server.log == ["activate 1.0.0"]
        assert len(edge.news) == 1


async def test_an_order_that_changes_its_mind_ends_a_probe(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.prober.holds = asyncio.Event()
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: "2.0.0" in edge.prober.probed)

        edge.hear(releases.next(stable=a))
        await until(lambda: edge.prober.cancelled == ["2.0.0"])
        await edge.settles(a)

        assert edge.record.rejected == ()


async def test_a_canary_that_is_withdrawn_on_trial_goes_back_without_being_blamed(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        releases.health = DeviceHealth(soak_seconds=600)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.state is State.SETTLED)

        assert edge.serves == link_of(edge.home) == a.revision
        assert edge.record.rejected == ()


async def test_an_order_that_comes_while_switching_waits_for_the_switch(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement, c: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.server.loads = asyncio.Event()
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.SWITCH)
        edge.hear(releases.next(stable=a, canary=everywhere(c)))
        await quiet()
        assert edge.record.state is State.SWITCH
        edge.server.loads.set()
        await edge.settles(c)

        assert edge.record.previous == a.revision


async def test_nothing_wanted_means_that_nothing_is_served_and_that_is_reported(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next())
        await edge.settles(None)

        assert (edge.serves, link_of(edge.home)) == (None, None)
        assert [news.state for news in edge.news] == [ModelState.ACTIVE, ModelState.WITHDRAWN]
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        assert edge.prober.probed == ["1.0.0"]


async def test_a_release_that_vanishes_changes_nothing_but_is_reported(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear()
        await until(lambda: edge.record.outcome.reason == "ReleaseMissing")
        edge.hear()
        await quiet()

        assert edge.serves == a.revision
        assert [news.reason for news in edge.news] == ["Active", "ReleaseMissing"]
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.outcome.reason == "Active")


async def test_a_withdrawn_model_is_forgotten_when_its_release_goes(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next())
        await edge.settles(None)
        edge.hear()
        await quiet()

        assert edge.supervisor.records == []
        assert edge.store.models() == []


async def test_an_older_state_of_a_release_is_ignored(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = Releases()
        old, new = releases.next(stable=a), releases.next(stable=b)
        edge.hear(new)
        await edge.settles(b)
        edge.hear(old)
        await quiet()
        assert edge.record.active == b.revision

    async with node(tmp_path) as edge:
        edge.hear(old)
        await quiet()
        assert edge.record.active == b.revision


async def test_a_node_waits_for_its_window_and_downloads_meanwhile(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecanary.agent.timing._LOOK_AGAIN_SECONDS", 0.02)
    clock = FixedClock(NOW)
    async with node(tmp_path, clock=clock) as edge:
        releases = await running(edge, a)
        releases.windows = (
            UpdateWindow(schedule="0 2 * * *", duration_seconds=3600, time_zone="Europe/Berlin"),
        )
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.WINDOW)
        await quiet()
        assert edge.serves == a.revision
        assert edge.home.is_installed(b.revision)

        clock.time = NOW.replace(day=2, hour=0, minute=30)
        await edge.settles(b)


async def test_going_back_does_not_wait_for_a_window(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.settles(b)
        releases.windows = (UpdateWindow(schedule="0 2 * * *", duration_seconds=3600),)
        edge.hear(releases.next(stable=a))

        await edge.settles(a)


@pytest.mark.parametrize("wrong", [NOW.replace(year=1970), NOW.replace(year=2024)])
async def test_a_clock_that_cannot_be_right_keeps_windows_closed(
    tmp_path: Path, a: RevisionStatement, wrong: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecanary.agent.timing._LOOK_AGAIN_SECONDS", 0.02)
    clock = FixedClock(wrong)
    always = (UpdateWindow(schedule="* * * * *", duration_seconds=3600),)
    async with node(tmp_path, clock=clock) as edge:
        edge.hear(Releases(windows=always).next(stable=a))
        await edge.reaches(State.WINDOW)
        await quiet()
        assert edge.serves is None
        clock.time = NOW
        await edge.settles(a)


async def test_a_window_in_an_unknown_time_zone_is_reported_and_nothing_is_fetched(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    windows = (UpdateWindow(schedule="0 2 * * *", duration_seconds=3600, time_zone="Europe/Atlantis"),)
    async with node(tmp_path) as edge:
        edge.hear(Releases(windows=windows).next(stable=a))
        await until(lambda: edge.news)

        assert edge.record.outcome.reason == "UpdateWindowInvalid"
        assert "'Europe/Atlantis'" in edge.record.outcome.message
    assert files.seen == []


async def test_a_revision_that_no_variant_fits_is_reported_and_waits_for_another_order(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    needs = VariantRequirements(min_memory="1Ti")
    large = b.model_copy(update={"variants": (b.variants[0].model_copy(update={"requires": needs}),)})
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=large))
        await until(lambda: len(edge.news) == 2)
        await quiet()

        outcome = edge.record.outcome
        assert (outcome.state, outcome.result) == (ModelState.PENDING, ModelResult.PRECHECK_FAILED)
        assert "memory 8.0 GiB is less than 1Ti" in outcome.message
        assert edge.serves == a.revision
        edge.hear(releases.next(stable=b))
        await edge.settles(b)


async def test_a_revision_that_the_disk_has_no_room_for_is_not_begun(
    tmp_path: Path, files: FileServer, a: RevisionStatement
) -> None:
    size = sum(file.size_bytes for file in a.variants[0].files) + len(b"golden a")
    async with node(tmp_path) as edge:
        edge.store.free = size + 999
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.news)
        await quiet()

        assert edge.record.outcome.reason == "DiskTooSmall"
        assert f"needs {size / 1024:.1f} KiB" in edge.record.outcome.message
        assert (files.seen, len(edge.news)) == ([], 1)
        edge.store.free = size + 1000
        await edge.settles(a)


async def test_a_full_disk_holds_work_up_and_lets_it_go_on_later(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.store.full = True
        edge.hear(Releases().next(stable=a))
        await until(lambda: edge.news)
        assert edge.record.outcome.reason == "DiskFailed"
        assert edge.record.state is State.SETTLED
        edge.store.full = False
        await edge.settles(a)


async def test_a_full_disk_does_not_keep_a_node_from_going_back(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await running(edge, a)
        releases.health = DeviceHealth(soak_seconds=600)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        edge.store.full = True
        edge.server.answers = HealthCounters(requests=100, errors=100)
        await until(lambda: edge.serves == a.revision)
        edge.store.full = False
        await until(lambda: edge.record.rejected)

        assert edge.store.load(edge.record.key).rejected[0].revision == b.revision


async def test_an_active_revision_that_is_damaged_is_fetched_again(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    releases = Releases()
    async with node(tmp_path) as edge:
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        edge.hear(releases.next(stable=b))
        await edge.settles(b)
        path = edge.home.installed(b.revision).directory / "model.onnx"
        path.chmod(0o644)
        path.write_bytes(b"damaged")

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        await until(lambda: edge.record.outcome.reason == "ActiveDamaged")
        edge.hear(releases.next(stable=b))
        await edge.settles(b)

        edge.home.check(b.revision)


async def test_a_restarted_node_serves_before_it_hears_anything(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        await quiet()

        assert edge.news == []


async def test_a_node_without_labels_decides_nothing(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.supervisor._labels = None
        edge.hear(Releases().next(stable=a))
        await quiet()

        assert edge.supervisor.records == []


async def test_golden_cases_are_installed_with_the_revision(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        golden = edge.home.installed(a.revision).golden_path

        assert golden is not None
        assert sha256(golden.read_bytes()) == sha256(b"golden a")
