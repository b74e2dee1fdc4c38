"""Several models on one node, with priorities where memory is short."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.memory import Claim, Room, find_room
from edgecanary.agent.ports import HealthCounters, InstalledRevision, ModelKey, ProbeReport
from edgecanary.agent.record import Record
from edgecanary.api.artifacts import VariantBudget
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import CanaryStatement, ModelRelease, RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.modelmaking import REVISION_A, adding_model, install, row_io
from tests.unit.agent.nodeplay import Node, node, quiet
from tests.unit.agent.releasing import MemoryProber, Releases, everywhere, statement, until
from tests.unit.agent.serving.harness import rows, running_node
from tests.unit.fileserver import FileServer, file_server

PUMP, FAN, DOOR = (ModelKey("plant", name) for name in ("pump", "fan", "door"))


def claim(key: ModelKey, priority: int, count: int, revision: str = "a") -> Claim:
    return Claim(key, revision, priority, count)


def everybody(key: ModelKey) -> bool:
    return key.name != "busy"


LOADED = [claim(FAN, 0, 30), claim(DOOR, 5, 30), claim(ModelKey("plant", "busy"), 0, 20)]


@pytest.mark.parametrize(
    ("wanted", "room"),
    [
        (claim(PUMP, 0, 20), Room()),
        (claim(PUMP, 0, 21), None),
        (claim(PUMP, 1, 21), Room((FAN,))),
        (claim(PUMP, 1, 50), Room((FAN,))),
        (claim(PUMP, 1, 51), None),
        (claim(PUMP, 9, 51), Room((FAN, DOOR))),
        (claim(PUMP, 9, 80), Room((FAN, DOOR))),
        (claim(PUMP, 9, 81), None),
        (claim(DOOR, 5, 20, "b"), Room()),
        (claim(DOOR, 5, 50, "b"), Room((FAN,))),
        (claim(DOOR, 5, 60, "b"), Room((FAN,), gap=True)),
        (claim(FAN, 0, 50, "b"), Room(gap=True)),
        (claim(FAN, 0, 51, "b"), None),
    ],
)
def test_lower_priorities_make_room_the_lowest_first_and_then_the_models_own_active_revision(
    wanted: Claim, room: Room | None
) -> None:
    assert find_room(LOADED, wanted, 100, everybody) == room


class Sized(MemoryProber):
    """Finds that a version takes as many bytes as its patch number says."""

    async def probe(self, installed: InstalledRevision) -> ProbeReport:
        await super().probe(installed)
        return ProbeReport(5, 2, peak_memory_bytes=int(installed.version.split(".")[2]), cases=1)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


class Fleet:
    """Releases of several models."""

    def __init__(self) -> None:
        self._latest: dict[str, ModelRelease] = {}
        self._sequence = 0

    def say(
        self,
        edge: Node,
        name: str,
        stable: RevisionStatement | None,
        *,
        priority: int = 0,
        canary: CanaryStatement | None = None,
        soak: int = 0,
    ) -> None:
        self._sequence += 1
        releases = Releases(
            name=name, uid=f"uid-{name}", sequence=self._sequence, health=DeviceHealth(soak_seconds=soak)
        )
        release = releases.next(stable=stable, canary=canary)
        spec = release.spec.model_copy(update={"model": name, "priority": priority})
        self._latest[name] = release.model_copy(update={"spec": spec})
        edge.hear(*self._latest.values())


def record_of(edge: Node, name: str) -> Record:
    return next(record for record in edge.supervisor.records if record.name == name)


async def serves(edge: Node, **wanted: RevisionStatement | None) -> None:
    """Waits until each model is served in the revision, or not at all."""
    for name, stated in wanted.items():
        key, revision = ModelKey("plant", name), stated.revision if stated else None
        await until(partial(lambda key, revision: edge.server.active.get(key) == revision, key, revision))


async def test_a_model_of_a_higher_priority_displaces_others_which_come_back_when_there_is_memory(
    tmp_path: Path, files: FileServer
) -> None:
    fan, pump = statement("1.0.60", publish=files.put), statement("2.0.70", publish=files.put)
    fleet = Fleet()
    async with node(tmp_path, prober=Sized(), budget=100) as edge:
        fleet.say(edge, "fan", fan)
        await serves(edge, fan=fan)
        fleet.say(edge, "pump", pump, priority=10)
        await serves(edge, pump=pump, fan=None)
        await until(lambda: record_of(edge, "fan").outcome.reason == "Evicted")
        outcome = record_of(edge, "fan").outcome
        assert (outcome.state, outcome.desired) == (ModelState.PENDING, fan.revision)
        assert edge.store.files_of(FAN).is_installed(fan.revision)
        await quiet()
        assert edge.server.log.count("evict fan") == 1

        fleet.say(edge, "pump", None)
        await serves(edge, pump=None, fan=fan)
        await until(lambda: record_of(edge, "fan").outcome.state is ModelState.ACTIVE)


async def test_a_model_never_displaces_one_of_its_own_priority(tmp_path: Path, files: FileServer) -> None:
    fan, pump = statement("1.0.60", publish=files.put), statement("2.0.70", publish=files.put)
    fleet = Fleet()
    async with node(tmp_path, prober=Sized(), budget=100) as edge:
        fleet.say(edge, "fan", fan, priority=3)
        await serves(edge, fan=fan)
        fleet.say(edge, "pump", pump, priority=3)
        await until(lambda: record_of(edge, "pump").outcome.reason == "OutOfMemoryBudget")
        outcome = record_of(edge, "pump").outcome
        assert (outcome.state, outcome.result) == (ModelState.PENDING, ModelResult.PRECHECK_FAILED)
        assert "needs 70 B of memory; --memory-budget is 100 B, of which 60 B" in outcome.message
        await serves(edge, fan=fan, pump=None)

        fleet.say(edge, "fan", None)
        await serves(edge, pump=pump)


async def test_what_declares_too_much_memory_is_not_even_fetched(tmp_path: Path, files: FileServer) -> None:
    fan = statement("1.0.60", publish=files.put)
    needs = fan.variants[0].model_copy(update={"budget": VariantBudget(peak_memory="1Ki")})
    fan = fan.model_copy(update={"variants": (needs,)})
    async with node(tmp_path, budget=100) as edge:
        Fleet().say(edge, "fan", fan)
        await until(lambda: record_of(edge, "fan").outcome.reason == "OutOfMemoryBudget")
    assert files.seen == []


async def test_after_a_start_the_highest_priority_is_loaded_and_nothing_twice(
    tmp_path: Path, files: FileServer
) -> None:
    stated = {
        name: statement(f"{n}.0.60", publish=files.put) for n, name in enumerate(("fan", "pump", "door"))
    }
    fleet = Fleet()
    async with node(tmp_path, prober=Sized()) as edge:
        for priority, (name, revision) in enumerate(stated.items()):
            fleet.say(edge, name, revision, priority=priority)
            await serves(edge, **{name: revision})
            await until(partial(lambda name: record_of(edge, name).active, name))

    async with node(tmp_path, budget=130) as edge:
        await serves(edge, door=stated["door"], pump=stated["pump"])
        await quiet()
        assert edge.server.active.keys() == {DOOR, PUMP}
        assert not [line for line in edge.server.log if line.startswith("evict")]


async def test_an_update_that_does_not_fit_beside_what_it_replaces_is_made_with_a_gap_and_so_is_the_way_back(
    tmp_path: Path, files: FileServer
) -> None:
    a, b = statement("1.0.60", publish=files.put), statement("2.0.70", publish=files.put)
    fleet = Fleet()
    async with node(tmp_path, prober=Sized(), budget=100) as edge:
        fleet.say(edge, "pump", a)
        await until(lambda: edge.supervisor.records and record_of(edge, "pump").active)
        fleet.say(edge, "pump", a, canary=everywhere(b), soak=600)
        await until(lambda: record_of(edge, "pump").state is State.HEALTH)
        assert edge.server.log == ["activate 1.0.60", "evict pump", "activate 2.0.70"]
        edge.server.answers = HealthCounters(100, 100)
        await until(lambda: record_of(edge, "pump").rejected)
        assert edge.server.active[PUMP] == a.revision


async def test_an_update_of_a_small_model_leaves_no_gap(tmp_path: Path, files: FileServer) -> None:
    a, b = statement("1.0.40", publish=files.put), statement("2.0.50", publish=files.put)
    fleet = Fleet()
    async with node(tmp_path, prober=Sized(), budget=100) as edge:
        for stated in (a, b):
            fleet.say(edge, "pump", stated)
            await serves(edge, pump=stated)
        assert "evict pump" not in edge.server.log


async def test_requests_for_a_model_that_was_unloaded_are_told_why_and_to_come_again(tmp_path: Path) -> None:
    installed = install(tmp_path, adding_model(1), row_io(), revision=REVISION_A)
    async with running_node() as edge:
        await edge.server.activate(installed)
        assert (await edge.infer(rows(1, 2, 3, 4))).status == 200
        await edge.server.evict(installed.key, "its memory went to plant.fan, which has a higher priority")
        answer = await edge.infer(rows(1, 2, 3, 4))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.error == (
            "model plant.pump is not loaded: its memory went to plant.fan, which has a higher priority; try again"
        )
        assert (await edge.get("/v2/models/pump/ready")).status == 503
        await edge.server.activate(installed)
        assert (await edge.infer(rows(1, 2, 3, 4))).status == 200
        await edge.server.evict(installed.key, "no memory")
        await edge.server.deactivate(installed.key)
        assert (await edge.infer(rows(1, 2, 3, 4))).status == 404
