"""Keeps a model's record, in memory and on disk, and knows whether the disk takes it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edgecanary.agent.installer import Delay
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import DISK_FAILED, Record, Verdict
from edgecanary.agent.recordfile import Found
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import ModelResult

log = logging.getLogger(__name__)


class RecordKeeper:
    """The record of one model as it is now."""

    def __init__(self, store: Store, key: ModelKey, on_trouble: Callable[[], None]) -> None:
        """`on_trouble` is called when trouble with the disk begins or ends."""
        self.record: Record = _taken_up(store.find(key))
        self._store = store
        self._key = key
        self._on_trouble = on_trouble
        self._saving: asyncio.Future[None] | None = None
        self._untidy = ""

    async def save(self, record: Record) -> bool:
        """Writes the record and makes it the current one; False when the disk fails."""
        alive = record.model_copy(update={"alive": True})
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._store.save, alive))
        try:
            await asyncio.shield(self._saving)
        except OSError as error:
            self._has_trouble(f"cannot be written: {error}")
            return False
        self.go_ahead(alive)
        self._set_trouble(self._untidy)
        return True

    async def settle(self) -> None:
        """Waits until nothing is being written any more."""
        if self._saving is not None:
            await asyncio.wait([self._saving])

    def go_ahead(self, record: Record) -> None:
        """Makes the record the current one, with what is known of the disk, whether it is on disk or not."""
        self.record = record.model_copy(update={"trouble": self.record.trouble})

    async def clean_up(self, work: Awaitable[None]) -> None:
        """Does the work; a disk that does not allow it is told of, and the caller tries again."""
        try:
            await work
        except OSError as error:
            self._untidy = self._has_trouble(f"cannot be cleaned up: {error}")
        else:
            self._untidy = ""
            self._set_trouble("")

    def delay(self) -> Delay:
        """The wait for a disk that takes records."""
        verdict = Verdict(result=ModelResult.NONE, reason=DISK_FAILED, message=self.record.trouble)
        return Delay(verdict)

    def _has_trouble(self, what: str) -> str:
        """Notes, in memory, what the disk does not do; gives it back."""
        trouble = f"the data directory {self._store.root} {what}; make room there, or repair it"
        self._set_trouble(trouble)
        return trouble

    def _set_trouble(self, trouble: str) -> None:
        """Has it reported that trouble began or ended."""
        before, self.record = self.record.trouble, self.record.model_copy(update={"trouble": trouble})
        if trouble and trouble != before:
            log.error("%s: %s", self._key, trouble)
        if bool(trouble) != bool(before):
            self._on_trouble()


def _taken_up(found: Found) -> Record:
    """The record that was found, with what had to be repaired in it."""
    if not found.repair:
        return found.record
    log.error("%s: %s", found.record.key, found.repair)
    return found.record.model_copy(update={"repair": found.repair})
