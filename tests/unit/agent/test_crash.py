"""A real agent is killed at every transition that it records, started again, and ends as the table says."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecanary.agent.machine import State
from edgecanary.agent.record import Record
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import EdgeNodeStatus, ModelResult, ModelState, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.api.policy import DeviceHealth
from tests.unit.agent.modelmaking import adding_model
from tests.unit.agent.nodeplay import link_of
from tests.unit.agent.releasing import KEY, Releases, everywhere, statement
from tests.unit.fileserver import FileServer, file_server

ROOT = Path(__file__).parents[3]
SECONDS = 60.0


@dataclass(frozen=True)
class Lab:
    """Two good revisions and one that does not load, and a data directory on which the first is active."""

    a: RevisionStatement
    b: RevisionStatement
    broken: RevisionStatement
    a_active: Path
    b_active: Path


@dataclass
class Machine:
    """One node's disk, and the agent processes that come and go on it."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, release: ModelRelease, moment: str = "") -> subprocess.Popen[bytes]:
        (self.folder / "release.json").write_text(release.model_dump_json(by_alias=True))
        (self.folder / "status.json").unlink(missing_ok=True)
        files = [str(self.folder / name) for name in ("data", "release.json", "status.json")]
        command = [
            sys.executable,
            "-m",
            "tests.unit.agent.crash_child",
            *files,
            *([moment] if moment else []),
        ]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"}
        return subprocess.Popen(command, cwd=ROOT, env=environment)

    def dies(self, release: ModelRelease, moment: str) -> None:
        """Runs an agent until it kills itself at the moment."""
        with self.start(release, moment) as agent:
            try:
                assert agent.wait(SECONDS) == -signal.SIGKILL
            finally:
                agent.kill()

    def ends(self, release: ModelRelease, state: ModelState, active: str | None) -> NodeModelStatus:
        """Runs an agent until it reports the state, then stops it in order."""
        with self.start(release) as agent:
            try:
                found = self._await_report(agent, state, active)
            finally:
                agent.terminate()
            assert agent.wait(SECONDS) == 0
        return found

    def _await_report(
        self, agent: subprocess.Popen[bytes], state: ModelState, active: str | None
    ) -> NodeModelStatus:
        deadline = time.monotonic() + SECONDS
        last = "no report"
        while time.monotonic() < deadline and agent.poll() is None:
            if (self.folder / "status.json").exists():
                last = (self.folder / "status.json").read_text()
                models = EdgeNodeStatus.model_validate_json(last).models
                if models and (models[0].state, models[0].active) == (state, active):
                    return models[0]
            time.sleep(0.02)
        raise AssertionError(f"the agent never reported {state} with {active}; its last report: {last}")

    def record(self) -> Record:
        return Store(self.data).load(KEY)


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture(scope="module")
def lab(files: FileServer, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    a, b = (
        statement(f"{number}.0.0", publish=files.put, files={"model.onnx": adding_model(float(number))})
        for number in (1, 2)
    )
    broken = statement("3.0.0", publish=files.put, files={"model.onnx": b"no model"})
    machine = Machine(tmp_path_factory.mktemp("lab"))
    machine.ends(Releases().next(stable=a), ModelState.ACTIVE, a.revision)
    a_active = machine.folder / "a-active"
    shutil.copytree(machine.data, a_active, symlinks=True)
    machine.ends(Releases(sequence=1).next(stable=b), ModelState.ACTIVE, b.revision)
    return Lab(a, b, broken, a_active, machine.data)


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> Machine:
    shutil.copytree(lab.a_active, tmp_path / "data", symlinks=True)
    return Machine(tmp_path)


def canary(lab: Lab, revision: RevisionStatement, *, max_crashes: int) -> ModelRelease:
    health = DeviceHealth(soak_seconds=0, max_crashes=max_crashes)
    return Releases(sequence=10, health=health).next(stable=lab.a, canary=everywhere(revision))


UPDATE = [
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
BLAMED = {State.PROBE, State.SWITCH, State.HEALTH}
"""A death found in one of these states is the revision's fault."""

MOMENTS = [
    *((state, "after", state) for state in UPDATE),
    *((after, "before", before) for before, after in zip([State.SETTLED, *UPDATE], UPDATE, strict=False)),
]


@pytest.mark.parametrize(("state", "moment", "found"), MOMENTS)
def test_a_kill_during_an_update_where_no_crash_is_tolerated(
    lab: Lab, machine: Machine, state: State, moment: str, found: State
) -> None:
    release = canary(lab, lab.b, max_crashes=0)
    machine.dies(release, f"{state}:{moment}")
    assert machine.record().state is found

    if found in BLAMED:
        report = machine.ends(release, ModelState.REVERTED, lab.a.revision)
        assert (report.result, report.reason) == (ModelResult.HEALTH_FAILED, "TooManyCrashes")
        assert report.rejected == (lab.b.revision,)
        assert link_of(Store(machine.data).files_of(KEY)) == lab.a.revision
    else:
        report = machine.ends(release, ModelState.ACTIVE, lab.b.revision)
        assert report.previous == lab.a.revision
        assert link_of(Store(machine.data).files_of(KEY)) == lab.b.revision
    home = Store(machine.data).files_of(KEY)
    home.check(lab.a.revision)
    assert list(home.incoming.iterdir()) == []


@pytest.mark.parametrize("state", sorted(BLAMED))
def test_a_tolerated_kill_on_trial_costs_only_time(lab: Lab, machine: Machine, state: State) -> None:
    release = canary(lab, lab.b, max_crashes=1)
    machine.dies(release, f"{state}:after")

    machine.ends(release, ModelState.ACTIVE, lab.b.revision)


def test_a_revision_that_kills_its_process_every_time_is_given_up_without_being_loaded_once_more(
    lab: Lab, machine: Machine
) -> None:
    release = canary(lab, lab.b, max_crashes=2)
    for crashes in range(3):
        machine.dies(release, "Health:after")
        target = machine.record().target
        assert target is not None
        assert target.crashes == crashes

    report = machine.ends(release, ModelState.REVERTED, lab.a.revision)

    assert "died 3 times while the revision was on trial" in report.message


@pytest.mark.parametrize(
    ("state", "moment"), [("Rollback", "before"), ("Rollback", "after"), ("Settled", "before")]
)
def test_a_kill_during_a_rollback_ends_rolled_back(
    lab: Lab, machine: Machine, state: str, moment: str
) -> None:
    release = canary(lab, lab.broken, max_crashes=5)
    machine.dies(release, f"{state}:{moment}")
    report = machine.ends(release, ModelState.REVERTED, lab.a.revision)

    assert (report.result, report.reason) == (ModelResult.PROBE_FAILED, "LoadFailed")
    assert report.rejected == (lab.broken.revision,)


@pytest.mark.parametrize(
    ("state", "moment"),
    [
        ("Switch", "before"),
        ("Switch", "after"),
        ("Commit", "before"),
        ("Commit", "after"),
        ("Settled", "before"),
    ],
)
def test_a_kill_on_the_way_back_to_the_previous_revision_still_gets_there(
    lab: Lab, tmp_path: Path, state: str, moment: str
) -> None:
    shutil.copytree(lab.b_active, tmp_path / "data", symlinks=True)
    machine, release = Machine(tmp_path), Releases(sequence=20).next(stable=lab.a)
    machine.dies(release, f"{state}:{moment}")
    report = machine.ends(release, ModelState.ACTIVE, lab.a.revision)

    assert report.previous == lab.b.revision
    assert report.rejected == ()


@pytest.mark.parametrize(
    ("state", "moment"), [("Withdraw", "before"), ("Withdraw", "after"), ("Settled", "before")]
)
def test_a_kill_during_a_withdrawal_ends_with_nothing_served(
    lab: Lab, machine: Machine, state: str, moment: str
) -> None:
    release = Releases(sequence=10).next()
    machine.dies(release, f"{state}:{moment}")
    machine.ends(release, ModelState.WITHDRAWN, None)

    assert link_of(Store(machine.data).files_of(KEY)) is None


def test_a_restart_in_order_is_no_crash(lab: Lab, machine: Machine) -> None:
    release = canary(lab, lab.b, max_crashes=0)
    long = replace_soak(release, 600)
    with machine.start(long) as agent:
        deadline = time.monotonic() + SECONDS
        while machine.record().state is not State.HEALTH and time.monotonic() < deadline:
            time.sleep(0.02)
        agent.terminate()
        assert agent.wait(SECONDS) == 0
    assert machine.record().state is State.HEALTH

    report = machine.ends(release, ModelState.ACTIVE, lab.b.revision)

    assert report.rejected == ()


def replace_soak(release: ModelRelease, seconds: int) -> ModelRelease:
    health = release.spec.health.model_copy(update={"soak_seconds": seconds})
    return release.model_copy(update={"spec": release.spec.model_copy(update={"health": health})})
