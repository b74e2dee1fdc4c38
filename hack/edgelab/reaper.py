"""Kills a lab session's processes when the session is gone, however it went.

Run as `python -m edgelab.reaper SESSION` with a pipe as standard input. Each line is `+PID` (a
process group to watch over) or `-PID` (it has ended). The kernel closes the pipe when the other
side exits, is interrupted or is killed with signal 9; then every group that is still noted is
killed, and after that every process that carries the session's mark in its environment, which
finds the children that left their group.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

MARK = "EDGELAB_SESSION"
"""The environment variable that marks every process of a session."""


def main() -> int:
    """Read the pipe to its end, then clean up. The exit code is 0."""
    session = sys.argv[1]
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        if line[0] == "+":
            groups.add(number)
        else:
            groups.discard(number)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    kill_marked(session)
    return 0


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
