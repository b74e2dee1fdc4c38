"""No process of the lab outlives its session, and one that fails says why."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelab.errors import LabError, ProcessError
from edgelab.paths import ROOT
from edgelab.ports import accepts_connections, free_port
from edgelab.processes import Process, Supervisor

DEADLINE_SECONDS = 60

INNER_TEST = """
import signal, sys, time
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)

def test_waits_to_be_killed(SERVERS, processes):
    escape = "import subprocess; subprocess.run(['sleep', '600'], start_new_session=True)"
    own = processes.start("own", [sys.executable, "-c", escape])
    own.wait_ready(lambda: Path(f"/proc/{own.pid}/task/{own.pid}/children").read_text() != "")
    pids = [PIDS, own.pid]
    Path(__file__).with_suffix(".pids").write_text(" ".join(map(str, pids)) + "\\n")
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def wait_until_dead(pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


WHOLE_LAB = {"control_plane, s3": "control_plane.etcd.pid, control_plane.api_server.pid, s3.process.pid"}
A_SERVER = {"s3": "s3.process.pid"}


@pytest.fixture
def inner_pytest(processes: Supervisor, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Process]:
    """A pytest of its own that runs servers of the lab."""
    ((servers, pids),) = request.param.items()
    (tmp_path / "test_inner.py").write_text(INNER_TEST.replace("SERVERS", servers).replace("PIDS", pids))
    options = ["-p", "edgelab.fixtures", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    environment = {"PYTHONPATH": str(ROOT / "hack"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", *options, "test_inner.py"]
    inner = processes.start("inner-pytest", command, env=environment, cwd=tmp_path)
    yield inner
    inner.kill()
    for logs in (ROOT / ".logs").glob(f"*-{inner.pid}"):
        shutil.rmtree(logs)


@pytest.mark.parametrize(
    ("inner_pytest", "name", "count"),
    [(WHOLE_LAB, "SIGKILL", 5), (A_SERVER, "SIGTERM", 3), (A_SERVER, "SIGINT", 3)],
    indirect=["inner_pytest"],
    ids=["SIGKILL", "SIGTERM", "SIGINT"],
)
def test_a_pytest_that_is_killed_or_interrupted_leaves_no_process_behind(
    inner_pytest: Process, tmp_path: Path, name: str, count: int
) -> None:
    note = tmp_path / "test_inner.pids"
    inner_pytest.wait_ready(lambda: note.exists() and note.read_text().endswith("\n"), timeout=300)
    lab = [int(pid) for pid in note.read_text().split()]
    lab += children(lab[-1])
    assert len(lab) == count
    assert all(alive(pid) for pid in lab)
    os.kill(inner_pytest.pid, signal.Signals[name])
    inner_pytest.wait(timeout=DEADLINE_SECONDS)
    wait_until_dead(lab)


def test_stopping_ends_the_children_of_a_process_too(processes: Supervisor) -> None:
    parent = processes.start("parent", ["sh", "-c", "sleep 600 & sleep 600"])
    parent.wait_ready(lambda: len(children(parent.pid)) == 2)
    family = [parent.pid, *children(parent.pid)]
    parent.stop()
    wait_until_dead(family)


def test_a_process_that_ignores_the_request_to_end_is_killed(processes: Supervisor) -> None:
    stubborn = processes.start(
        "stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
    )
    stubborn.wait_ready(lambda: "\nready" in stubborn.log_tail())
    assert stubborn.stop(grace=0.2) == -signal.SIGKILL


def test_a_frozen_process_can_be_stopped_gracefully(processes: Supervisor) -> None:
    frozen = processes.start(
        "frozen", ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"]
    )
    frozen.wait_ready(lambda: "\nready" in frozen.log_tail())
    frozen.pause()
    assert frozen.running
    assert frozen.stop() == 7


def test_a_process_that_dies_early_fails_at_once_with_the_end_of_its_log(processes: Supervisor) -> None:
    dying = processes.start("dying", ["sh", "-c", "echo no such model >&2; exit 3"])
    with pytest.raises(ProcessError, match=r"dying ended with exit code 3(.|\n)*no such model"):
        dying.wait_ready(lambda: False, timeout=600)


def test_a_process_that_is_never_ready_fails_with_the_end_of_its_log(processes: Supervisor) -> None:
    slow = processes.start("slow", ["sh", "-c", "echo still thinking; sleep 600"])
    slow.wait_ready(lambda: "thinking\n" in slow.log_tail())
    with pytest.raises(ProcessError, match=r"slow was not ready within 0.1 s(.|\n)*still thinking"):
        slow.wait_ready(lambda: False, timeout=0.1)


def test_a_program_that_does_not_exist_is_named(processes: Supervisor) -> None:
    with pytest.raises(LabError, match="agent: there is no program no-such-program"):
        processes.start("agent", ["no-such-program"])


def test_a_process_sees_the_given_variables_and_no_input(processes: Supervisor) -> None:
    reader = processes.start(
        "reader", ["sh", "-c", 'echo "<$FLAVOUR>"; cat; exit 5'], env={"FLAVOUR": "salt"}
    )
    assert reader.wait(timeout=DEADLINE_SECONDS) == 5
    assert reader.log_tail().endswith("<salt>\n")


def test_nothing_is_started_when_nobody_would_clean_up(processes: Supervisor) -> None:
    first = processes.start("first", ["sleep", "600"])
    assert processes._reaper is not None
    processes._reaper.kill()
    processes._reaper.wait()
    with pytest.raises(LabError, match="the lab's reaper is gone"):
        processes.start("second", ["sleep", "600"])
    pids = [first.pid, *(process.pid for process in processes._processes)]
    processes.close()
    wait_until_dead(pids)


def test_free_ports_are_distinct_and_free() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert not any(accepts_connections(port) for port in ports)
