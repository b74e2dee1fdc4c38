"""Takes from this process, layer by layer, what a model has no use for.

Runs before the runtime is loaded, in a process with one thread. A layer that the system refuses is reported
with the system's reason, and the others still come into force; the caller decides whether that will do.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from edgecanary.agent.sandbox import kernel, landlock, seccomp
from edgecanary.agent.sandbox.layers import Confines, Enforced, Layer

NICENESS = 10
OPEN_FILES = 64
PROCESSES = 16
"""For a user of its own: more threads than a runtime starts."""

_OTHERS_NETWORK = kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
)


def confine(confines: Confines) -> Enforced:
    """Puts every layer into force that this system allows; tells which, and why others are not.

    The order matters: each step needs what a later one takes away.
    """
    done, root = Enforced(), os.geteuid() == 0
    _try(done, Layer.LIMITS, lambda: _limit(confines))
    _try(done, Layer.NETWORK_NAMESPACE, lambda: _leave_the_network(in_user_namespace=not root))
    files = _try(done, Layer.FILES, lambda: _see_little(confines.readable))
    own_user = _try(done, Layer.OWN_USER, lambda: _become(confines, root=root, may_look=files))
    if root and Layer.NETWORK_NAMESPACE in done.missing:
        # A container's root has no right over the network, yet any user may have one in a namespace.
        _try(done, Layer.NETWORK_NAMESPACE, lambda: _leave_the_network(in_user_namespace=True))
    _try(done, Layer.NO_PRIVILEGES, lambda: _drop_privileges(may_look=own_user and files))
    if own_user or (not root and Layer.NETWORK_NAMESPACE in done.layers):
        # Where others run as the same user, their threads would count, too; there seccomp is the limit.
        _lower(resource.RLIMIT_NPROC, PROCESSES)
    _die_with(confines.parent)
    _try(done, Layer.SYSTEM_CALLS, seccomp.install)
    return done


def _try(done: Enforced, layer: Layer, step: Callable[[], None]) -> bool:
    try:
        step()
    except Exception as error:  # noqa: BLE001 - whatever it was, the layer is not in force, and that is reported
        text = error.strerror if isinstance(error, OSError) else str(error)
        done.missing[layer] = text or type(error).__name__
        return False
    done.missing.pop(layer, None)
    done.layers.append(layer)
    return True


def _limit(confines: Confines) -> None:
    os.nice(NICENESS)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_DATA, confines.memory_bytes)
    _lower(resource.RLIMIT_AS, confines.address_space_bytes)
    # The soft limit kills with a signal of its own, which tells the agent why.
    resource.setrlimit(resource.RLIMIT_CPU, (confines.cpu_seconds, confines.cpu_seconds + 1))
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = value if hard == resource.RLIM_INFINITY else min(hard, value)
    resource.setrlimit(kind, (limit, limit))


def _leave_the_network(*, in_user_namespace: bool) -> None:
    kernel.unshare(_OTHERS_NETWORK | (kernel.CLONE_NEWUSER if in_user_namespace else 0))


def _see_little(revision: Iterable[str]) -> None:
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"the process has {threads} threads, and only one would be restricted")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    own = (sys.prefix, sys.base_prefix, *sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    libraries = (path for path in own if path.startswith("/") and path != "/")
    landlock.restrict((*_SYSTEM, *libraries, *revision))


def _become(confines: Confines, *, root: bool, may_look: bool) -> None:
    """Becomes the user of its own, or stays root and raises.

    `may_look`: Landlock is in force, so that the right to read every file opens nothing else and is kept,
    where the agent has it. Without it the files must be readable for everybody.
    """
    if not root:
        raise PermissionError(1, "the agent does not run as root")
    user = confines.user_id
    kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.set_capabilities(kernel.CAP_SETUID, kernel.CAP_SETGID, *_looking(may_look))
    unreadable = [path for path in (*confines.readable, *sys.path) if not _readable(path)]
    if unreadable:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        raise PermissionError(13, f"user {user} cannot read {unreadable[0]}: let everybody read it")


def _readable(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _looking(may_look: bool) -> tuple[int, ...]:
    look = kernel.CAP_DAC_READ_SEARCH
    return (look,) if may_look and kernel.permitted(look) else ()


def _drop_privileges(*, may_look: bool) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.set_capabilities(*_looking(may_look))
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _die_with(parent: int) -> None:
    """The agent's own death must not leave a runaway model behind. A change of user would forget it."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the agent has ended")
