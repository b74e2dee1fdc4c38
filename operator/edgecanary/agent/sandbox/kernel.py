"""Calls to the kernel that the standard library does not have. Linux only."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CLONE_THREAD = 0x00010000

CAP_DAC_READ_SEARCH = 2
CAP_SETGID = 6
CAP_SETUID = 7
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number. Raises OSError; arguments are ctypes values or None."""
    function = _LIBC.syscall
    function.restype = ctypes.c_long
    result = int(function(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, first: object = 0, second: object = 0) -> None:
    """Sets an attribute of this process. Raises OSError."""
    words = [_word(first), _word(second), ctypes.c_ulong(0), ctypes.c_ulong(0)]
    if _LIBC.prctl(ctypes.c_int(option), *words) != 0:
        raise _last_error()


def unshare(flags: int) -> None:
    """Moves this process into namespaces of its own. Raises OSError."""
    if _LIBC.unshare(ctypes.c_int(flags)) != 0:
        raise _last_error()


def set_capabilities(*kept: int) -> None:
    """Gives up all capabilities but those that are named, by their numbers below 32. Raises OSError."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    low = sum(1 << number for number in kept)
    sets = (_CapabilitySet * 2)(_CapabilitySet(low, low, 0), _CapabilitySet(0, 0, 0))
    if _LIBC.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise _last_error()


def permitted(capability: int) -> bool:
    """Whether this process may have the capability, by its number below 32. Raises OSError."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySet * 2)()
    if _LIBC.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise _last_error()
    return bool(sets[0].permitted & 1 << capability)


def _word(value: object) -> object:
    return ctypes.c_ulong(value) if isinstance(value, int) else value


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
