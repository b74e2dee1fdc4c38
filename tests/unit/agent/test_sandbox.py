"""The sandbox of the probe: real processes under real limits of the kernel that runs the tests."""

import json
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecanary.agent.probe import SubprocessProber
from edgecanary.agent.sandbox import seccomp
from edgecanary.agent.sandbox.layers import REQUIRED, Layer, SandboxSettings, required_layers
from edgelab.paths import ROOT

ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'hack'}:{ROOT}", "PATH": os.environ["PATH"]}
ALLOWED = {"read the revision": "did it: words", "run a thread": "did it: ran", "measure": "did it: True"}


@dataclass(frozen=True)
class Told:
    """What a confined process found."""

    layers: list[str]
    missing: Mapping[str, str]
    attempts: Mapping[str, str]
    limits: Mapping[str, int]
    users: list[int]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One confined process, which tries everything."""
    readable, writable = tmp_path_factory.mktemp("readable"), tmp_path_factory.mktemp("writable")
    (readable / "file").write_text("words")
    (writable / "victim").write_text("precious")
    with subprocess.Popen(["sleep", "60"]) as other:
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.agent.sandbox_child", readable, writable, str(other.pid)],
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        other.kill()
    assert (writable / "victim").read_text() == "precious"
    assert not (writable / "new").exists()
    return Told(**json.loads(done.stdout))


def test_every_layer_is_in_force_or_says_why_not(told: Told) -> None:
    assert set(told.layers) | set(told.missing) == set(Layer)
    assert not set(told.layers) & set(told.missing)
    assert set(REQUIRED) <= set(told.layers), told.missing
    assert all(told.missing.values())


def test_what_a_model_needs_still_works(told: Told) -> None:
    assert {name: told.attempts[name] for name in ALLOWED} == ALLOWED


def test_nothing_else_works(told: Told) -> None:
    succeeded = {name for name, result in told.attempts.items() if result.startswith("did it")}
    assert succeeded == set(ALLOWED)
    errors = set(told.attempts.values()) - set(ALLOWED.values())
    assert errors <= {"PermissionError", "ValueError: not allowed to raise maximum limit"}


def test_the_limits_are_hard(told: Told) -> None:
    wanted = {"AS": 2**31, "DATA": 2**30, "CPU": 61, "FSIZE": 0, "CORE": 0, "NOFILE": 64}
    assert {name: told.limits[name] for name in wanted} == wanted
    if Layer.OWN_USER in told.layers or Layer.NETWORK_NAMESPACE in told.layers:
        assert told.limits["NPROC"] == 16


def test_an_agent_that_is_root_gives_the_probe_a_user_of_its_own(told: Told) -> None:
    if os.geteuid() == 0:
        assert Layer.OWN_USER in told.layers
        assert told.users == [65530] * 3
    else:
        assert told.missing[Layer.OWN_USER] == "the agent does not run as root"


async def test_a_survey_tells_the_layers_without_a_model(told: Told) -> None:
    found = await SubprocessProber().survey()
    assert found.layers == told.layers
    assert found.missing == told.missing


def test_the_agent_probes_and_serves_within_its_systemd_unit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.agent.confined_agent", str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True)
    confined, layers, answer = done.stdout.splitlines()
    assert (confined, json.loads(answer)) == ("confined", [3.0, 4.0, 5.0, 6.0])
    # Without capabilities root cannot change its user either.
    assert set(REQUIRED) <= set(layers.split()) <= set(Layer) - {Layer.OWN_USER}


def probe_without_landlock(folder: Path, mode: str) -> str:
    command = [sys.executable, "-m", "tests.unit.agent.probe_without_landlock", str(folder), mode]
    return subprocess.run(
        command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_a_node_that_lacks_a_required_layer_does_not_open_the_model(tmp_path: Path) -> None:
    said = probe_without_landlock(tmp_path, "required")
    assert said.startswith("SandboxMissing: the node lacks layers of the probe's sandbox that are required: ")
    assert "Files: Function not implemented" in said
    assert "--probe-sandbox best-effort" in said


def test_a_node_that_lacks_a_layer_probes_without_it_where_that_will_do(tmp_path: Path) -> None:
    said = probe_without_landlock(tmp_path, "best-effort")
    assert said.startswith("passed within ")
    assert Layer.SYSTEM_CALLS in said
    assert Layer.FILES not in said


def test_only_an_agent_that_is_root_is_asked_for_a_user_of_its_own() -> None:
    assert required_layers(SandboxSettings(), root=True) == ()
    assert required_layers(SandboxSettings(required=True), root=False) == REQUIRED
    assert required_layers(SandboxSettings(required=True), root=True) == (*REQUIRED, Layer.OWN_USER)


@dataclass(frozen=True)
class Call:
    """A system call as the filter sees it."""

    number: int
    arguments: tuple[int, ...] = ()


ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, EPERM, EACCES, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x5000D, 0x50026, 0x80000000


def verdict(machine: str, call: Call, *, architecture: int | None = None) -> int:
    """Runs the filter's instructions as the kernel does."""
    data = struct.pack("=iIQ", call.number, architecture or ARCHITECTURES[machine], 0)
    data += struct.pack("=6Q", *(*call.arguments, 0, 0, 0, 0, 0, 0)[:6])
    instructions, at, loaded = seccomp.program(machine, pid=42), 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack("=HBBI", instructions[at])
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "call", "expected"),
    [
        ("x86_64", Call(0), ALLOW),  # read
        ("aarch64", Call(63), ALLOW),
        ("x86_64", Call(41), EPERM),  # socket
        ("aarch64", Call(198), EPERM),
        ("aarch64", Call(221), EPERM),  # execve
        ("x86_64", Call(257, (0, 0, os.O_RDONLY | os.O_CLOEXEC)), ALLOW),  # openat
        ("x86_64", Call(257, (0, 0, os.O_RDWR)), EACCES),
        ("aarch64", Call(56, (0, 0, os.O_CREAT)), EACCES),
        ("aarch64", Call(220, (0x10F00,)), ALLOW),  # clone of a thread
        ("aarch64", Call(220, (0x11,)), EPERM),  # clone of a process
        ("x86_64", Call(435), ENOSYS),  # clone3
        ("x86_64", Call(62, (42, 9)), ALLOW),  # kill of itself
        ("x86_64", Call(62, (43, 9)), EPERM),
        ("x86_64", Call(62, (2**64 - 1, 9)), EPERM),
        ("aarch64", Call(261, (0,)), ALLOW),  # prlimit of itself
        ("aarch64", Call(261, (41,)), EPERM),
        ("x86_64", Call(0x40000000), ENOSYS),  # the x32 calls
    ],
)
def test_the_filter_judges_calls_on_both_architectures(machine: str, call: Call, expected: int) -> None:
    assert verdict(machine, call) == expected


def test_calls_of_another_architecture_end_the_process() -> None:
    assert verdict("x86_64", Call(0), architecture=0x40000003) == KILL


def test_this_machine_has_a_filter() -> None:
    assert platform.machine() in ARCHITECTURES
