"""Update windows: what a node does meanwhile, and with a clock or a time zone that cannot be right."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from edgecanary.agent.gatekeeper import Gatekeeper
from edgecanary.agent.machine import State
from edgecanary.agent.preconditions import Held
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import UpdateWindow
from tests.unit.agent.nodeplay import node, quiet, running
from tests.unit.agent.releasing import (
    NOW,
    FixedClock,
    Releases,
    everywhere,
    until,
)
from tests.unit.fileserver import FileServer


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


class Interrupted(Gatekeeper):
    """Finds the window closed, and another release arrives before that is acted on."""

    arrives: Callable[[], None] | None = None

    async def activation(
        self, windows: Sequence[UpdateWindow], now: datetime, known: datetime | None
    ) -> Held | None:
        held = await super().activation(windows, now, known)
        if held is not None and self.arrives is not None:
            arrives, self.arrives = self.arrives, None
            arrives()
        return held


async def test_a_release_that_arrives_as_a_wait_begins_ends_the_wait(
    tmp_path: Path, a: RevisionStatement
) -> None:
    night = UpdateWindow(schedule="0 2 * * *", duration_seconds=3600)
    keeper = Interrupted()
    async with node(tmp_path, gatekeeper=keeper) as edge:
        keeper.arrives = lambda: edge.hear(Releases(sequence=5).next(stable=a))
        edge.hear(Releases(windows=(night,)).next(stable=a))
        await edge.settles(a)
