"""What a file system has not promised to keep yet: names and bytes that a power cut takes back.

A file's bytes are kept from its fsync on, a name from the fsync of its directory on. What is not kept yet can
be undone, newest first.
"""

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

_Inode = tuple[int, int]


@dataclass
class _Gone:
    """A file or link whose name is about to go; an open handle keeps its inode from being used again."""

    inode: _Inode
    handle: int | None
    data: bytes
    mode: int
    link: str | None


@dataclass
class _Change:
    """A change of names, with the directory whose fsync makes it durable."""

    name: str
    path: str
    source: str
    folder: _Inode
    gone: _Gone | None


@dataclass
class _Bytes:
    """A file with bytes that are not durable, and what it held when it last was."""

    handle: int
    kept: bytes


@dataclass
class Durability:
    """Follows the changes below a directory."""

    root: Path
    _changes: list[_Change] = field(default_factory=list)
    _loose: dict[_Inode, _Bytes] = field(default_factory=dict)

    @property
    def has_loose_bytes(self) -> bool:
        """Whether a file has bytes that a power cut would take."""
        return bool(self._loose)

    def names(self, name: str, path: str, source: str) -> None:
        """A name is about to change."""
        there = os.path.lexists(path)
        if (name in ("create", "mkdir", "link", "symlink") and there) or (name == "unlink" and not there):
            return
        if name == "rmdir" and (not there or os.listdir(path)):  # noqa: PTH208 - names alone
            return
        if name == "rename":
            self._moves(source, path)
        gone = _gone(path) if name in ("unlink", "rename") and there else None
        self._changes.append(_Change(name, path, source, _inode(os.path.dirname(path)), gone))  # noqa: PTH120

    def writes(self, handle: int) -> None:
        """Bytes are about to be written, or were just cut off by opening."""
        inode = _of(os.fstat(handle))
        if inode not in self._loose:
            kept = os.dup(handle)
            size = os.fstat(kept).st_size
            self._loose[inode] = _Bytes(kept, Path(f"/proc/self/fd/{kept}").read_bytes() if size else b"")

    def synced(self, handle: int, path: str) -> None:
        """What the handle is open on is durable now."""
        inode = _of(os.fstat(handle))
        self._loose.pop(inode, None)
        if Path(path).is_dir():
            self._changes = [change for change in self._changes if change.folder != inode]

    def drop_bytes(self, handle: int) -> None:
        """An fsync failed: the system forgets what it could not write, and calls the rest clean."""
        lost = self._loose.pop(_of(os.fstat(handle)), None)
        if lost is not None:
            _put(lost.handle, lost.kept)

    def cut(self, *, keep_names: bool) -> None:
        """Takes back what is not durable."""
        for number, lost in enumerate(self._loose.values()):
            zeros = os.fstat(lost.handle).st_size - len(lost.kept) if keep_names and number % 2 == 0 else 0
            _put(lost.handle, lost.kept + bytes(max(0, zeros)))
        if not keep_names:
            for change in reversed(self._changes):
                self._undo(change)

    def _undo(self, change: _Change) -> None:
        path = Path(change.path)
        match change.name:
            case "create" | "link" | "symlink":
                path.unlink(missing_ok=True)
            case "mkdir":
                shutil.rmtree(path, ignore_errors=True)
            case "rmdir":
                with contextlib.suppress(FileNotFoundError):
                    path.mkdir()
            case "unlink":
                self._restore(path, change.gone)
            case _:
                with contextlib.suppress(FileNotFoundError):
                    path.rename(change.source)
                self._moves(change.path, change.source)
                self._restore(path, change.gone)

    def _moves(self, source: str, target: str) -> None:
        """What lies below `source` lies below `target` from now on."""
        for change in self._changes:
            if change.path.startswith(f"{source}/"):
                change.path = target + change.path[len(source) :]

    def _restore(self, path: Path, gone: _Gone | None) -> None:
        if gone is None or not path.parent.is_dir():
            return
        if gone.link is not None:
            path.symlink_to(gone.link)
        elif (other := self._name_of(gone.inode)) is not None:
            os.link(other, path)
        else:
            path.write_bytes(gone.data)
            path.chmod(gone.mode)

    def _name_of(self, inode: _Inode) -> Path | None:
        for folder, _, names in os.walk(self.root):
            for name in names:
                if _inode(f"{folder}/{name}") == inode:
                    return Path(folder, name)
        return None


def _of(found: os.stat_result) -> _Inode:
    return found.st_dev, found.st_ino


def _inode(path: str) -> _Inode:
    return _of(os.lstat(path))


def _gone(path: str) -> _Gone | None:
    found = os.lstat(path)
    if Path(path).is_symlink():
        return _Gone(_of(found), None, b"", 0, str(Path(path).readlink()))
    if Path(path).is_dir():
        return None
    handle = _reading(path)
    return _Gone(_of(found), handle, Path(path).read_bytes(), found.st_mode & 0o777, None)


def _reading(path: str) -> int:
    with Path(path).open("rb") as file:
        return os.dup(file.fileno())


def _put(handle: int, data: bytes) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, data, 0)
