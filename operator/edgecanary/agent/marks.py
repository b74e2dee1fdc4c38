"""Which models' code was running when a process died.

A crash of the runtime leaves no time to say who it was. So each model has a byte in a small piece of shared
memory that outlives the process, not the machine: it is 1 while the model's code runs. A load is marked on disk
as well (`ModelFiles.mark_loading`), since a model may take the whole machine down.

Writing the byte costs no system call and wears no flash. Where there is no shared memory nothing is marked, and
a death counts against whatever was on trial.
"""

import contextlib
import hashlib
import logging
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgecanary.agent.ports import ModelKey

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- opened without following links, and only if it is our own
_SLOTS = 128
_WIDTH = 512
"""Bytes of a slot: whether its model runs, the length of its name, the name."""


@dataclass(frozen=True)
class Mark:
    """A revision of a model whose code was running or being loaded."""

    key: ModelKey
    revision: str


class Marks:
    """The marks of one data directory's models."""

    def __init__(self, data_dir: Path, folder: Path = SHARED_MEMORY) -> None:
        name = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]
        self.path = folder / f"edgecanary-{os.geteuid()}-{name}"
        self.found: frozenset[Mark] = frozenset()
        """What an earlier process of the machine left."""
        self._memory: mmap.mmap | bytearray = bytearray(_SLOTS * _WIDTH)
        self._free = set(range(_SLOTS))

    def open(self) -> None:
        """Reads what the last process left, and begins anew. Without shared memory nothing is marked."""
        try:
            self._memory = self._map()
        except OSError as error:
            log.warning("%s: models that run are not marked: %s", self.path, error)
            return
        self.found = frozenset(mark for slot in range(_SLOTS) if (mark := self._read(slot)) is not None)
        self._memory[:] = bytes(len(self._memory))

    def close(self) -> None:
        """Ends in order: nothing ran."""
        if isinstance(self._memory, mmap.mmap):
            # Not unmapped: a thread that hangs may still have its mark to take back.
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def running(self, key: ModelKey, revision: str) -> Iterator[None]:
        """Marks work that is not done in a model's thread, such as a probe."""
        mark = self.take(key, revision)
        mark.enter()
        try:
            yield
        finally:
            mark.drop()

    def take(self, key: ModelKey, revision: str) -> "Slot":
        """A mark for a revision that is loaded now. One too many is kept in this process alone."""
        text = f"{key.namespace}/{key.name}/{revision}".encode()
        if not self._free or len(text) > _WIDTH - 3:
            return Slot(bytearray(_WIDTH), 0, None)
        at = self._free.pop() * _WIDTH
        self._memory[at + 1 : at + 3 + len(text)] = len(text).to_bytes(2, "little") + text
        return Slot(self._memory, at, self._give_back)

    def _give_back(self, at: int) -> None:
        self._free.add(at // _WIDTH)

    def _map(self) -> mmap.mmap:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
                raise PermissionError(f"belongs to user {about.st_uid}")
            os.fchmod(handle, 0o600)
            # All pages are there from the beginning: a write to a page that is not could kill the process.
            os.ftruncate(handle, _SLOTS * _WIDTH)
            os.posix_fallocate(handle, 0, _SLOTS * _WIDTH)
            return mmap.mmap(handle, _SLOTS * _WIDTH)
        finally:
            os.close(handle)

    def _read(self, slot: int) -> Mark | None:
        at = slot * _WIDTH
        if not self._memory[at]:
            return None
        length = int.from_bytes(self._memory[at + 1 : at + 3], "little")
        text = bytes(self._memory[at + 3 : at + 3 + min(length, _WIDTH - 3)]).decode(errors="replace")
        namespace, _, rest = text.partition("/")
        name, _, revision = rest.partition("/")
        return Mark(ModelKey(namespace, name), revision)


class Slot:
    """The mark of one loaded revision. `enter` and `leave` are for the model's own thread."""

    def __init__(self, memory: mmap.mmap | bytearray, at: int, on_drop: Callable[[int], None] | None) -> None:
        self._memory = memory
        self._at = at
        self._on_drop = on_drop

    def enter(self) -> None:
        """The model's code runs from now on."""
        self._memory[self._at] = 1

    def leave(self) -> None:
        """The model's code has ended."""
        self._memory[self._at] = 0

    def drop(self) -> None:
        """The revision is not loaded any more."""
        self.leave()
        give_back, self._on_drop = self._on_drop, None
        if give_back is not None:
            give_back(self._at)
