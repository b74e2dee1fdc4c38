"""What is done in each state of an update."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from edgecanary.agent.gatekeeper import Gatekeeper, while_allowed
from edgecanary.agent.health import figures
from edgecanary.agent.host import clock_is_synchronised, rest
from edgecanary.agent.installer import Delay, Installer
from edgecanary.agent.loading import Cradle, Loader, expected_memory, no_memory
from edgecanary.agent.machine import Event, State
from edgecanary.agent.marks import Marks
from edgecanary.agent.memory import Claim, MemoryBudget, OutOfMemory
from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.notify import ASK_SECONDS, News, Notifier
from edgecanary.agent.orders import active, reverted
from edgecanary.agent.permits import Permits
from edgecanary.agent.ports import (
    ModelKey,
    ModelServer,
    ProbeFailed,
    ProbeImpossible,
    Prober,
)
from edgecanary.agent.preconditions import LOOK_AGAIN_SECONDS, Held
from edgecanary.agent.record import Admission, Record, Rejection, Target, Verdict
from edgecanary.agent.resuming import resume
from edgecanary.agent.store import Store
from edgecanary.agent.timing import NodeTime, gate, look_again
from edgecanary.agent.trust import Offered, Trust, assigned, on_disk
from edgecanary.agent.watch import Measure, Watch
from edgecanary.api.edgenode import ModelResult, ProbeMeasurement
from edgecanary.base.clock import Clock
from edgecanary.base.errors import EdgecanaryError, InvalidInput, Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all models of a node share."""

    store: Store
    installer: Installer
    prober: Prober
    server: ModelServer
    clock: Clock
    marks: Marks
    notifier: Notifier = field(default_factory=Notifier)
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    gatekeeper: Gatekeeper = field(default_factory=Gatekeeper)
    is_synchronised: Callable[[], bool] = clock_is_synchronised
    """Whether the clock is kept right by the system."""
    load_seconds: float = 300.0
    """For a revision to be loaded by the serving process; one that takes longer has failed."""
    trust: Trust | None = None
    """Lets in only what is signed; None on a node without trust roots."""
    permits: Permits = field(default_factory=Permits)
    """From which namespaces the node takes models."""


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
        cradle = Cradle(workshop.server, workshop.memory, workshop.notifier, workshop.load_seconds)
        self.loader = Loader(key, self._home, cradle)
        self._times = NodeTime(workshop.clock, workshop.is_synchronised)
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
        self._without_target: Mapping[State, Callable[[Record], Awaitable[Step]]] = {
            State.REVERT: self._revert,
            State.WITHDRAW: self._withdraw,
        }

    @property
    def serving(self) -> str | None:
        """The revision that was brought up last."""
        return self.loader.serving

    async def act(self, record: Record) -> Step:
        """Does the state's work. Raises Delay when it cannot be done now, and OSError when the disk fails."""
        work = self._without_target.get(record.state)
        if work is not None:
            return await work(record)
        if record.target is None:
            raise RuntimeError(f"{self._key}: state {record.state} without a target")
        return await self._table[record.state](record, record.target)

    async def resume(self, record: Record) -> Record:
        """Serves what a record found at a start says: see `resuming.resume`."""
        return await resume(self.loader, self._home, record)

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
        if not target.misfit:
            await self._admit(record, target, assigned(target))
        await asyncio.to_thread(self._shop.installer.precheck, self._home, target)
        self._check_memory(record, target)
        seen = self._times.look(record.outcome.transition_time)
        try:
            gate(target.windows, seen.now, seen.floor)
        except InvalidInput as error:
            verdict = _verdict(ModelResult.PRECHECK_FAILED, "UpdateWindowInvalid", str(error))
            raise Delay(verdict, retry=False) from error
        return Step(Event.PASSED, record)

    def _check_memory(self, record: Record, target: Target) -> None:
        """Raises Delay when the revision is known not to fit into memory, by its probe or what it declares."""
        if not target.statement.serve:
            return
        needed = expected_memory(target)
        try:
            self._shop.memory.check(Claim(self._key, target.revision, record.priority, needed))
        except OutOfMemory as error:
            raise no_memory(error) from error

    async def _download(self, record: Record, target: Target) -> Step:
        download = self._shop.installer.download(self._home, target)
        if not self._shop.gatekeeper.minds_downloads or self._home.is_installed(target.revision):
            transfer = await download
        else:
            allowed = partial(self._may_download, record, target)
            transfer = await while_allowed(download, allowed, LOOK_AGAIN_SECONDS)
        return Step(Event.PASSED, record.aiming(target, transfer=transfer))

    async def _may_download(self, record: Record, target: Target) -> None:
        """Raises Delay when the device's conditions hold a download."""
        now, known = self._time(record, target)
        held = await self._shop.gatekeeper.download(target.windows, now, known)
        if held is not None:
            raise _delay(held)

    async def _verify(self, record: Record, target: Target) -> Step:
        await asyncio.to_thread(self._shop.installer.verify, self._home, target)
        return Step(Event.PASSED, record)

    async def _stage(self, record: Record, target: Target) -> Step:
        await self._admit(record, target, assigned(target))
        await asyncio.to_thread(self._shop.installer.stage, self._home, target)
        return Step(Event.PASSED, record)

    async def _probe(self, record: Record, target: Target) -> Step:
        installed = self._home.installed(target.revision)
        await self._admit(record, target, on_disk(installed, target.statement.signature))
        if not installed.serve:
            return Step(Event.PASSED, record)
        try:
            with self._shop.marks.running(self._key, target.revision):
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
        return Step(Event.PASSED, record.aiming(target, probe=measured))

    async def _window(self, record: Record, target: Target) -> Step:
        now, known = self._time(record, target)
        held = await self._shop.gatekeeper.activation(target.windows, now, known)
        if held is not None:
            raise _delay(held)
        return Step(Event.PASSED, record)

    def _time(self, record: Record, target: Target) -> tuple[datetime, datetime | None]:
        """The time now for update windows, and one that has certainly passed. Raises Delay for one just set."""
        seen = self._times.look(record.outcome.transition_time)
        if target.windows and seen.was_set:
            again = look_again(seen.now)
            raise _delay(Held("OutsideWindow", again.message, again.wait_seconds))
        return seen.now, seen.floor

    async def _admit(self, record: Record, target: Target, offered: Offered) -> Admission | None:
        """What the node remembers of the revision; None without trust roots.

        Raises Delay for a revision that the trust roots or the node's permits do not let in.
        """
        await asyncio.to_thread(self._shop.permits.check, self._key, target)
        trust = self._shop.trust
        if trust is None:
            return None
        return await asyncio.to_thread(trust.admit, self._key, offered, floor=record.floor)

    async def _admit_installed(self, record: Record, target: Target) -> Record:
        """The record with what is remembered of the revision on disk. Raises Delay and StoreFailure."""
        installed = self._home.installed(target.revision)
        admitted = await self._admit(record, target, on_disk(installed, target.statement.signature))
        return record.aiming(target, admitted=admitted)

    async def _switch(self, record: Record, target: Target) -> Step:
        record = self.measure(record)
        try:
            if target.proven:
                await asyncio.to_thread(self._home.check, target.revision)
            elif target.admitted is None:
                record = await self._admit_installed(record, target)
            await self.loader.bring_up(record, target.revision)
        except OSError:
            if not target.proven:
                await self.loader.serve_active(record)
            raise
        except StoreFailure as error:
            return await self._fetch_again(record, target, error)
        except OutOfMemory as error:
            raise no_memory(error) from error
        except Delay:
            raise
        except EdgecanaryError as error:
            return _failed(record, target, _verdict(ModelResult.PROBE_FAILED, error.reason, error.message))
        if target.proven:
            return Step(Event.RETURNED, record)
        # Not after a return: what is left then was taken back for a reason.
        self.loader.compare(record, record.active)
        return Step(Event.PASSED, record)

    async def _fetch_again(self, record: Record, target: Target, error: StoreFailure) -> Step:
        """Gives up the damaged files of the target."""
        log.error("%s: %s", self._key, error)
        await asyncio.to_thread(self._home.discard, target.revision)
        return Step(Event.BLOCKED, record.aiming(target, proven=False, admitted=None))

    async def _health(self, record: Record, target: Target) -> Step:
        if not target.statement.serve:
            refusal = await self._trial_of_files(target)
            if refusal is None:
                return Step(Event.PASSED, record)
            message = f"the application refuses it: {refusal}"
            return _failed(
                record, target, _verdict(ModelResult.HEALTH_FAILED, "RefusedByApplication", message)
            )
        before = record.figures_of(record.active)
        found = await self.watch(target.revision, lambda: (target.health, before)).soak(target.crashes)
        if found is None:
            return Step(Event.PASSED, record)
        return _failed(record, target, _verdict(ModelResult.HEALTH_FAILED, found.reason, found.message))

    async def _trial_of_files(self, target: Target) -> str | None:
        """Why the application refuses files that it runs itself. Raises Delay while it does not answer."""
        news = News(self._key, self._home.installed(target.revision), trial=True)
        try:
            return await self._shop.notifier.trial(news, target.health.soak_seconds)
        except Unavailable as error:
            verdict = _verdict(ModelResult.NONE, "NotifyUnanswered", str(error))
            raise Delay(verdict, after_seconds=ASK_SECONDS) from error

    def watch(self, revision: str, measure: Measure) -> Watch:
        """Looks after a revision that serves."""
        return Watch(self._shop.server, self._key, revision, measure)

    def measure(self, record: Record) -> Record:
        """The record with the figures of the active revision as they are now."""
        if record.active is None or self.serving != record.active:
            return record
        found = figures(record.active, self._shop.server.counters(self._key, record.active))
        return record.measured(found)

    async def _commit(self, record: Record, target: Target) -> Step:
        try:
            if self.serving != target.revision:
                await asyncio.to_thread(self._home.check, target.revision)
                await self.loader.bring_up(record, target.revision)
        except StoreFailure as error:
            return await self._fetch_again(record, target, error)
        await self.loader.point(target.revision)
        await asyncio.to_thread(self._home.mark_committed, target.revision)
        outcome = active(target, sequence=record.sequence, now=self._shop.clock.now())
        previous = record.active if record.active != target.revision else record.previous
        probed = {target.revision: target.probe.peak_memory_bytes} if target.probe else {}
        kept = {target.revision, previous}
        changes: dict[str, object] = {
            "active": target.revision,
            "previous": previous,
            "memory": {
                revision: count for revision, count in (record.memory | probed).items() if revision in kept
            },
            "abandoned": record.active if target.proven else None,
            "target": None,
            "outcome": outcome,
            "crashes": 0,
            "failing": None,
        }
        if self._shop.trust is not None and target.admitted is not None:
            changes["floor"] = await asyncio.to_thread(self._shop.trust.commit, self._key, target.admitted)
        return Step(Event.PASSED, record.model_copy(update=changes))

    async def _rollback(self, record: Record, target: Target) -> Step:
        back = await self._go_back(record)
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

    async def _revert(self, record: Record) -> Step:
        """Puts the previous revision in the place of the active one, which failed; rejects what failed."""
        failed, back, verdict = record.active, record.way_back, record.failing
        if failed is None or back is None or verdict is None or not await self._is_up(record, back):
            return Step(Event.BLOCKED, record.model_copy(update={"previous": None, "target": None}))
        now, target = self._shop.clock.now(), record.target
        if target is not None and target.verdict is not None:
            record = record.rejecting(
                Rejection(revision=target.revision, attempt=target.attempt, verdict=target.verdict, time=now)
            )
        message = f"{verdict.message}; {self._home.installed(back).version} is active again"
        told = verdict.model_copy(update={"message": message})
        attempt = record.outcome.attempt if record.outcome.desired == failed else 0
        after = record.rejecting(Rejection(revision=failed, attempt=attempt, verdict=told, time=now))
        changes = {
            "active": back,
            "previous": None,
            "target": None,
            "outcome": reverted(failed, after.rejected[-1], sequence=record.sequence),
            "crashes": 0,
            "failing": None,
        }
        return Step(Event.PASSED, after.model_copy(update=changes))

    async def _is_up(self, record: Record, revision: str) -> bool:
        """Whether the revision could be brought up, beside the failed one or in its place."""
        if self.serving == revision:
            await self.loader.point(revision)
            return True
        try:
            await asyncio.to_thread(self._home.check, revision)
            await self.loader.bring_up_alone(record, revision)
        except EdgecanaryError as error:
            log.error("%s: there is no going back to %s: %s", self._key, revision[:12], error)
            return False
        return True

    async def _go_back(self, record: Record) -> str:
        """Serves the active revision again, or nothing; says which."""
        back = record.active
        if back is None:
            await self.loader.go_down()
            return "nothing is served"
        if self.serving == back:
            await self.loader.point(back)
        else:
            await self.loader.bring_up_alone(record, back)
        return f"{self._home.installed(back).version} is active again"

    async def _withdraw(self, record: Record) -> Step:
        await self.loader.go_down()
        changes = {
            "active": None,
            "previous": record.active or record.previous,
            "target": None,
            "crashes": 0,
            "failing": None,
        }
        return Step(Event.PASSED, record.model_copy(update=changes))


def _delay(held: Held) -> Delay:
    verdict = _verdict(ModelResult.NONE, held.reason, held.message)
    return Delay(verdict, after_seconds=held.wait_seconds)


def _failed(record: Record, target: Target, verdict: Verdict) -> Step:
    return Step(Event.FAILED, record.aiming(target, verdict=verdict))


def _verdict(result: ModelResult, reason: str, message: str) -> Verdict:
    return Verdict(result=result, reason=reason, message=message)
