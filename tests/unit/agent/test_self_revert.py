"""A real agent that nobody can reach: models that hang and models that kill it, alone and two at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import EdgeNodeStatus, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease, RevisionStatement
from edgecanary.api.policy import DeviceHealth
from edgelab.ports import free_port
from tests.unit.agent.modelmaking import adding_model, stubborn_model
from tests.unit.agent.releasing import KEY, Releases, everywhere, statement
from tests.unit.fileserver import FileServer, file_server

ROOT = Path(__file__).parents[3]
SECONDS = 60.0
T = TypeVar("T")


def until(find: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if (found := find()) is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


@dataclass
class Machine:
    """One node's disk and port, and the agent on it."""

    folder: Path
    port: int = field(default_factory=free_port)
    agent: subprocess.Popen[bytes] | None = None

    def start(self, *releases: ModelRelease, deadly: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        said = [release.model_dump(mode="json", by_alias=True) for release in releases]
        (self.folder / "releases.json").write_text(json.dumps(said))
        (self.folder / "status.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.unit.agent.service_child", str(self.folder), str(self.port)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}:{ROOT / 'hack'}"}
        self.agent = subprocess.Popen([*command, *deadly], cwd=ROOT, env=environment)
        return self.agent

    def stop(self) -> int:
        assert self.agent is not None
        self.agent.terminate()
        return self.agent.wait(SECONDS)

    def kill(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait(SECONDS)

    def dies(self, release: ModelRelease, revision: str) -> None:
        """Runs an agent until the load of the revision kills it."""
        assert self.start(release, deadly=(revision,)).wait(SECONDS) == -signal.SIGKILL

    def infer(self, number: float, model: str = "pump") -> dict[str, object] | None:
        """The answer to a row of one number; None when there is none."""
        row = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [number] * 4}]
        url = f"http://127.0.0.1:{self.port}/v2/models/{model}/infer"
        request = urllib.request.Request(url, data=json.dumps({"inputs": row}).encode())
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return dict(json.load(answer))
        except (urllib.error.HTTPError, OSError):
            return None

    def answers_with(self, model: str = "pump") -> object:
        answer = self.infer(0.0, model)
        return answer and answer["model_version"]

    def serves(self, stated: RevisionStatement, model: str = "pump") -> None:
        until(lambda: self.answers_with(model) == stated.revision or None, f"an answer of {stated.version}")

    def reports(self, state: str, reason: str, name: str = "pump") -> NodeModelStatus:
        def look() -> NodeModelStatus | None:
            path = self.folder / "status.json"
            if not path.exists():
                return None
            models = EdgeNodeStatus.model_validate_json(path.read_text()).models
            found = [model for model in models if model.name == name]
            return found[0] if found and (found[0].state, found[0].reason) == (state, reason) else None

        return until(look, f"{name} {state} ({reason})")

    def record(self, key: ModelKey = KEY) -> Record:
        return Store(self.folder / "data").load(key)

    @property
    def boots(self) -> list[str]:
        return (self.folder / "boots").read_text().split()


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    yield found
    if found.agent is not None and found.agent.poll() is None:
        found.kill()


def stated(version: str, model: bytes, files: FileServer) -> RevisionStatement:
    return statement(version, publish=files.put, files={"model.onnx": model})


def test_a_runtime_that_hangs_is_left_behind_and_the_process_replaces_itself(
    machine: Machine, files: FileServer
) -> None:
    a, b = stated("1.0.0", adding_model(1), files), stated("2.0.0", stubborn_model(), files)
    health = DeviceHealth(soak_seconds=600)
    machine.start(Releases(health=DeviceHealth(soak_seconds=0)).next(stable=a))
    machine.reports("Active", "Active")
    assert machine.stop() == 0
    agent = machine.start(Releases(sequence=1, health=health).next(stable=a, canary=everywhere(b)))
    machine.serves(b)

    assert machine.infer(1_000_000) is None
    machine.serves(a)
    report = machine.reports("Reverted", "RuntimeHung")
    until(lambda: machine.boots[1:] == [str(agent.pid)] * 2 or None, "a new program in the same process")
    machine.serves(a)

    assert report.rejected == (b.revision,)
    assert report.active == a.revision
    assert machine.stop() == 0
    assert machine.record().rejected[0].revision == b.revision


