"""What is done in each state of an update."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from edgecanary.agent.health import SoakOutcome, soak_verdict
from edgecanary.agent.host import clock_is_synchronised, rest
from edgecanary.agent.installer import Delay, Installer
from edgecanary.agent.machine import Event, State
from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.orders import active, reverted
from edgecanary.agent.ports import (
    ModelKey,
    ModelLoadFailed,
    ModelServer,
    ProbeFailed,
    ProbeImpossible,
    Prober,
)
from edgecanary.agent.record import Record, Rejection, Target, Verdict
from edgecanary.agent.store import Store
from edgecanary.agent.timing import ClockWatch, gate, look_again
from edgecanary.api.edgenode import ModelResult, ProbeMeasurement
from edgecanary.base.clock import Clock
from edgecanary.base.errors import EdgecanaryError, InvalidInput

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all models of a node share."""

    store: Store
    installer: Installer
    prober: Prober
    server: ModelServer
    clock: Clock
    is_synchronised: Callable[[], bool] = clock_is_synchronised
    """Whether the clock is kept right by the system."""
    load_seconds: float = 300.0
    """For a revision to be loaded by the serving process; one that takes longer has failed."""


@dataclass(frozen=True)
class Step:
    """What a state's work came to: the event, and the record as it is to be when the next state begins."""

    event: Event
    record: Record


