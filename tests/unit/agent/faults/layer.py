"""A layer between the agent and its file system that counts operations, breaks one, and can cut the power.

It stands in for the functions of `os` and for `io.open` in this process, so that no part of the agent can go
past it: whatever changes something below the data directory is an operation, with a number. Use it in a
process of its own.
"""

import errno
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.unit.agent.faults.durability import Durability


class Kind(StrEnum):
    """What happens at an operation."""

    KILL = "SIGKILL"
    POWER_CUT = "power cut, names and bytes that were not synced are lost"
    TORN = "power cut, names are kept, bytes that were not synced are lost"
    NO_SPACE = "ENOSPC once"
    BROKEN = "EIO once"
    SHORT = "short write"
    SHORT_THEN_FULL = "short write, then ENOSPC"
    FULL = "disk full from here on, until it is reported"
    READ_ONLY = "file system read-only from here on, until it is reported"


DEADLY = frozenset({Kind.KILL, Kind.POWER_CUT, Kind.TORN})
LASTING = {Kind.FULL: errno.ENOSPC, Kind.READ_ONLY: errno.EROFS}
_GROWS = frozenset({"create", "write", "fsync", "rename", "link", "symlink", "mkdir"})
"""Operations that may need room."""


@dataclass(frozen=True)
class Operation:
    """One operation: what it does, and to what, from the data directory."""

    name: str
    path: str
    torn: bool = False
    """There were bytes that were not synced when it began."""

    def takes(self, kind: Kind) -> bool:
        """Whether the fault can happen at this operation."""
        match kind:
            case Kind.NO_SPACE | Kind.FULL:
                return self.name in _GROWS
            case Kind.SHORT | Kind.SHORT_THEN_FULL:
                return self.name == "write"
            case Kind.TORN:
                return self.torn
            case _:
                return True


StrPath = str | os.PathLike[str]
Open = Callable[..., IO[Any]]


