"""A listening Unix socket whose file is never another process's.

A lock on a file beside the socket says whether its owner lives. A socket file that an owner left behind when it died
is replaced; one of a process that lives is not, and neither is a file that is no socket.
"""

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import IO

from edgecanary.base.errors import InvalidInput, Unavailable

PREFIX = "unix:"
MODE = 0o660
"""Who may connect: the agent's user and group. The directory may narrow that."""
_MAX_PATH_BYTES = 100
"""The kernel takes 107, and the file is made under a longer name first."""
_BACKLOG = 100


def parse_path(listen: str, *, field: str) -> Path:
    """The path of `unix:/path`. Raises InvalidInput naming `field`."""
    path = Path(listen.removeprefix(PREFIX))
    if not path.is_absolute() or len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise InvalidInput(
            field, f"must be unix: and an absolute path of at most {_MAX_PATH_BYTES} bytes, got {listen!r}"
        )
    return path


class UnixSocket:
    """One socket file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: IO[bytes] | None = None
        self._made: tuple[int, int] | None = None

    def listen(self, *, field: str) -> socket.socket:
        """The listening socket, for the setting called `field`. Raises Unavailable."""
        try:
            return self._listen()
        except BlockingIOError:
            problem = "another process listens there; stop it or choose another path"
        except OSError as error:
            problem = (
                f"{error.strerror or error}; choose another path, in a directory that the agent may write"
            )
        raise Unavailable("ListenFailed", f"{field}: cannot listen on {PREFIX}{self._path}: {problem}")

    def close(self) -> None:
        """Removes the file unless another took its place, and gives the path free."""
        if self._made is not None and self._made == _identity(self._path):
            self._path.unlink(missing_ok=True)
        self._made = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _listen(self) -> socket.socket:
        self._lock = self._path.with_name(f"{self._path.name}.lock").open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._check_place()
        # Made under another name, so that the path never leads to a socket that others may use, or that nobody
        # listens on.
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(str(draft))
            draft.chmod(MODE)
            made.listen(_BACKLOG)
            made.setblocking(False)
            draft.rename(self._path)
        except BaseException:
            made.close()
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self._made = _identity(self._path)
        return made

    def _check_place(self) -> None:
        """Raises OSError when the path is taken by something that must not be replaced."""
        try:
            kind = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(kind):
            raise FileExistsError(None, "there is a file that is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self._path))
            except (ConnectionRefusedError, FileNotFoundError):
                return
        raise BlockingIOError


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
