"""File operations that survive a power cut: whole or not at all.

Names and bytes are durable only when they were synced: a file before it is given its name, a directory after
names in it changed. All functions raise OSError where the disk fails, and can be done again then.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath

from edgecanary.base.errors import InvalidInput

_CHUNK = 2**20
_NO_LINK = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
)
"""How a file system says that it has no (more) hard links, or not for this user."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes the file so that after a crash it holds either its old content or `data`."""
    temporary = path.with_name(f".{path.name}.new")
    write_new(temporary, data, mode=mode)
    temporary.replace(path)
    sync_directory(path.parent)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes a file whose name nobody reads yet, and makes its bytes durable; a failed one is removed."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _write_all(handle: int, data: bytes) -> None:
    """Writes all bytes: the system may take fewer at a time than it is given."""
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


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


def sync_tree(path: Path) -> None:
    """Makes all names in a directory and those below it durable."""
    for folder, below, _ in os.walk(path):
        below.sort()
        sync_directory(Path(folder))


def share(source: Path, target: Path) -> None:
    """Gives `target` the bytes of `source`: by a hard link, which takes no room, else by a durable copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
        target.chmod(source.stat().st_mode & 0o777)
        sync_file(target)


def link_if_possible(source: Path, target: Path) -> bool:
    """Makes `target` a hard link to `source`; False where the file system has none for us."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


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
    """Removes a directory; it loses its name first, so that a half-removed one is never taken for whole."""
    doomed = path.with_name(f".doomed-{path.name}")
    delete_tree(doomed)
    if path.is_dir():
        path.rename(doomed)
        sync_directory(path.parent)
        delete_tree(doomed)


def delete_tree(path: Path) -> None:
    """Deletes a directory whose name nobody relies on, and all in it, if it is there."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            delete_tree(Path(entry))
        else:
            Path(entry).unlink()
    path.rmdir()


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


def used_bytes(root: Path) -> int:
    """Bytes of the disk that all files below `root` take, each counted once however many names it has."""
    sizes: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = Path(folder, name).lstat()
                sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())
