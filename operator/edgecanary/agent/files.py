"""File operations that survive a power cut: whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from edgecanary.base.errors import InvalidInput

_CHUNK = 2**20


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes the file so that after a crash it holds either its old content or `data`. Raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes renames and removals in the directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Makes the file's content durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def point_link(link: Path, target: str) -> None:
    """Makes `link` a symbolic link to `target` in one step; whoever reads it sees the old or the new one."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_directory(link.parent)


def drop_link(link: Path) -> None:
    """Removes the link if it is there."""
    if link.is_symlink():
        link.unlink()
        sync_directory(link.parent)


def remove_tree(path: Path) -> None:
    """Removes a directory; it is renamed first, so that a half-removed one is never taken for whole."""
    doomed = path.with_name(f".doomed-{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    if path.exists():
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def join_inside(root: Path, relative: str) -> Path:
    """`root / relative`, which cannot lie outside `root`.

    Raises InvalidInput for absolute paths, `..`, backslashes, NUL and empty segments.
    """
    segments = relative.split("/")
    if (
        PurePosixPath(relative).is_absolute()
        or any(segment in ("", ".", "..") for segment in segments)
        or any(sign in relative for sign in ("\0", "\\"))
    ):
        raise InvalidInput("path", f"must be a relative path without '..', got {relative!r}")
    return root.joinpath(*segments)


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
