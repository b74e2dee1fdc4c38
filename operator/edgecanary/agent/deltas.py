"""Which delta a node takes, and what becomes of one that does not do."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from edgecanary.agent import files
from edgecanary.agent.diskbudget import DiskBudget, has_room
from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.store import Store
from edgecanary.api.modelrelease import ReleasedDelta
from edgecanary.artifact.delta import DeltaInvalid, is_worth_it
from edgecanary.base.errors import EdgecanaryError, NotAllowed, NotFound, Unavailable, WrongAnswer
from edgecanary.base.quantities import human_bytes
from edgecanary.clients.download import Cancellation

log = logging.getLogger(__name__)

_TRIES = 3
"""So often a delta is asked for that does not come whole, before the full file is fetched instead."""


@dataclass(frozen=True)
class Wanted:
    """One file to be brought in."""

    label: str
    url: str | None
    sha256: str
    size: int
    deltas: tuple[ReleasedDelta, ...] = ()


@dataclass(frozen=True)
class Way:
    """A delta, and the file on this disk that it starts from."""

    delta: ReleasedDelta
    url: str
    old: Path


@dataclass(frozen=True)
class Patch:
    """What is to be made of what."""

    delta: Path
    old: Path
    made: Path
    size: int
    sha256: str


class _Patching(Protocol):
    """What `agent.patching` offers."""

    def build(self, patch: Patch, check: Callable[[], None]) -> None:
        """Makes the new file."""
        ...


Fetch = Callable[[str, Path, int], Awaitable[None]]
"""Completes a file to so many bytes of what an address holds."""


class Deltas:
    """The deltas of all models of a node. A delta that failed is not tried again by this process."""

    def __init__(self, store: Store, budget: DiskBudget) -> None:
        self._store = store
        self._budget = budget
        self._useless: set[str] = set()
        self._failures: Counter[str] = Counter()

    def choose(self, home: ModelFiles, wanted: Wanted) -> Way | None:
        """The smallest delta that is worth it and starts from a file that this node holds, verified."""
        left = wanted.size - _length(home.part(wanted.sha256))
        for delta in sorted(wanted.deltas, key=lambda delta: delta.size_bytes):
            if delta.url is None or delta.sha256 in self._useless:
                continue
            if not is_worth_it(delta.size_bytes - _length(_delta_part(home, delta)), left):
                continue
            if not has_room(self._store, wanted.size + delta.size_bytes, self._budget):
                log.info("%s: no room for a delta beside what it makes", wanted.label)
                return None
            old = held(home, delta.from_sha256)
            if old is not None:
                return Way(delta, delta.url, old)
        return None

    async def take(self, home: ModelFiles, wanted: Wanted, way: Way, fetch: Fetch) -> bool:
        """Makes the file by way of a delta; False when the full file has to be fetched.

        Raises Unavailable when the delta did not come whole and is worth another try.
        """
        part = _delta_part(home, way.delta)
        try:
            await fetch(way.url, part, way.delta.size_bytes)
            await self._make(home, wanted, way, part)
        except Unavailable as error:
            self._failures[way.delta.sha256] += 1
            if error.reason != "AccessDenied" and self._failures[way.delta.sha256] < _TRIES:
                raise
            log.warning("%s: its delta cannot be had, the full file is fetched: %s", wanted.label, error)
        except (NotAllowed, NotFound, WrongAnswer, DeltaInvalid, OSError) as error:
            self._useless.add(way.delta.sha256)
            log.warning("%s: its delta is of no use, the full file is fetched: %s", wanted.label, error)
        else:
            saved = human_bytes(wanted.size - way.delta.size_bytes)
            log.info("%s: made by a delta, which saved %s", wanted.label, saved)
            with contextlib.suppress(OSError):
                part.unlink()
            return True
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        return False

    async def _make(self, home: ModelFiles, wanted: Wanted, way: Way, part: Path) -> None:
        cancellation = Cancellation()
        work = asyncio.ensure_future(asyncio.to_thread(_build, home, wanted, way, part, cancellation))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # It ends at the next block; until then nobody else may write there.
            cancellation.cancel()
            await asyncio.wait([work])
            with contextlib.suppress(EdgecanaryError, OSError):
                work.result()
            raise


def held(home: ModelFiles, sha256: str) -> Path | None:
    """A file on this disk that has these bytes, which were compared just now."""
    for folder in sorted(home.store.glob("[0-9a-f]*")):
        with contextlib.suppress(StoreFailure, OSError):
            installed = home.installed(folder.name)
            for file in installed.variant.files:
                path = files.join_inside(installed.directory, file.path)
                if file.sha256 == sha256 and files.sha256_of(path) == sha256:
                    return path
    return None


def _build(home: ModelFiles, wanted: Wanted, way: Way, part: Path, cancellation: Cancellation) -> None:
    """Raises DeltaInvalid, OSError, Cancelled."""
    if files.sha256_of(part) != way.delta.sha256:
        raise DeltaInvalid(f"is not the one of the release, whose sha256 is {way.delta.sha256}")
    patching = cast("_Patching", import_module("edgecanary.agent.patching"))
    made = home.incoming / f"{wanted.sha256}.made.part"
    patching.build(Patch(part, way.old, made, wanted.size, wanted.sha256), cancellation.check)
    made.replace(home.arrived(wanted.sha256))
    home.part(wanted.sha256).unlink(missing_ok=True)


def _delta_part(home: ModelFiles, delta: ReleasedDelta) -> Path:
    return home.incoming / f"{delta.sha256}.delta.part"


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
