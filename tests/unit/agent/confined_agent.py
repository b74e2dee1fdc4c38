"""Run as a process: probes and serves a model with what the systemd unit takes from the agent taken away.

No capabilities, no way to gain any, and no memory that is both writable and executable. Prints the probe's
layers and what the served model answers. Argument: a folder to work in.
"""

import asyncio
import ctypes
import errno
import mmap
import os
import struct
import sys
from pathlib import Path

from edgecanary.agent.probe import ProbeLimits, SubprocessProber
from edgecanary.agent.sandbox import kernel
from edgecanary.agent.sandbox.layers import SandboxSettings
from tests.unit.agent.modelmaking import adding_model, install, row_io
from tests.unit.agent.serving.harness import output_data, rows, running_node

MMAP, MPROTECT = {"x86_64": (9, 10), "aarch64": (222, 226)}[os.uname().machine]
WRITE_AND_EXECUTE = mmap.PROT_WRITE | mmap.PROT_EXEC
PROTECTION = 16 + 8 * 2


def deny_write_and_execute() -> None:
    """As MemoryDenyWriteExecute does: a filter over the protection that mmap and mprotect ask for."""
    load, equal, and_, give = 0x20, 0x15, 0x54, 0x06
    instructions = (
        struct.pack("=HBBI", load, 0, 0, 0),
        struct.pack("=HBBI", equal, 1, 0, MMAP),
        struct.pack("=HBBI", equal, 0, 4, MPROTECT),
        struct.pack("=HBBI", load, 0, 0, PROTECTION),
        struct.pack("=HBBI", and_, 0, 0, WRITE_AND_EXECUTE),
        struct.pack("=HBBI", equal, 0, 1, WRITE_AND_EXECUTE),
        struct.pack("=HBBI", give, 0, 0, 0x00050000 | errno.EPERM),
        struct.pack("=HBBI", give, 0, 0, 0x7FFF0000),
    )
    code = ctypes.create_string_buffer(b"".join(instructions))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.byref(header))


async def main(folder: Path) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.set_capabilities()
    deny_write_and_execute()
    try:
        mmap.mmap(-1, 4096, prot=WRITE_AND_EXECUTE)
    except PermissionError:
        print("confined")
    installed = install(folder, adding_model(2), row_io())
    settings = SandboxSettings(required=os.geteuid() != 0)
    report = await SubprocessProber(ProbeLimits(sandbox=settings)).probe(installed)
    print(*sorted(report.sandbox))
    async with running_node() as node:
        await node.server.activate(installed)
        print(output_data(await node.infer(rows(1, 2, 3, 4))))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
