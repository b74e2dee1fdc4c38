"""What a cluster leaves on the machine when its owner ends, or is killed: nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgelab.fleet import wait_for
from edgelab.paths import ROOT

SECONDS = 300.0
MACHINE_SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")


def processes() -> dict[int, str]:
    """Every process with its command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def programs_of(folder: Path) -> list[str]:
    """Command lines that name the cluster's folder: every program of the cluster has its settings there."""
    return [line for line in processes().values() if str(folder) in line]


def control_groups(owner: int) -> list[Path]:
    """The control groups that the owner made."""
    return list(Path("/sys/fs/cgroup").rglob(f"edgelab-{owner}-*"))


def machine() -> dict[str, str]:
    """What a cluster could have changed of the machine."""
    interfaces = sorted(path.name for path in Path("/sys/class/net").iterdir())
    mounts = len(Path("/proc/self/mounts").read_text().splitlines())
    settings = {name: Path("/proc/sys", name).read_text() for name in MACHINE_SETTINGS}
    return {"interfaces": " ".join(interfaces), "mounts": str(mounts), **settings}


def kill(owner: subprocess.Popen[str]) -> None:
    owner.send_signal(signal.SIGKILL)


def interrupt(owner: subprocess.Popen[str]) -> None:
    owner.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [kill, interrupt])
def test_nothing_is_left_when_the_owner_ends(
    end: Callable[[subprocess.Popen[str]], None], tmp_path: Path
) -> None:
    before = machine()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/operator:{ROOT}/hack"}
    command = [
        sys.executable,
        "-m",
        "edgelab.cluster",
        "--nodes=1",
        "--bare",
        f"--folder={tmp_path / 'cluster'}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline().startswith("export KUBECONFIG=")
        assert programs_of(tmp_path)
        assert control_groups(owner.pid)
        end(owner)
        owner.wait(SECONDS)
    wait_for("its programs are gone", lambda: not programs_of(tmp_path), seconds=SECONDS)
    wait_for("its control groups are gone", lambda: not control_groups(owner.pid), seconds=SECONDS)
    wait_for("its folder is gone", lambda: not (tmp_path / "cluster").exists(), seconds=SECONDS)
    assert machine() == before
