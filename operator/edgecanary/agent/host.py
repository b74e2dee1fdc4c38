"""Memory of this process, as the operating system sees it."""

import contextlib
import ctypes
import logging
import os
import re
import threading
from pathlib import Path

log = logging.getLogger(__name__)

_STATUS = Path("/proc/self/status")
_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


_TIMEX_BYTES = 512
"""More than struct timex has on any machine; all zeros ask and change nothing."""
_TIME_ERROR = 5
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


def lower_priority(niceness: int) -> None:
    """Makes the calling thread give way to others, for good, where the system can do that for a thread (Linux)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    except OSError as error:
        log.debug("the thread keeps its priority: %s", error)


def clock_is_synchronised() -> bool:
    """Whether the kernel says that something, such as NTP, keeps the clock right. False where unknown."""
    adjust = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjust is None:
        return False
    state = int(adjust(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return 0 <= state < _TIME_ERROR


def private_bytes() -> int:
    """Resident memory that is this process's own, without the libraries' file pages. 0 where unknown."""
    return _status_bytes("RssAnon")


class PeakMeter:
    """The most memory that this process takes, read through files that are opened once, at its beginning.

    So it goes on working when the process may no longer open them. Where the kernel does not tell, 0 is read.
    """

    def __init__(self) -> None:
        self._status = _open("/proc/self/status", os.O_RDONLY)
        self._clear = _open("/proc/self/clear_refs", os.O_WRONLY)

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return self._read("VmRSS")

    def reset(self) -> None:
        """Starts the peak anew at the present resident memory, where the kernel allows it."""
        if self._clear is not None:
            with contextlib.suppress(OSError):
                os.write(self._clear, b"5")

    def peak_bytes(self) -> int:
        """The most resident memory since `reset`.

        Taken from VmHWM, since the figure of getrusage still holds the parent's memory from before exec.
        """
        return self._read("VmHWM")

    def _read(self, name: str) -> int:
        if self._status is None:
            return 0
        try:
            text = os.pread(self._status, 64 * 1024, 0).decode("ascii", "replace")
        except OSError:
            return 0
        return _field_bytes(text, name)


def _open(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None


def _status_bytes(name: str) -> int:
    try:
        text = _STATUS.read_text()
    except OSError:
        return 0
    return _field_bytes(text, name)


def _field_bytes(text: str, name: str) -> int:
    fields = {match[1]: int(match[2]) for match in _FIELD.finditer(text)}
    return fields.get(name, 0) * 1024
