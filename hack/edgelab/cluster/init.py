"""The first process of a node: it makes the node's file system and collects orphans until it is killed.

Run as `python init.py FOLDER HOSTNAME`, with nothing but the standard library, in new mount, process id,
network, host name and IPC namespaces. The node sees the machine's file system with `/run`, `/var/lib` and
`/var/log` of its own, which lie in FOLDER. When this process ends, the kernel kills everything on the node,
and its mounts and interfaces are gone.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

OWN = ("run", "var/lib", "var/log")
"""What a node has of its own, as paths below `/`."""

READY = "ready"
"""The file in FOLDER that says that the node is made."""

RESOLV_CONF = "resolv.conf"

_WANTED = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""What a kubelet sets for the whole machine. It finds these values set already, and the machine keeps its own."""


def main() -> int:
    """Make the node, and wait. It does not end by itself."""
    folder, hostname = Path(sys.argv[1]), sys.argv[2]
    socket.sethostname(hostname)
    make_file_system(folder)
    allow_forwarding()
    (folder / READY).touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    collect_orphans()
    return 0


def make_file_system(folder: Path) -> None:
    """Mount the node's own folders, and mounts that pods can take over (shared), apart from the machine's."""
    mount("--make-rshared", "/")
    for name in OWN:
        (folder / name).mkdir(parents=True, exist_ok=True)
        mount("--bind", str(folder / name), f"/{name}")
    (folder / RESOLV_CONF).write_text("options ndots:1\n")
    for name, value in _WANTED.items():
        system = Path("/proc/sys", name)
        if system.exists():
            stand_in = folder / "sysctl" / name
            stand_in.parent.mkdir(parents=True, exist_ok=True)
            stand_in.write_text(f"{value}\n")
            mount("--bind", str(stand_in), str(system))


def allow_forwarding() -> None:
    """Let the node pass packets on between its pods and the others; this is the namespace's own setting."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def mount(*arguments: str) -> None:
    """Run the program of that name."""
    subprocess.run(["mount", *arguments], check=True, stdin=subprocess.DEVNULL)


def collect_orphans() -> None:
    """Wait for children that others left behind, for ever."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
