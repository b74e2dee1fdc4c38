"""Run as a process: probes a model where the kernel refuses Landlock, and prints what came of it.

Arguments: a folder to work in, and `required` or `best-effort`.
"""

import asyncio
import ctypes
import errno
import struct
import sys
from pathlib import Path

from edgecanary.agent.ports import ProbeImpossible
from edgecanary.agent.probe import ProbeLimits, SubprocessProber
from edgecanary.agent.sandbox import kernel
from edgecanary.agent.sandbox.layers import SandboxSettings
from tests.unit.agent.modelmaking import adding_model, install, row_io

LANDLOCK_CREATE_RULESET = 444


def take_landlock_away() -> None:
    """A filter that answers as a kernel without Landlock does; children inherit it."""
    instructions = (
        struct.pack("=HBBI", 0x20, 0, 0, 0),
        struct.pack("=HBBI", 0x15, 0, 1, LANDLOCK_CREATE_RULESET),
        struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | errno.ENOSYS),
        struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000),
    )
    code = ctypes.create_string_buffer(b"".join(instructions))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.byref(header))


async def main(folder: str, mode: str) -> None:
    take_landlock_away()
    Path(folder).chmod(0o755)
    prober = SubprocessProber(ProbeLimits(sandbox=SandboxSettings(required=mode == "required")))
    try:
        report = await prober.probe(install(Path(folder), adding_model(2), row_io()))
    except ProbeImpossible as error:
        print(f"{error.reason}: {error}")
        return
    print(f"passed within {', '.join(report.sandbox)}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