def test_a_load_that_hangs_is_given_up_and_the_process_replaces_itself_while_the_old_one_serves(
    machine: Machine, files: FileServer
) -> None:
    a, b = stated("1.0.0", adding_model(1), files), stated("2.0.0", adding_model(2), files)
    releases = Releases(health=DeviceHealth(soak_seconds=0))
    machine.start(releases.next(stable=a))
    machine.reports("Active", "Active")
    assert machine.stop() == 0
    release = releases.next(stable=a, canary=everywhere(b))
    agent = machine.start(release, deadly=(f"hangs={b.revision}",))
    machine.serves(a)
    report = machine.reports("Reverted", "ModelLoadFailed")
    assert "loading took more than 10 s" in report.message
    assert (report.active, report.rejected) == (a.revision, (b.revision,))
    assert machine.answers_with() == a.revision, "though a thread hangs"
    until(lambda: machine.boots[1:] == [str(agent.pid)] * 2 or None, "a new program in the same process")

    machine.serves(a)
    assert machine.reports("Reverted", "ModelLoadFailed").active == a.revision
    assert machine.stop() == 0
    assert machine.record().crashes == 0


def test_a_node_that_is_told_to_stop_while_a_runtime_hangs_stops(machine: Machine, files: FileServer) -> None:
    a = stated("1.0.0", stubborn_model(), files)
    machine.start(Releases(health=DeviceHealth(soak_seconds=0)).next(stable=a))
    machine.serves(a)
    hanging = threading.Thread(target=machine.infer, args=(1_000_000,))
    hanging.start()
    machine.reports("Active", "Active")
    time.sleep(0.3)

    assert machine.stop() == 0
    hanging.join()
    assert machine.record().crashes == 0


def committed(machine: Machine, files: FileServer, *, max_crashes: int) -> tuple[ModelRelease, str, str]:
    """A node on which one revision and then another became active; the release of the other."""
    a, b = stated("1.0.0", adding_model(1), files), stated("2.0.0", adding_model(2), files)
    releases = Releases(health=DeviceHealth(soak_seconds=0, max_crashes=max_crashes))
    machine.start(releases.next(stable=a))
    machine.reports("Active", "Active")
    assert machine.stop() == 0
    release = releases.next(stable=b)
    machine.start(release)
    until(lambda: machine.reports("Active", "Active").active == b.revision or None, "2.0.0 to be active")
    assert machine.stop() == 0
    return release, a.revision, b.revision


def test_a_committed_revision_that_kills_the_process_at_every_boot_gives_way_and_then_both_are_told(
    machine: Machine, files: FileServer
) -> None:
    release, a, b = committed(machine, files, max_crashes=1)
    for crashes in range(2):
        machine.dies(release, b)
        assert machine.record().crashes == crashes, "counted before the next load"

    machine.start(release, deadly=(b,))
    report = machine.reports("Reverted", "TooManyCrashes")
    assert "died 2 times while the revision was loaded or ran" in report.message
    assert (report.active, report.rejected) == (a, (b,))
    assert machine.answers_with() == a
    machine.kill()

    for _ in range(2):
        machine.dies(release, a)
    agent = machine.start(release, deadly=(a, b))
    report = machine.reports("Reverted", "BothFailed")

    assert agent.poll() is None, "what kills the process is not loaded at once again"
    assert (report.active, report.desired, report.rejected) == (a, b, (b,))
    assert "it fails too and goes on being served: the agent died 2 times" in report.message


def test_a_process_that_dies_of_one_of_two_models_on_trial_blames_that_one_alone(
    machine: Machine, files: FileServer
) -> None:
    pump, fan = stated("1.0.0", stubborn_model(), files), stated("2.0.0", adding_model(2), files)
    health = DeviceHealth(soak_seconds=600, max_crashes=0)
    first = Releases(health=health).next(stable=pump)
    second = Releases(name="fan", uid="uid-2", health=health).next(stable=fan)
    second = second.model_copy(update={"spec": second.spec.model_copy(update={"model": "fan"})})
    machine.start(first, second)
    machine.serves(pump)
    machine.serves(fan, "fan")
    running = threading.Thread(target=machine.infer, args=(1_000_000,))
    running.start()
    time.sleep(0.3)
    machine.kill()
    running.join()

    machine.start(first, second)
    machine.reports("Reverted", "TooManyCrashes")
    machine.serves(fan, "fan")
    assert machine.stop() == 0
    target = machine.record(ModelKey("plant", "fan")).target
    assert target is not None
    assert target.crashes == 0