class Steps:
    """The work of each state, for one model. Every step may be repeated after a crash."""

    def __init__(self, key: ModelKey, workshop: Workshop) -> None:
        self._shop = workshop
        self._home: ModelFiles = workshop.store.files_of(key)
        self._key = key
        self._serving: str | None = None
        self._watch = ClockWatch()
        self._table: Mapping[State, Callable[[Record, Target], Awaitable[Step]]] = {
            State.ACCEPTED: self._accept,
            State.PRECHECK: self._precheck,
            State.DOWNLOAD: self._download,
            State.VERIFY: self._verify,
            State.STAGE: self._stage,
            State.PROBE: self._probe,
            State.WINDOW: self._window,
            State.SWITCH: self._switch,
            State.HEALTH: self._health,
            State.COMMIT: self._commit,
            State.ROLLBACK: self._rollback,
        }

    async def act(self, record: Record) -> Step:
        """Does the state's work. Raises Delay when it cannot be done now, and OSError when the disk fails."""
        if record.state is State.WITHDRAW:
            return await self._withdraw(record)
        if record.target is None:
            raise RuntimeError(f"{self._key}: state {record.state} without a target")
        return await self._table[record.state](record, record.target)

    async def resume(self, record: Record) -> Record:
        """Serves at once what a record found at a start says; goes back to the previous revision if it must.

        That is the active revision, or the target when only its commit was left to do. Nothing, where nothing
        was active: a previous revision is then one that was withdrawn. Raises Delay when files are whole and
        nothing loads.
        """
        passed = record.target.revision if record.target and record.state is State.COMMIT else None
        if record.active is None and passed is None:
            return record
        named = (passed, record.active, record.previous)
        whole = [item for item in dict.fromkeys(named) if item and await self._is_whole(item)]
        for revision in whole:
            try:
                await self._activate(revision)
            except EdgecanaryError as error:
                log.error("%s: %s does not load: %s", self._key, revision[:12], error)
                continue
            await self._point_if_possible(revision)
            return self._found_again(record, whole, None if revision == passed else revision)
        if whole:
            raise Delay(
                _verdict(ModelResult.NONE, "LoadFailed", "neither the active nor the previous revision loads")
            )
        if record.active is not None:
            await self._shop.server.deactivate(self._key)
        return record.model_copy(update={"active": None, "previous": None})

    def _found_again(self, record: Record, whole: list[str], served: str | None) -> Record:
        """The record with the revisions that are whole; `served` is None when it is the target."""
        kept = [item for item in (record.active, record.previous) if item in whole]
        active = served or next(iter(kept), None)
        if active != record.active and active is not None:
            log.warning("%s: %s is the active revision instead", self._key, active[:12])
        previous = next((item for item in kept if item != active), None)
        return record.model_copy(update={"active": active, "previous": previous})

    async def _is_whole(self, revision: str) -> bool:
        try:
            await asyncio.to_thread(self._home.check, revision)
        except StoreFailure as error:
            log.error("%s: %s", self._key, error)
            return False
        return True

    async def tidy(self, record: Record) -> None:
        """Removes what neither the active, the previous nor the wanted revision needs, and mends the link."""
        keep_incoming = record.target is not None
        if not keep_incoming:
            await asyncio.to_thread(self._home.point_active, record.active)
        await asyncio.to_thread(self._home.collect_garbage, record.needed, keep_incoming=keep_incoming)
        await asyncio.to_thread(rest)

    async def _accept(self, record: Record, target: Target) -> Step:
        rejected = tuple(entry for entry in record.rejected if entry.revision != target.revision)
        return Step(Event.PASSED, record.model_copy(update={"rejected": rejected, "repair": ""}))

    async def _precheck(self, record: Record, target: Target) -> Step:
        await asyncio.to_thread(self._shop.installer.precheck, self._home, target)
        self._seconds_to_window(record, target)
        return Step(Event.PASSED, record)

    async def _download(self, record: Record, target: Target) -> Step:
        await self._shop.installer.download(self._home, target)
        return Step(Event.PASSED, record)

    async def _verify(self, record: Record, target: Target) -> Step:
        await asyncio.to_thread(self._shop.installer.verify, self._home, target)
        return Step(Event.PASSED, record)

    async def _stage(self, record: Record, target: Target) -> Step:
        await asyncio.to_thread(self._shop.installer.stage, self._home, target)
        return Step(Event.PASSED, record)

    async def _probe(self, record: Record, target: Target) -> Step:
        installed = self._home.installed(target.revision)
        if not installed.serve:
            return Step(Event.PASSED, record)
        try:
            report = await self._shop.prober.probe(installed)
        except ProbeFailed as error:
            return _failed(record, target, _verdict(ModelResult.PROBE_FAILED, error.reason, error.message))
        except ProbeImpossible as error:
            raise Delay(_verdict(ModelResult.PRECHECK_FAILED, error.reason, error.message)) from error
        measured = ProbeMeasurement(
            variant=target.variant.name,
            load_milliseconds=report.load_milliseconds,
            latency_p95_milliseconds=report.latency_p95_milliseconds,
            peak_memory_bytes=report.peak_memory_bytes,
        )
        return Step(Event.PASSED, _with_target(record, target, probe=measured))

    async def _window(self, record: Record, target: Target) -> Step:
        while True:
            wait = self._seconds_to_window(record, target)
            if wait <= 0:
                return Step(Event.PASSED, record)
            await asyncio.sleep(wait)

    def _seconds_to_window(self, record: Record, target: Target) -> float:
        """Seconds until the update windows are to be looked at again; 0 when the node may switch."""
        now, passed = self._shop.clock.now(), asyncio.get_running_loop().time()
        synchronised = self._shop.is_synchronised()
        seen = record.outcome.transition_time
        floor = self._watch.floor(now, passed, seen, synchronised=synchronised)
        jumped = self._watch.has_jumped(now, passed) and not synchronised
        try:
            found = gate(target.windows, now, floor)
        except InvalidInput as error:
            verdict = _verdict(ModelResult.PRECHECK_FAILED, "UpdateWindowInvalid", str(error))
            raise Delay(verdict, retry=False) from error
        if target.windows and jumped:
            found = look_again(now)
        if found.message:
            log.log(logging.WARNING if floor or jumped else logging.DEBUG, "%s: %s", self._key, found.message)
        return found.wait_seconds

    async def _switch(self, record: Record, target: Target) -> Step:
        try:
            if target.proven:
                await asyncio.to_thread(self._home.check, target.revision)
            await self._bring_up(target.revision)
        except OSError:
            if not target.proven:
                await self._serve_instead(record.active)
            raise
        except StoreFailure as error:
            return await self._fetch_again(record, target, error)
        except EdgecanaryError as error:
            return _failed(record, target, _verdict(ModelResult.PROBE_FAILED, error.reason, error.message))
        return Step(Event.RETURNED if target.proven else Event.PASSED, record)

    async def _fetch_again(self, record: Record, target: Target, error: StoreFailure) -> Step:
        """Gives up the damaged files of the target."""
        log.error("%s: %s", self._key, error)
        await asyncio.to_thread(self._home.discard, target.revision)
        return Step(Event.BLOCKED, _with_target(record, target, proven=False))

    async def _health(self, record: Record, target: Target) -> Step:
        if not target.statement.serve:
            return Step(Event.PASSED, record)
        loop = asyncio.get_running_loop()
        began, limits = loop.time(), target.health
        pause = min(1.0, max(0.2, limits.soak_seconds / 20))
        while True:
            counters = self._shop.server.counters(self._key, target.revision)
            found = soak_verdict(counters, limits, loop.time() - began, crashes=target.crashes)
            if found.outcome is SoakOutcome.PASSED:
                return Step(Event.PASSED, record)
            if found.outcome is SoakOutcome.FAILED:
                verdict = _verdict(ModelResult.HEALTH_FAILED, found.reason, found.message)
                return _failed(record, target, verdict)
            await asyncio.sleep(pause)

    async def _commit(self, record: Record, target: Target) -> Step:
        try:
            if self._serving != target.revision:
                await asyncio.to_thread(self._home.check, target.revision)
            await self._bring_up(target.revision)
        except StoreFailure as error:
            return await self._fetch_again(record, target, error)
        await asyncio.to_thread(self._home.mark_committed, target.revision)
        outcome = active(target, sequence=record.sequence, now=self._shop.clock.now())
        previous = record.active if record.active != target.revision else record.previous
        changes = {
            "active": target.revision,
            "previous": previous,
            "target": None,
            "outcome": outcome,
        }
        return Step(Event.PASSED, record.model_copy(update=changes))

    async def _rollback(self, record: Record, target: Target) -> Step:
        back = await self._go_back(record.active)
        after = record.model_copy(update={"target": None})
        if target.verdict is None:
            return Step(Event.PASSED, after)
        now = self._shop.clock.now()
        told = target.verdict.model_copy(update={"message": f"{target.verdict.message}; {back}"})
        after = after.rejecting(
            Rejection(revision=target.revision, attempt=target.attempt, verdict=told, time=now)
        )
        outcome = reverted(target.revision, after.rejected[-1], sequence=record.sequence)
        return Step(Event.PASSED, after.model_copy(update={"outcome": outcome}))

    async def _go_back(self, back: str | None) -> str:
        """Serves the active revision again, or nothing; says which."""
        if back is None:
            await self._shop.server.deactivate(self._key)
            await asyncio.to_thread(self._home.point_active, None)
            self._serving = None
            return "nothing is served"
        try:
            await self._bring_up(back)
        except EdgecanaryError as error:
            log.error("%s: %s does not load beside the failed one: %s", self._key, back[:12], error)
            await self._shop.server.deactivate(self._key)
            await self._bring_up(back)
        return f"{self._home.installed(back).version} is active again"

    async def _serve_instead(self, revision: str | None) -> None:
        """Lets another revision serve, or none, while the disk cannot take the switch."""
        if revision is None:
            await self._shop.server.deactivate(self._key)
            self._serving = None
            return
        try:
            await self._activate(revision)
        except EdgecanaryError as error:
            log.error("%s: %s does not load: %s", self._key, revision[:12], error)

    async def _withdraw(self, record: Record) -> Step:
        await self._shop.server.deactivate(self._key)
        await asyncio.to_thread(self._home.point_active, None)
        self._serving = None
        changes = {"active": None, "previous": record.active or record.previous, "target": None}
        return Step(Event.PASSED, record.model_copy(update=changes))

    async def _bring_up(self, revision: str) -> None:
        """Serves the revision, if it does not yet, and points the link to it.

        Raises EdgecanaryError when it does not load; then nothing has changed.
        """
        await self._activate(revision)
        await asyncio.to_thread(self._home.point_active, revision)

    async def _activate(self, revision: str) -> None:
        if self._serving == revision:
            return
        installed = self._home.installed(revision)
        try:
            async with asyncio.timeout(self._shop.load_seconds):
                await self._shop.server.activate(installed)
        except TimeoutError:
            raise ModelLoadFailed(f"loading took more than {self._shop.load_seconds:g} s") from None
        self._serving = revision

    async def _point_if_possible(self, revision: str) -> None:
        """Points the link; a disk that does not take it must not keep the revision from being served."""
        try:
            await asyncio.to_thread(self._home.point_active, revision)
        except OSError as error:
            log.error("%s: the active link cannot be moved: %s", self._key, error)


def _failed(record: Record, target: Target, verdict: Verdict) -> Step:
    return Step(Event.FAILED, _with_target(record, target, verdict=verdict))


def _with_target(record: Record, target: Target, **changes: object) -> Record:
    return record.model_copy(update={"target": target.model_copy(update=changes)})


def _verdict(result: ModelResult, reason: str, message: str) -> Verdict:
    return Verdict(result=result, reason=reason, message=message)
