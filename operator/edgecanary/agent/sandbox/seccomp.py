"""Seccomp: from here on the kernel refuses this process what a model has no use for.

A list of what is refused, not of what is allowed: interpreters, C libraries and runtimes call what they
like, and a probe that fails on some kernel for want of a harmless call would refuse good models.
"""

import ctypes
import errno
import os
import platform
import struct

from edgecanary.agent.sandbox import kernel

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_SET_MODE_FILTER = 1
_ALL_THREADS = 1

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # network
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # new processes and places
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    # priorities
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    # the kernel's wider surface
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # the clock, the host's name, old hardware
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    # files by handle, watches
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    # memory that outlives the process or counts for nobody
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # changes of the file system
    "creat": (85, None),
    "truncate": (76, 45),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # changes of a file's metadata
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "fsetxattr": (190, 7),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "fremovexattr": (199, 16),
    "lremovexattr": (198, 15),
    "utime": (132, None),
    "utimes": (235, None),
    "utimensat": (280, 88),
    "futimesat": (261, None),
}
"""System calls by their numbers on x86_64 and aarch64; None where there is no such call."""

_CLOSER: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
}
"""Calls that are allowed or refused by what they ask for."""


def install() -> None:
    """Puts the filter into force for this process. Raises OSError.

    Needs no privilege once the process has given up gaining any (PR_SET_NO_NEW_PRIVS).
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURE:
        raise OSError(errno.ENOSYS, f"there is no list of system calls for {machine}")
    instructions = program(machine, os.getpid())
    code = ctypes.create_string_buffer(b"".join(instructions))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(code)))
    kernel.syscall(
        _SECCOMP[machine],
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_ALL_THREADS),
        ctypes.byref(header),
    )


def program(machine: str, pid: int) -> list[bytes]:
    """The filter for a process, one BPF instruction of 8 bytes each."""
    column = 0 if machine == "x86_64" else 1
    own = [*_when(_EQUAL, pid, _ALLOW), _return(_refusal(errno.EPERM))]
    closer = {
        "open": _open_rule(1),
        "openat": _open_rule(2),
        "openat2": [_return(_refusal(errno.ENOSYS))],
        "clone": [
            _argument(0),
            *_when(_ANY_BIT, kernel.CLONE_THREAD, _ALLOW),
            _return(_refusal(errno.EPERM)),
        ],
        # Its flags lie in memory; C libraries then take `clone`.
        "clone3": [_return(_refusal(errno.ENOSYS))],
        "kill": [_argument(0), *own],
        "tgkill": [_argument(0), *own],
        "prlimit64": [_argument(0), *_when(_EQUAL, 0, _ALLOW), *own],
    }
    made = [_load(_ARCH), _jump(_EQUAL, _ARCHITECTURE[machine], 1, 0), _return(_KILL), _load(_NUMBER)]
    if machine == "x86_64":
        made += _when(_AT_LEAST, _X32_BIT, _refusal(errno.ENOSYS))
    for name, rule in closer.items():
        number = _CLOSER[name][column]
        if number is not None:
            made += [_jump(_EQUAL, number, 0, len(rule)), *rule]
    for numbers in _REFUSED.values():
        number = numbers[column]
        if number is not None:
            made += _when(_EQUAL, number, _refusal(errno.EPERM))
    return [*made, _return(_ALLOW)]


def _open_rule(flags: int) -> list[bytes]:
    """Opening to read is allowed; `flags` is the place of the flags among the arguments."""
    return [_argument(flags), *_when(_ANY_BIT, _WRITES, _refusal(errno.EACCES)), _return(_ALLOW)]


def _when(test: int, value: int, outcome: int) -> list[bytes]:
    return [_jump(test, value, 0, 1), _return(outcome)]


def _argument(index: int) -> bytes:
    """Loads the lower half of an argument; all that are looked at have 32 bits."""
    return _load(_ARGUMENTS + 8 * index)


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", test, if_true, if_false, value)


def _return(outcome: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, outcome)


def _refusal(number: int) -> int:
    return _REFUSE | number
