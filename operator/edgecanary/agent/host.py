"""Memory of this process, as the operating system sees it."""

import ctypes
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Makes all threads share one heap, where the C library can (glibc).

    Heaps of their own would keep what a model's thread freed: `trim_heap` cannot shorten those.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Gives freed heap pages back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def private_bytes() -> int:
    """Resident memory that is this process's own, without the libraries' file pages. 0 where unknown."""
    return _status_bytes("RssAnon")


def resident_bytes() -> int:
    """Resident memory of this process. 0 where unknown."""
    return _status_bytes("VmRSS")


def reset_peak() -> None:
    """Starts the peak anew at the present resident memory, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_resident_bytes() -> int:
    """The most resident memory this process had since `reset_peak`. 0 where unknown.

    Taken from VmHWM, since the figure of getrusage still holds the parent's memory from before exec.
    """
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    try:
        text = _STATUS.read_text()
    except OSError:
        return 0
    fields = {match[1]: int(match[2]) for match in _FIELD.finditer(text)}
    return fields.get(name, 0) * 1024
