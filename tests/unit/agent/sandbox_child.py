"""Run as a process: confines itself as a probe does, then tries what a model must not be able to do.

Prints one JSON object: the layers in force, and for each attempt the error that stopped it, or what it got.
Arguments: a readable folder, a folder to write to, the process id of somebody else.
"""

import ctypes
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edgecanary.agent.host import PeakMeter
from edgecanary.agent.sandbox.confine import confine
from edgecanary.agent.sandbox.layers import Confines

RAW_SOCKET = {"x86_64": 41, "aarch64": 198}[os.uname().machine]


def attempt(action: Callable[[], object]) -> str:
    try:
        return f"did it: {action()!s:.60}"
    except OSError as error:
        return type(error).__name__
    except Exception as error:  # noqa: BLE001 - whatever stopped it is the answer
        return f"{type(error).__name__}: {error}"


def raw_socket() -> int:
    """Past the interpreter's own functions."""
    libc = ctypes.CDLL(None, use_errno=True)
    if (handle := int(libc.syscall(RAW_SOCKET, socket.AF_INET, socket.SOCK_DGRAM, 0))) < 0:
        raise OSError(ctypes.get_errno(), "socket")
    return handle


def thread() -> str:
    ran: list[str] = []
    worker = threading.Thread(target=lambda: ran.append("ran"))
    worker.start()
    worker.join()
    return ran[0]


def main(readable: str, writable: str, other: str) -> None:
    meter = PeakMeter()
    parent = os.getppid()
    enforced = confine(Confines(2**31, 2**30, 60, (readable,), 65530, (), parent))
    meter.reset()
    victim = Path(writable) / "victim"
    attempts: dict[str, Callable[[], object]] = {
        "read the revision": lambda: Path(readable, "file").read_text(),
        "run a thread": thread,
        "measure": lambda: meter.peak_bytes() > 2**20,
        "read /etc/passwd": lambda: Path("/etc/passwd").read_text(),
        "read another process": lambda: Path(f"/proc/{other}/environ").read_bytes(),
        "list the root": lambda: os.listdir("/"),  # noqa: PTH208
        "write a file": lambda: Path(writable, "new").write_text("x"),
        "shorten a file": lambda: os.truncate(victim, 0),
        "remove a file": victim.unlink,
        "rename a file": lambda: victim.rename(Path(writable, "gone")),
        "open a socket": socket.socket,
        "open a raw socket": raw_socket,
        "open a UNIX socket": socket.socketpair,
        "fork": os.fork,
        "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "signal the agent": lambda: os.kill(parent, 0),
        "signal another process": lambda: os.kill(int(other), 0),
        "become root": lambda: os.setresuid(0, 0, 0),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)),
    }
    results = {name: attempt(action) for name, action in attempts.items()}
    names = [name.removeprefix("RLIMIT_") for name in dir(resource) if name.startswith("RLIMIT_")]
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] for name in names}
    told = {
        "layers": enforced.layers,
        "missing": enforced.missing,
        "attempts": results,
        "limits": limits,
        "users": os.getresuid(),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
