"""Landlock: from here on this process reads only what is named, and writes nothing.

A kernel from 5.13 on has it unless its `lsm=` leaves it out; later ones also refuse TCP (6.7) and signals
to others (6.12).
"""

import ctypes
import os
import stat
from collections.abc import Iterable

from edgecanary.agent.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files that a version knows, from the version on in which they came."""
_NET_RIGHTS = 0b11  # bind and connect of TCP, since version 4
_SCOPES = 0b11  # abstract UNIX sockets and signals, since version 6
_NET_VERSION, _SCOPE_VERSION = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock. Raises OSError when it has none."""
    return kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))


def restrict(readable: Iterable[str]) -> None:
    """Leaves this thread, and all that it starts, nothing but reading these files and folders.

    Paths that do not exist are passed over. Raises OSError when the kernel has no Landlock.
    """
    known = version()
    rights = max(mask for since, mask in _RIGHTS_BY_VERSION.items() if since <= known)
    wanted = _Ruleset(
        rights, _NET_RIGHTS if known >= _NET_VERSION else 0, _SCOPES if known >= _SCOPE_VERSION else 0
    )
    size = 8 if known < _NET_VERSION else 16 if known < _SCOPE_VERSION else 24
    ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path)
        kernel.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rule = _PathBeneath(_READ_FILE | _READ_DIR if folder else _READ_FILE, place)
        kernel.syscall(
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(place)
