"""The administrator's rules as a program has them: flags, and a file that may change while it runs."""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from edgecanary.base.errors import EdgecanaryError, Unavailable
from edgecanary.base.reach import ANYWHERE, LocalRule
from edgecanary.rollout.grants import GRANTS_UNREADABLE, MAX_BYTES, Allowance, Grants, parse_grants

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often a program looks whether the file has changed."""

_Stamp = tuple[int, int, int]


class GrantsFile:
    """Rules in a file, read again whenever it changes. Safe for threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._found: Grants | Unavailable | None = None

    def stamp(self) -> _Stamp | None:
        """Changes whenever the file does; None when there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> Grants:
        """The rules as they are now. Raises Unavailable (GrantsUnreadable): rules of before count no more."""
        with self._lock:
            stamp = self.stamp()
            if self._found is None or stamp is None or stamp != self._stamp:
                self._note(self._read())
                self._stamp = stamp
            found = self._found
        if isinstance(found, Unavailable):
            raise Unavailable(found.reason, found.message)
        return found or Grants()

    def _read(self) -> Grants | Unavailable:
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"must have at most {MAX_BYTES} bytes")
            found = parse_grants(content.decode())
        except (OSError, ValueError, EdgecanaryError) as error:
            text = f"the rules of {self.path} cannot be read, so nothing new is allowed: {error}"
            return Unavailable(GRANTS_UNREADABLE, text)
        return found

    def _note(self, found: Grants | Unavailable) -> None:
        """Keeps what was read, and tells what is new of it."""
        if isinstance(found, Unavailable):
            if str(found) != str(self._found):
                log.error("%s", found)
        elif found != self._found:
            log.info("%s: %d rules", self.path, len(found.rules))
        self._found = found


@dataclass(frozen=True)
class Tenancy:
    """What this program may do for whom. Without a file nothing is divided among namespaces."""

    local: LocalRule = ANYWHERE
    file: GrantsFile | None = field(default=None, compare=False)

    def of(self, namespace: str) -> Allowance:
        """What may be done for a namespace, now."""
        if self.file is None:
            return Allowance(namespace, self.local)
        try:
            granted = self.file.read().of(namespace)
        except Unavailable as error:
            return Allowance(namespace, self.local, problem=error.message)
        return Allowance(namespace, self.local, granted)

    def stamp(self) -> object:
        """Changes whenever the rules may have."""
        return self.file.stamp() if self.file else None
