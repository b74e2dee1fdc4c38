"""Orders that change, vanish or come late while a node is at work."""

import asyncio
import threading
from pathlib import Path

from edgecanary.agent.machine import State
from edgecanary.api.edgenode import ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.nodeplay import link_of, node, quiet, running
from tests.unit.agent.releasing import (
    Releases,
    everywhere,
    rejected,
    until,
)
from tests.unit.fileserver import Behaviour, FileServer


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
