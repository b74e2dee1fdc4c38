"""What serves at once when a process starts, before anything is heard."""

import asyncio
import logging

from edgecanary.agent.installer import Delay
from edgecanary.agent.loading import Loader
from edgecanary.agent.machine import State
from edgecanary.agent.memory import OutOfMemory
from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.record import Record, Verdict
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.errors import EdgecanaryError

log = logging.getLogger(__name__)


async def resume(loader: Loader, home: ModelFiles, record: Record) -> Record:
    """Serves at once what a record found at a start says; goes back to the previous revision if it must.

    That is the active revision, or the target when only its commit was left to do. Nothing, where nothing was
    active: a previous revision is then one that was withdrawn. Raises Delay when files are whole and nothing
    loads, and OutOfMemory when other models have its memory.
    """
    passed = record.target.revision if record.target and record.state is State.COMMIT else None
    if record.active is None and passed is None:
        return record
    named = (passed, record.active, record.previous)
    whole = [item for item in dict.fromkeys(named) if item and await _is_whole(home, item)]
    for revision in whole:
        try:
            await loader.bring_up_anyway(record, revision)
        except OutOfMemory:
            raise
        except EdgecanaryError as error:
            log.error("%s: %s does not load: %s", home.key, revision[:12], error)
            continue
        if revision == record.active and record.way_back in whole:
            loader.compare(record, record.way_back)
        return _found_again(record, whole, None if revision == passed else revision)
    if whole:
        message = "neither the active nor the previous revision loads"
        raise Delay(Verdict(result=ModelResult.NONE, reason="LoadFailed", message=message))
    if record.active is not None:
        await loader.unload()
    return record.model_copy(update={"active": None, "previous": None})


def _found_again(record: Record, whole: list[str], served: str | None) -> Record:
    """The record with the revisions that are whole; `served` is None when it is the target."""
    kept = [item for item in (record.active, record.previous) if item in whole]
    active = served or next(iter(kept), None)
    changes: dict[str, object] = {"active": active}
    if active != record.active and active is not None:
        log.warning("%s: %s is the active revision instead", record.key, active[:12])
        changes |= {"crashes": 0, "failing": None}
    changes["previous"] = next((item for item in kept if item != active), None)
    return record.model_copy(update=changes)


async def _is_whole(home: ModelFiles, revision: str) -> bool:
    try:
        await asyncio.to_thread(home.check, revision)
    except StoreFailure as error:
        log.error("%s: %s", home.key, error)
        return False
    return True
