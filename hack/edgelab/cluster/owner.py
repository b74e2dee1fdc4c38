"""Which process owns the cluster of `make cluster`, so that `make cluster-down` finds it."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from edgelab.errors import LabError
from edgelab.fleet.waiting import wait_for
from edgelab.paths import cache_folder

_END_SECONDS = 120.0


class Owner:
    """The file with the owner's process id, which the owner keeps locked."""

    def __init__(self) -> None:
        self._file = cache_folder() / "locks" / "cluster.owner"
        self._file.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def owning(self) -> Iterator[None]:
        """Be the owner.

        Raises:
            LabError: another process is.
        """
        with self._file.open("a+") as file:
            if not _lock(file.fileno()):
                raise LabError(f"a cluster runs already (process {self._pid()}): `make cluster-down` ends it")
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
            file.truncate(0)

    def end(self) -> bool:
        """End the owner, and wait until its cluster is gone; whether there was one.

        Raises:
            NotReachedError: it does not end.
        """
        if not self._is_owned():
            return False
        os.kill(self._pid(), signal.SIGTERM)
        wait_for("the cluster ends", lambda: not self._is_owned(), seconds=_END_SECONDS)
        return True

    def _is_owned(self) -> bool:
        if not self._file.exists():
            return False
        with self._file.open("r") as file:
            return not _lock(file.fileno())

    def _pid(self) -> int:
        return int(Path(self._file).read_text())


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
