"""What this node has."""

import os
import platform
from collections.abc import Iterable

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
    """The machine's architecture and memory, with the runtimes and accelerators that were named."""
    machine = platform.machine().lower()
    return Capabilities(
        architecture=_GO_NAMES.get(machine, machine),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerators=tuple(sorted(set(accelerators))),
        runtimes=tuple(sorted(set(runtimes))),
    )
