"""A record that is damaged, and a clock that is wrong: the node serves what it has and goes on."""

import asyncio
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.report import model_status
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import ModelState
from edgecanary.api.policy import UpdateWindow
from edgecanary.clients.nodeevents import ReleasesListed
from tests.unit.agent.faults.clocks import CLOCKS, OFF, WrongClock
from tests.unit.agent.faults.damage import DAMAGES, Damage
from tests.unit.agent.faults.play import A, B, Play, Z, play
from tests.unit.agent.faults.scenarios import SCENARIOS, SOAK, copy_directory, on_trial
from tests.unit.agent.faults.table import counts, total
from tests.unit.agent.nodeplay import link_of
from tests.unit.agent.releasing import KEY, NOW, FixedClock, Releases, everywhere

ALWAYS = (UpdateWindow(schedule="* * * * *", duration_seconds=3600),)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("starts")

    async def prepare() -> None:
        await SCENARIOS["return"].prepare(folder / "at rest")
        await on_trial(folder / "on trial")

    asyncio.run(prepare())
    return {"at rest": folder / "at rest", "on trial": folder / "on trial"}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
async def test_a_damaged_record_costs_nothing_that_was_committed(
    starts: dict[str, Path], tmp_path: Path, damage: Damage
) -> None:
    data, committed = tmp_path / "data", B if damage.start == "at rest" else A
    copy_directory(starts[damage.start], data)
    damage.do(data / "models" / KEY.namespace / KEY.name)
    found = Store(data).find(KEY)

    assert "record.json" in found.repair
    assert ("the copy before it, in" in found.repair) == (damage.copy == "good")
    async with play(data) as node:
        await node.until(lambda: node.serves == committed.revision, "what was committed serves at once")
        await node.until(lambda: node.reports, "a report of the repair")
        assert node.reports[0].repair == found.repair
        wanted = Releases(sequence=20, health=SOAK).next(stable=committed)
        node.supervisor.hear(ReleasesListed((wanted,)))
        await node.until(lambda: _is_active(node, committed.revision), "rest")
        kept = Store(data).find(KEY)
        assert kept.repair == ""
        assert link_of(node.store.files_of(KEY)) == committed.revision
    if damage.how not in ("missing", "empty"):
        assert (data / "models" / KEY.namespace / KEY.name / "record.json.damaged").exists()


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
async def test_a_wrong_clock_neither_holds_up_an_update_nor_the_one_after_it(
    starts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: WrongClock
) -> None:
    monkeypatch.setattr("edgecanary.agent.timing._LOOK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("edgecanary.agent.timing.DOUBT_SECONDS", 0.05)
    data, time = tmp_path / "data", FixedClock(NOW)
    copy_directory(starts["at rest"], data)
    if clock.since is None:
        time.time = NOW + OFF[clock.off]
    async with play(data, clock=time) as node:
        node.store.on_state[clock.since] = lambda: setattr(time, "time", NOW + OFF[clock.off])
        releases = Releases(sequence=20, health=SOAK, windows=ALWAYS)
        node.supervisor.hear(ReleasesListed((releases.next(stable=B, canary=everywhere(Z)),)))
        await node.until(lambda: _is_active(node, Z.revision), "the update, by the wrong clock")
        time.time = NOW
        node.supervisor.hear(ReleasesListed((releases.next(stable=B, canary=everywhere(A)),)))
        await node.until(lambda: _is_active(node, A.revision), "the next one, by the right clock")


def test_there_are_at_least_500_cases() -> None:
    assert total(counts()) >= 500


def _is_active(node: Play, revision: str) -> bool:
    record = node.record
    if record is None or not node.idle:
        return False
    status = model_status(record)
    return (status.state, status.active, record.state) == (ModelState.ACTIVE, revision, State.SETTLED)
