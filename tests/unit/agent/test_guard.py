"""The active revision is judged for as long as it serves, and what replaces it is judged too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.agent.health import figures
from edgecanary.agent.machine import State
from edgecanary.agent.ports import HealthCounters
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.nodeplay import Node, link_of, node, quiet
from tests.unit.agent.releasing import KEY, Releases, everywhere, statement, until
from tests.unit.fileserver import Behaviour, FileServer, file_server

GOOD = HealthCounters(1000, 0)
BAD = HealthCounters(1100, 100)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def a(files: FileServer) -> RevisionStatement:
    return statement("1.0.0", publish=files.put)


@pytest.fixture
def b(files: FileServer) -> RevisionStatement:
    return statement("2.0.0", publish=files.put)


async def both_active(edge: Node, a: RevisionStatement, b: RevisionStatement) -> Releases:
    """First one revision, then the other, both committed; the other has answered well for a while."""
    releases = Releases()
    edge.hear(releases.next(stable=a))
    await edge.settles(a)
    edge.hear(releases.next(stable=b))
    await edge.settles(b)
    await answers(edge, GOOD)
    return releases


async def answers(edge: Node, counters: HealthCounters) -> None:
    """The revision that serves has answered so much by now, and that was looked at."""
    edge.server.answers = counters
    await until(lambda: edge.server.looked.get(KEY) == (edge.serves, counters))


async def test_an_active_revision_that_fails_long_after_its_trial_gives_way_to_the_one_before(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await both_active(edge, a, b)
        edge.server.answers = BAD
        await until(lambda: edge.record.rejected)

        assert edge.serves == link_of(edge.home) == edge.record.active == a.revision
        assert (edge.record.previous, edge.record.state) == (None, State.SETTLED)
        outcome = edge.record.outcome
        assert (outcome.state, outcome.result) == (ModelState.REVERTED, ModelResult.HEALTH_FAILED)
        assert (outcome.reason, outcome.desired) == ("TooManyErrors", b.revision)
        assert "requests failed" in outcome.message
        assert outcome.message.endswith("1.0.0 is active again")
        assert edge.news[-1] == outcome
        edge.server.answers = GOOD
        edge.hear(releases.next(stable=b))
        await quiet()
        assert edge.serves == a.revision, "what failed here is not tried again"


async def test_when_both_fail_the_last_one_that_passed_goes_on_and_the_node_says_so(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await both_active(edge, a, b)
        edge.server.answers = BAD
        await until(lambda: edge.serves == a.revision)
        await answers(edge, GOOD)
        loads = list(edge.server.log)
        edge.server.answers = BAD
        await until(lambda: edge.record.outcome.reason == "BothFailed")
        await quiet()

        assert edge.serves == edge.record.active == a.revision
        assert edge.server.log == loads, "nothing is switched back and forth"
        assert edge.record.outcome.state is ModelState.REVERTED
        edge.hear(releases.next(stable=a))
        await until(lambda: edge.record.outcome.state is ModelState.FAILING)
        assert edge.record.outcome.reason == "BothFailed"
        assert "which passed its trial, goes on being served" in edge.record.outcome.message

        edge.server.answers = HealthCounters(1100 + 40, 100)
        await until(lambda: edge.record.failing is None)
        await until(lambda: edge.record.outcome.state is ModelState.ACTIVE)


async def test_a_first_revision_that_fails_later_has_nothing_to_give_way_to_and_says_so(
    tmp_path: Path, a: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        await answers(edge, GOOD)
        edge.server.answers = BAD
        await until(lambda: edge.record.outcome.state is ModelState.FAILING)

        assert edge.serves == a.revision
        assert edge.record.outcome.reason == "TooManyErrors"
        assert "no other revision is on this node" in edge.record.outcome.message


async def test_an_active_revision_is_judged_while_the_next_one_is_on_its_way(
    tmp_path: Path, files: FileServer, a: RevisionStatement, b: RevisionStatement
) -> None:
    c = statement("3.0.0", publish=files.put)
    async with node(tmp_path) as edge:
        releases = await both_active(edge, a, b)
        files.behaviour = Behaviour(pause_after=10)
        edge.hear(releases.next(stable=b, canary=everywhere(c)))
        await edge.reaches(State.DOWNLOAD)
        await quiet()
        edge.server.answers = BAD
        await until(lambda: edge.serves == a.revision)
        files.behaviour = Behaviour()
        edge.server.answers = GOOD
        edge.hear(releases.next(stable=b, canary=everywhere(c)))
        await edge.settles(c)

        assert [entry.revision for entry in edge.record.rejected] == [b.revision]


async def test_a_revision_that_the_release_took_back_is_not_returned_to(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = await both_active(edge, a, b)
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        await answers(edge, GOOD)
        edge.server.answers = BAD
        await until(lambda: edge.record.outcome.state is ModelState.FAILING)

        assert edge.serves == a.revision


async def test_going_back_to_a_damaged_revision_is_refused_and_the_active_one_goes_on(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        await both_active(edge, a, b)
        path = edge.home.installed(a.revision).directory / "model.onnx"
        path.chmod(0o644)
        path.write_bytes(b"damaged")
        edge.server.answers = BAD
        await until(lambda: edge.record.outcome.state is ModelState.FAILING)

        assert edge.serves == link_of(edge.home) == b.revision


async def test_a_revision_on_trial_is_measured_by_what_the_one_before_it_did_here(
    tmp_path: Path, a: RevisionStatement, b: RevisionStatement
) -> None:
    async with node(tmp_path) as edge:
        releases = Releases(health=DeviceHealth(soak_seconds=600))
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        usual = HealthCounters(1000, 40, latencies=(1000, *(0,) * 41))
        await answers(edge, usual)
        releases.sequence = 5
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await edge.reaches(State.HEALTH)
        assert edge.record.figures_of(a.revision) == figures(a.revision, usual)

        edge.server.answers = HealthCounters(1000, 85)
        await quiet()
        assert edge.record.rejected == ()
        edge.server.answers = HealthCounters(1000, 95)
        await until(lambda: edge.record.rejected)
        told = edge.record.outcome.message
        assert "maxErrorPercent allows 5 % more than the 4.0 % of the revision before" in told


async def test_figures_outlive_the_process_that_took_them(tmp_path: Path, a: RevisionStatement) -> None:
    async with node(tmp_path) as edge:
        edge.hear(Releases().next(stable=a))
        await edge.settles(a)
        edge.server.answers = GOOD

    async with node(tmp_path) as edge:
        await until(lambda: edge.serves == a.revision)
        found = edge.record.figures_of(a.revision)
        assert found == figures(a.revision, GOOD)
