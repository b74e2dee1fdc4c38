"""Free TCP ports on the loopback interface."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

_LOWEST, _HIGHEST = 20_000, 32_000
_claims: dict[int, IO[str]] = {}


def free_port() -> int:
    """A loopback port that nobody listens on, claimed for the life of this process.

    Ports lie below the range the kernel hands out to outgoing connections, and a locked file
    keeps a second test run from choosing the same one before it is bound.

    Raises:
        OSError: no free port was found.
    """
    folder = Path(tempfile.gettempdir()) / f"edgelab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(range(_LOWEST, _HIGHEST), k=1_000):
        if port not in _claims and _claim(folder / str(port), port):
            return port
    raise OSError(f"no free loopback port between {_LOWEST} and {_HIGHEST}")


def release_port(port: int) -> None:
    """Give a claimed port back; harmless when it was not claimed."""
    if claim := _claims.pop(port, None):
        claim.close()


def accepts_connections(port: int) -> bool:
    """Whether something listens on the loopback port now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _claim(path: Path, port: int) -> bool:
    claim = path.open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _claims[port] = claim
    return True