class Layer:
    """The operations below `root`, and the fault that is planned at one of them."""

    def __init__(self, root: Path, kind: Kind | None = None, at: int = 0) -> None:
        self.trace: list[Operation] = []
        self.hit = False
        self._root = str(root)
        self._kind = kind
        self._at = at
        self._armed = False
        self._healed = False
        self._full_next = False
        watched = kind is None or kind in (Kind.POWER_CUT, Kind.TORN, Kind.BROKEN)
        self._durability = Durability(root) if watched else None
        self._paths: dict[int, str] = {}
        self._real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _REPLACED}
        self._real_open: Open = io.open

    def install(self) -> None:
        """Stands in for the system's functions, for the rest of this process."""
        for name in _REPLACED:
            setattr(os, name, getattr(self, f"_{name}"))
        io.open = self._io_open  # type: ignore[assignment]

    def arm(self) -> None:
        """Counts from here on."""
        self._armed = True

    @property
    def lasts(self) -> bool:
        """Whether the fault stays until it is healed."""
        return self._kind in LASTING

    def heal(self) -> None:
        """Ends a lasting fault."""
        self._healed = True

    # What the agent calls

    def _open(self, path: StrPath, flags: int, mode: int = 0o777, **more: object) -> int:
        mutates = bool(flags & (os.O_CREAT | os.O_TRUNC)) and self._ours(path)
        if mutates:
            self._count("create", path)
            self._note("create", path)
        handle: int = self._real["open"](path, flags, mode, **more)
        if self._ours(path):
            self._paths[handle] = os.fspath(path)
            if mutates and flags & os.O_TRUNC:
                self._note_data(handle)
        return handle

    def _write(self, handle: int, data: bytes) -> int:
        path = self._paths.get(handle)
        if path is None:
            return int(self._real["write"](handle, data))
        here = self._count("write", path)
        self._note_data(handle)
        if here and self._kind in (Kind.SHORT, Kind.SHORT_THEN_FULL) and len(data) > 1:
            self._full_next = self._kind is Kind.SHORT_THEN_FULL
            return int(self._real["write"](handle, data[: len(data) // 2]))
        return int(self._real["write"](handle, data))

    def _fsync(self, handle: int) -> None:
        path = self._paths.get(handle)
        if path is not None:
            self._count("fsync", path, handle)
        self._real["fsync"](handle)
        if path is not None and self._durability:
            self._durability.synced(handle, path)

    def _close(self, handle: int) -> None:
        self._paths.pop(handle, None)
        self._real["close"](handle)

    def _rename(self, source: StrPath, target: StrPath) -> None:
        if self._ours(source):
            self._count("rename", target)
            self._note("rename", target, source)
        self._real["replace"](source, target)

    _replace = _rename

    def _link(self, source: StrPath, target: StrPath, *rest: object, **more: object) -> None:
        self._changes("link", target)
        self._real["link"](source, target, *rest, **more)

    def _symlink(self, source: StrPath, target: StrPath, *rest: object, **more: object) -> None:
        self._changes("symlink", target)
        self._real["symlink"](source, target, *rest, **more)

    def _mkdir(self, path: StrPath, mode: int = 0o777, *rest: object, **more: object) -> None:
        self._changes("mkdir", path)
        self._real["mkdir"](path, mode, *rest, **more)

    def _unlink(self, path: StrPath, *rest: object, **more: object) -> None:
        self._changes("unlink", path)
        self._real["unlink"](path, *rest, **more)

    _remove = _unlink

    def _rmdir(self, path: StrPath, *rest: object, **more: object) -> None:
        self._changes("rmdir", path)
        self._real["rmdir"](path, *rest, **more)

    def _chmod(self, path: StrPath, mode: int, *rest: object, **more: object) -> None:
        self._changes("chmod", path)
        self._real["chmod"](path, mode, *rest, **more)

    def _io_open(self, file: StrPath | int, mode: str = "r", *arguments: object, **more: object) -> IO[Any]:
        """Reading goes on as it is; the durable half writes by `os.open` alone, which is checked here."""
        if isinstance(file, str | os.PathLike) and self._ours(file) and set(mode) & set("wax+"):
            raise AssertionError(f"{file} is written past the layer")
        return self._real_open(file, mode, *arguments, **more)

    # What happens then

    def _ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._root)

    def _changes(self, name: str, path: StrPath) -> None:
        if self._ours(path):
            self._count(name, path)
            self._note(name, path)

    def _note(self, name: str, path: StrPath, source: StrPath = "") -> None:
        if self._durability:
            self._durability.names(name, os.fspath(path), os.fspath(source))

    def _note_data(self, handle: int) -> None:
        if self._durability:
            self._durability.writes(handle)

    def _count(self, name: str, path: StrPath, handle: int = -1) -> bool:
        """Counts an operation and breaks it if that is planned. True when the fault is at this one."""
        if not self._armed:
            return False
        torn = bool(self._durability and self._durability.has_loose_bytes)
        operation = Operation(name, os.path.relpath(path, self._root), torn)
        self.trace.append(operation)
        here = len(self.trace) == self._at
        self.hit |= here
        if here and self._kind in DEADLY:
            self._die()
        if here and self._kind is Kind.BROKEN:
            if name == "fsync" and self._durability:
                self._durability.drop_bytes(handle)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if (here and self._kind is Kind.NO_SPACE) or (self._full_next and name == "write"):
            self._full_next = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if (
            self._kind in LASTING
            and len(self.trace) >= self._at
            and not self._healed
            and operation.takes(self._kind)
        ):
            raise OSError(LASTING[self._kind], os.strerror(LASTING[self._kind]))
        return here

    def _die(self) -> NoReturn:
        if self._durability and self._kind is not Kind.KILL:
            for name, real in self._real.items():
                setattr(os, name, real)
            io.open = self._real_open  # type: ignore[assignment]
            self._durability.cut(keep_names=self._kind is Kind.TORN)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("the process lives on")


_REPLACED = (
    "open",
    "write",
    "fsync",
    "close",
    "rename",
    "replace",
    "link",
    "symlink",
    "mkdir",
    "unlink",
    "remove",
    "rmdir",
    "chmod",
)
