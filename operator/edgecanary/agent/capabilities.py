"""What this node has."""

import platform
from collections.abc import Iterable

from edgecanary.agent.headroom import total_bytes
from edgecanary.api.artifacts import Format
from edgecanary.api.edgenode import Capabilities

_GO_NAMES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
}


def discover(runtimes: Iterable[Format], accelerators: Iterable[str]) -> Capabilities:
    """The machine's architecture, the memory that the agent may have, and the runtimes and accelerators named."""
    machine = platform.machine().lower()
    return Capabilities(
        architecture=_GO_NAMES.get(machine, machine),
        memory_bytes=total_bytes(),
        accelerators=tuple(sorted(set(accelerators))),
        runtimes=tuple(sorted(set(runtimes))),
    )
