"""Kills a lab session's processes when the session is gone, however it went.

Run as `python -m edgelab.reaper SESSION` with a pipe as standard input. Each line is `+PID` (a
process group to watch over) or `-PID` (it has ended). The kernel closes the pipe when the other
side exits, is interrupted or is killed with signal 9; then every group that is still noted is
killed, and after that every process that carries the session's mark in its environment, which
finds the children that left their group. A line `cPATH` or `dPATH` names a control group or a folder
that is removed after that, with all that is in it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARK = "EDGELAB_SESSION"
"""The environment variable that marks every process of a session."""

CONTROL_GROUP, FOLDER = "c", "d"
"""What a line says that is to be removed."""


def main() -> int:
    """Read the pipe to its end, then clean up. The exit code is 0."""
    session = sys.argv[1]
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    groups: set[int] = set()
    left: list[tuple[str, Path]] = []
    for line in sys.stdin:
        kind, rest = line[0], line[1:].rstrip("\n")
        if kind == "+":
            groups.add(int(rest))
        elif kind == "-":
            groups.discard(int(rest))
        else:
            left.append((kind, Path(rest)))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    kill_marked(session)
    for kind, path in left:
        remove(path, remove_control_group if kind == CONTROL_GROUP else remove_folder)
    return 0


def remove(path: Path, attempt: Callable[[Path], None]) -> None:
    """Try until the path is gone: processes that were killed take a moment to end."""
    for _ in range(200):
        attempt(path)
        if not path.exists():
            return
        time.sleep(0.05)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it on the same file system, as far as possible."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=False)


def remove_control_group(path: Path) -> None:
    """Kill what is in a control group, and remove it with the groups below it, as far as possible."""
    for folder, _, _ in os.walk(path, topdown=False):
        for process in _members(Path(folder)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def kill_marked(session: str) -> None:
    """Kill every process that carries the session's mark, until none is left (Linux only)."""
    for _ in range(100):
        found = marked_processes(session)
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def marked_processes(session: str) -> list[int]:
    """The living processes, other than this one, that carry the session's mark."""
    mark = f"{MARK}={session}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        process = int(entry.parent.name)
        with contextlib.suppress(OSError):
            if process != os.getpid() and mark in entry.read_bytes().split(b"\0"):
                found.append(process)
    return found


if __name__ == "__main__":
    sys.exit(main())
