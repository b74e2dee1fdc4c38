"""The node's memory budget: which models are loaded, and which make room for which."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from edgecanary.agent.ports import ModelKey
from edgecanary.base.errors import EdgecanaryError
from edgecanary.base.quantities import human_bytes


@dataclass(frozen=True)
class Claim:
    """What a loaded revision takes."""

    key: ModelKey
    revision: str
    priority: int
    count: int
    """Bytes."""


class OutOfMemory(EdgecanaryError):
    """The revision does not fit beside what must stay loaded."""

    def __init__(self, message: str) -> None:
        super().__init__("OutOfMemoryBudget", message)


@dataclass(frozen=True)
class Room:
    """How a revision gets its memory: the models that are unloaded for it, and whether its own active one is."""

    evicted: tuple[ModelKey, ...] = ()
    gap: bool = False


def find_room(
    loaded: Iterable[Claim], wanted: Claim, budget: int, evictable: Callable[[ModelKey], bool]
) -> Room | None:
    """How the revision could be loaded; None when it does not fit.

    Models of a lower priority make room for it, the lowest first. Only if even that does not make room for it
    beside its own active revision, that one is unloaded first.
    """
    claims = list(loaded)
    own = sum(claim.count for claim in claims if claim.key == wanted.key)
    others = [claim for claim in claims if claim.key != wanted.key]
    below = [claim for claim in others if claim.priority < wanted.priority and evictable(claim.key)]
    below.sort(key=lambda claim: (claim.priority, -claim.count, str(claim.key)))
    for kept, gap in ((own, False), (0, True)):
        left = budget - kept - wanted.count - sum(claim.count for claim in others)
        evicted: list[ModelKey] = []
        for claim in below:
            if left >= 0:
                break
            left += claim.count
            evicted.append(claim.key)
        if left >= 0:
            return Room(tuple(evicted), gap and own > 0)
    return None


@dataclass(frozen=True)
class Member:
    """A model of the node, as the budget sees it."""

    may_be_evicted: Callable[[], bool]
    """Whether its active revision is settled."""
    on_evicted: Callable[[], None]
    """Its revision was unloaded."""
    on_freed: Callable[[], None]
    """Memory became free: what waits for it may try again."""


class MemoryBudget:
    """Who has which memory. Belongs to the event loop's thread; without a budget everything fits."""

    def __init__(self, budget: int | None = None) -> None:
        """`budget` in bytes."""
        self._budget = budget
        self._claims: dict[tuple[ModelKey, str], Claim] = {}
        self._members: dict[ModelKey, Member] = {}
        self._lent: dict[ModelKey, tuple[int, Callable[[], object]]] = {}
        """Bytes that a model has for comparisons, and how to get them back."""
        self._turn = asyncio.Lock()

    @property
    def claims(self) -> Mapping[tuple[ModelKey, str], Claim]:
        """What is loaded or about to be."""
        return self._claims

    def join(self, key: ModelKey, member: Member) -> None:
        """A model is on the node from now on."""
        self._members[key] = member

    def leave(self, key: ModelKey) -> None:
        """A model is gone from the node."""
        self._members.pop(key, None)
        self.release(key)

    def reserve(self, claims: Iterable[Claim]) -> None:
        """Gives memory to what is to be loaded at a start, the highest priority first, as far as it goes."""
        for claim in sorted(claims, key=lambda item: (-item.priority, str(item.key))):
            if self.could_load(claim) and not self._room(claim).evicted:
                self._claims[claim.key, claim.revision] = claim

    def could_load(self, wanted: Claim) -> bool:
        """Whether the revision would fit now."""
        try:
            self._room(wanted)
        except OutOfMemory:
            return False
        return True

    def check(self, wanted: Claim) -> None:
        """Raises OutOfMemory when the revision would not fit now."""
        self._room(wanted)

    async def admit(self, wanted: Claim, evict: Callable[[ModelKey, str], Awaitable[None]]) -> Room:
        """Makes room for a revision, and claims it. `evict` unloads a model, for the reason given.

        Raises OutOfMemory.
        """
        async with self._turn:
            place = wanted.key, wanted.revision
            room = Room() if place in self._claims else self._room(wanted)
            self._claims[place] = wanted
            for key in room.evicted:
                await evict(key, f"its memory went to {wanted.key}, which has a higher priority")
                self._drop(key, None)
                self._members[key].on_evicted()
            if room.gap:
                await evict(
                    wanted.key,
                    "another revision replaces it, and there is no room for both",
                )
                self._drop(wanted.key, wanted.revision)
            self._call_in()
            return room

    def lend(self, claim: Claim, end: Callable[[], object]) -> bool:
        """Gives a model memory for another revision beside the one that serves, if nobody needs it.

        It is nobody's reason to wait: `end` is called as soon as a load wants it, and it ends with the model's next
        load or unload without that.
        """
        if self._budget is None:
            return True
        self._lent.pop(claim.key, None)
        if self._taken() + claim.count > self._budget:
            return False
        self._lent[claim.key] = (claim.count, end)
        return True

    def _taken(self) -> int:
        lent = sum(count for count, _ in self._lent.values())
        return lent + sum(claim.count for claim in self._claims.values())

    def _call_in(self) -> None:
        """Takes back what was lent until the rest fits."""
        while self._budget is not None and self._lent and self._taken() > self._budget:
            _, (_, end) = self._lent.popitem()
            end()

    def keep(self, key: ModelKey, revision: str) -> None:
        """Only this revision of the model is loaded any more."""
        self._drop(key, revision)
        self._freed(key)

    def release(self, key: ModelKey, revision: str | None = None) -> None:
        """The revision, or all of the model, is not loaded any more."""
        if revision is None:
            self._drop(key, None)
        else:
            self._claims.pop((key, revision), None)
        self._freed(key)

    def _drop(self, key: ModelKey, but: str | None) -> None:
        gone = [place for place in self._claims if place[0] == key and place[1] != but]
        for place in gone:
            del self._claims[place]
        self._lent.pop(key, None)

    def _freed(self, by: ModelKey) -> None:
        if self._budget is not None:
            for key, member in self._members.items():
                if key != by:
                    member.on_freed()

    def _room(self, wanted: Claim) -> Room:
        if self._budget is None:
            return Room()
        others = [claim for place, claim in self._claims.items() if place != (wanted.key, wanted.revision)]
        room = find_room(others, wanted, self._budget, self._is_evictable)
        if room is not None:
            return room
        taken = sum(claim.count for claim in others if claim.key != wanted.key)
        raise OutOfMemory(
            f"needs {human_bytes(wanted.count)} of memory; --memory-budget is {human_bytes(self._budget)}, of which "
            f"{human_bytes(taken)} are taken by models of the same or a higher priority, or being updated"
        )

    def _is_evictable(self, key: ModelKey) -> bool:
        member = self._members.get(key)
        return member is not None and member.may_be_evicted()
