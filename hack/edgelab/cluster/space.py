"""The namespaces of the control plane and of the nodes, held by one process each."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelab.cluster import init
from edgelab.errors import LabError
from edgelab.processes import Process, Supervisor

_READY_SECONDS = 60.0
_COMMAND_SECONDS = 900.0


@dataclass(frozen=True)
class Space:
    """Namespaces that live as long as their holder.

    Attributes:
        name: what it is called.
        pid: of a process in it, as this process sees it.
        kinds: flags of nsenter(1) that enter all of it.
    """

    name: str
    pid: int
    kinds: tuple[str, ...]

    @property
    def enter(self) -> tuple[str, ...]:
        """Words before a program's own that run it there."""
        return ("nsenter", f"--target={self.pid}", *self.kinds, "--")

    @property
    def network(self) -> Path:
        """The file that stands for its network."""
        return Path(f"/proc/{self.pid}/ns/net")

    def run(self, *command: str | Path) -> str:
        """Run a command there to its end; its standard output.

        Raises:
            LabError: its exit code was not 0, or it took longer than 15 minutes.
        """
        words = [*self.enter, *(str(word) for word in command)]
        try:
            result = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"{self.name}: `{' '.join(words)}` took longer than {error.timeout:g} s"
            ) from error
        if result.returncode != 0:
            raise LabError(
                f"{self.name}: `{' '.join(words)}` ended with exit code {result.returncode}: {result.stderr.strip()}"
            )
        return result.stdout


def network_space(supervisor: Supervisor, name: str) -> Space:
    """A network of its own.

    Raises:
        ProcessError: the machine does not allow it.
    """
    holder = supervisor.start(name, ["unshare", "--net", "sleep", "infinity"])
    holder.wait_ready(lambda: _is_apart(holder.pid), timeout=_READY_SECONDS)
    return Space(name, holder.pid, ("--net",))


def node_space(supervisor: Supervisor, name: str, folder: Path) -> Space:
    """A node's namespaces with its own file system in `folder`.

    Raises:
        ProcessError: the machine does not allow it.
    """
    folder.mkdir(parents=True)
    namespaces = ("--mount", "--uts", "--net", "--ipc", "--pid")
    command: list[str | Path] = [
        "unshare",
        *namespaces,
        "--fork",
        "--kill-child",
        "--propagation=private",
        "--mount-proc",
    ]
    holder = supervisor.start(name, [*command, "--", sys.executable, init.__file__, folder, name])
    holder.wait_ready((folder / init.READY).exists, timeout=_READY_SECONDS)
    return Space(name, _first_child(holder), namespaces)


def _is_apart(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    except OSError:
        return False


def _first_child(holder: Process) -> int:
    children: Sequence[str] = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    if len(children) != 1:
        raise LabError(f"{holder.name}: one child was expected, found {len(children)}")
    return int(children[0])
