"""Revisions that fail on the node: what is taken back, reported, and tried again when."""

from pathlib import Path

from edgecanary.agent.machine import State
from edgecanary.agent.ports import HealthCounters, ModelKey
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.nodeplay import link_of, node, quiet, running
from tests.unit.agent.releasing import (
    MemoryProber,
    MemoryServer,
    Releases,
    everywhere,
    until,
)


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


async def test_a_node_that_cannot_probe_now_waits_tries_again_and_blames_no_model(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path, prober=MemoryProber(impossible={"2.0.0": "150 MiB are free"})) as edge:
        releases = await running(edge, a)
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: edge.prober.probed.count("2.0.0") > 2)

        outcome = edge.record.outcome
        assert (outcome.state, outcome.result, outcome.reason, outcome.message) == (
            ModelState.PENDING,
            ModelResult.PRECHECK_FAILED,
            "MemoryShort",
            "150 MiB are free",
        )
        assert edge.serves == a.revision
        assert not edge.record.rejected

        edge.prober.impossible.clear()
        await edge.settles(b)
