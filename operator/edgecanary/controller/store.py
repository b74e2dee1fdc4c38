"""One kind's part of the cache: records by key, the newer resource version wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from edgecanary.controller.views import ObjectKey

T = TypeVar("T")


@dataclass(frozen=True)
class Versioned(Generic[T]):
    """A record and the resource version that it was read at."""

    version: int
    record: T


@dataclass(frozen=True)
class Change(Generic[T]):
    """A record that differs from before; None where there was or is none."""

    key: ObjectKey
    before: T | None
    after: T | None


class Store(Generic[T]):
    """The records of one kind. Not safe for threads: the cache guards it."""

    def __init__(self) -> None:
        self._records: dict[ObjectKey, Versioned[T]] = {}
        self._deleted: dict[ObjectKey, int] = {}
        self._listed = 0

    @property
    def records(self) -> Mapping[ObjectKey, Versioned[T]]:
        """All records, as they are now."""
        return MappingProxyType(self._records)

    def get(self, key: ObjectKey) -> T | None:
        """The record, or None."""
        found = self._records.get(key)
        return found.record if found else None

    def put(self, key: ObjectKey, version: int, record: T) -> Change[T] | None:
        """Takes a record in, unless a newer version or a newer deletion is known; the change, if any."""
        if version < self._known(key):
            return None
        before = self._records.get(key)
        self._deleted.pop(key, None)
        self._records[key] = Versioned(version, record)
        if before is not None and before.record == record:
            return None
        return Change(key, before.record if before else None, record)

    def remove(self, key: ObjectKey, version: int) -> Change[T] | None:
        """Notes a deletion, unless a newer version is known; the change, if any."""
        if version < self._known(key):
            return None
        self._deleted[key] = version
        before = self._records.pop(key, None)
        return Change(key, before.record, None) if before else None

    def replace(self, items: Sequence[tuple[ObjectKey, int, T]], *, version: int) -> list[Change[T]]:
        """Takes in a whole list that was read at `version`; the changes.

        What the list lacks is gone, unless it is newer than the list. A list older than an earlier one
        means that the server was restored from a backup: then the list alone counts.
        """
        before = {key: entry.record for key, entry in self._records.items()}
        if version < self._listed:
            self._records, self._deleted = {}, {}
        self._listed = version
        for key, own, record in items:
            self.put(key, own, record)
        listed = {key for key, _, _ in items}
        self._records = {k: e for k, e in self._records.items() if k in listed or e.version > version}
        self._deleted = {key: at for key, at in self._deleted.items() if at > version}
        after = {key: entry.record for key, entry in self._records.items()}
        changes = (Change(key, before.get(key), after.get(key)) for key in before | after)
        return [change for change in changes if change.before != change.after]

    def _known(self, key: ObjectKey) -> int:
        entry = self._records.get(key)
        return max(entry.version if entry else 0, self._deleted.get(key, 0))
