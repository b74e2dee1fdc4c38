"""Memory of this process, as the operating system sees it."""

import ctypes
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


_M_ARENA_MAX = -8
_MADV_DONTNEED = 4
_CODE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [1-9]\d* +\S+\.so[.\d]*$", re.MULTILINE)


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


def unmap_idle_code() -> None:
    """Unmaps the code of shared libraries; what is still used is mapped again at its next use.

    Loading a model runs through most of a runtime's code and answering through little of it, and the kernel
    maps neighbouring pages on top. The pages stay in the kernel's file cache, so coming back costs a few
    milliseconds once and no disk. Only read-only code backed by a file is touched: it cannot hold changes.
    """
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return
    if advise is None:
        return
    for start, end in ((int(a, 16), int(b, 16)) for a, b in _CODE.findall(maps)):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def rest() -> None:
    """Gives back what an idle process does not need: freed heap pages and code that only loading used."""
    trim_heap()
    unmap_idle_code()


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
