"""Drives one model through its states: persist, act, persist, and listen to the releases meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from edgecanary.agent.guard import Guard
from edgecanary.agent.installer import Delay
from edgecanary.agent.keeping import RecordKeeper
from edgecanary.agent.loading import claim_of
from edgecanary.agent.machine import (
    CANCELLABLE,
    INTERRUPTIBLE,
    RETREAT,
    WATCHED,
    Event,
    State,
    next_state,
)
from edgecanary.agent.memory import Member, OutOfMemory
from edgecanary.agent.orders import (
    Order,
    damaged,
    decide,
    evicted,
    is_stale,
    refresh,
    settled_outcome,
    supersedes,
    waiting,
)
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import DISK_FAILED, Outcome, Record, Verdict
from edgecanary.agent.restart import found_at_start, hold_seconds, loads_at_start
from edgecanary.agent.retry import Retry
from edgecanary.agent.steps import Step, Steps, Workshop
from edgecanary.api.edgenode import ModelResult
from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.backoff import Backoff

log = logging.getLogger(__name__)

STEADY_SECONDS = 3600.0
"""A process that ran for so long clears the count of deaths."""


@dataclass(frozen=True)
class RetryPace:
    """How fast a delayed step is tried again."""

    first_seconds: float = 1.0
    cap_seconds: float = 300.0


class Updater:
    """One model on this node. `run` ends only when it is cancelled."""

    def __init__(
        self,
        key: ModelKey,
        workshop: Workshop,
        pace: RetryPace,
        on_outcome: Callable[[], None],
        marked: frozenset[str] | None = None,
    ) -> None:
        """`on_outcome` is called when there is something new to report; `marked` is for `found_at_start`."""
        self._keeper = RecordKeeper(workshop.store, key, on_outcome)
        self.missing = False
        self._key = key
        self._shop = workshop
        self._steps = Steps(key, workshop)
        self._backoff = Backoff(pace.first_seconds, pace.cap_seconds)
        self._on_outcome = on_outcome
        self._order: Order | None = None
        self._wake = asyncio.Event()
        self._retry = Retry()
        self._marked = marked
        self._guard = Guard(self._steps, self._wake.set)
        self._steady = False
        self._held_until: float | None = None
        self._evicted = False
        workshop.memory.join(key, Member(self._may_be_evicted, self._on_evicted, self._wake.set))

    @property
    def record(self) -> Record:
        """What is known of the model."""
        return self._keeper.record

    @record.setter
    def record(self, record: Record) -> None:
        self._keeper.record = record

    def receive(self, order: Order | None) -> None:
        """Takes what the releases ask for now; None when there is no release any more."""
        self.missing = order is None
        if order is not None and is_stale(self.record, order):
            log.info("%s: sequence %d is older than one heard before: ignored", self._key, order.sequence)
            return
        if order is not None:
            self._order = order
        self._wake.set()

    def try_again(self) -> None:
        """Ends a wait: what was held up may be possible now."""
        self._wake.set()

    async def run(self) -> None:
        """Works for ever."""
        try:
            await self._restart()
            while True:
                await self._go_on()
        finally:
            await self._guard.stop()

    async def _go_on(self) -> None:
        self._take_order()
        await self._guard.keep(self.record, lambda: self.record)
        if self._guard.told:
            await self._judge()
        elif self._is_due():
            await (self._serve_again() if self._held_until else self._hold_or_serve())
        elif self.record.state is State.SETTLED and not await self._begin():
            await self._rest()
        elif self._is_superseded():
            await self._advance(Step(Event.SUPERSEDED, self.record))
        elif wait := self._retry.seconds_left(self.record.target):
            await self._sleep(wait)
        elif self.record.state is not State.SETTLED:
            await self._work()

    async def stop(self) -> None:
        """Notes that the process ends in order, so that nobody takes it for a crash. `run` has ended."""
        await self._keeper.settle()
        record = self._steps.measure(self.record)
        if self.record.state is not State.SETTLED and self.record.alive:
            record = record.model_copy(update={"alive": False})
        if record != self.record:
            self._shop.store.save(record)

    def give_up(self, error: BaseException) -> None:
        """Reports a defect of the agent that ended `run`; what is served goes on being served."""
        reason = (
            f"the agent stumbled over {type(error).__name__}: {error}; restart it, and report this defect"
        )
        delay = Delay(Verdict(result=ModelResult.NONE, reason="InternalError", message=reason))
        self.record = self.record.model_copy(update={"outcome": self._pending(delay)})
        self._on_outcome()

    async def _restart(self) -> None:
        """Applies the restart rule, serves what was active, and goes on once all that is on disk.

        Deaths are written down before anything is loaded; a disk that fails keeps nothing from being served.
        """
        found = self.record
        counted, event = found_at_start(found, self._marked)
        self.record = counted.model_copy(update={"state": next_state(found.state, event)})
        if found.state is not State.SETTLED:
            log.info("%s: found in %s, goes on in %s", self._key, found.state, self.record.state)
        recorded = (found.state is State.SETTLED and self.record == found) or await self._keeper.save(
            self.record
        )
        if loads_at_start(self.record.state):
            await self._hold_or_serve()
        await self._record_start(recorded and found.state is not State.SETTLED)
        if self.record.repair:
            self._on_outcome()
        self._backoff.reset()
        asyncio.get_running_loop().call_later(STEADY_SECONDS, self._is_steady)
        await self._keeper.clean_up(self._steps.tidy(self.record))

    async def _record_start(self, recorded: bool) -> None:
        """Records what the start came to; what is settled, or makes the node safer, does not wait for it."""
        if recorded or (
            self.record.state is State.SETTLED and not self.record.needed and not self.record.repair
        ):
            return
        waits = self.record.state is not State.SETTLED and self.record.state not in RETREAT
        while not await self._keeper.save(self.record) and waits:
            await self._pause(self._keeper.delay())

    async def _hold_or_serve(self) -> None:
        """Serves the active revision, unless it kept killing the process and nothing better is there."""
        hold = hold_seconds(self.record)
        if hold:
            log.error("%s: the active revision keeps killing the agent: not loaded for %g s", self._key, hold)
            self._held_until = asyncio.get_running_loop().time() + hold
            return
        await self._serve_again()

    def _may_be_evicted(self) -> bool:
        return self.record.state in WATCHED

    def _on_evicted(self) -> None:
        log.warning("%s: unloaded, for a model of a higher priority", self._key)
        self._steps.loader.serving, self._evicted = None, True
        self._wake.set()

    def _fits(self) -> bool:
        """Whether there is memory for the active revision that was unloaded."""
        claim = claim_of(self._shop.store.files_of(self._key), self.record, self.record.active)
        return claim is None or self._shop.memory.could_load(claim)

    def _is_due(self) -> bool:
        """Whether the active revision is to be loaded now that was held back, or lost by a revert."""
        if self.record.active is None or self.record.state not in WATCHED:
            return False
        if self._held_until is None:
            return self._steps.serving is None and (not self._evicted or self._fits())
        return asyncio.get_running_loop().time() >= self._held_until

    def _is_steady(self) -> None:
        self._steady = True
        self._wake.set()

    async def _judge(self) -> None:
        """Acts on what the guard of the active revision found."""
        found = self._guard.take()
        if found is None:
            log.info("%s: the active revision answers well again", self._key)
            await self._keeper.save(self.record.model_copy(update={"failing": None}))
            return
        verdict = Verdict(result=ModelResult.HEALTH_FAILED, reason=found.reason, message=found.message)
        log.error("%s: the active revision is beyond its limits: %s", self._key, found.message)
        record = self._steps.measure(self.record).model_copy(update={"failing": verdict})
        if record.way_back is not None:
            await self._advance(Step(Event.ACTIVE_FAILED, record))
        elif not await self._keeper.save(record):
            self._keeper.go_ahead(record)

    async def _serve_again(self) -> None:
        self._held_until, self._evicted, lost = None, False, self.record.active
        while True:
            self._take_order()
            try:
                self.record = await self._steps.resume(self.record)
                break
            except OutOfMemory as error:
                log.warning("%s: not loaded: %s", self._key, error)
                self._evicted = True
                return
            except Delay as delay:
                await self._pause(delay)
        if lost and self.record.active != lost:
            await self._note(damaged(lost, self.record, self._shop.clock.now()))

    def _take_order(self) -> None:
        """Puts what the latest order says into the record."""
        self._wake.clear()
        if self._order is None:
            return
        changes: dict[str, object] = {
            "release_uid": self._order.release_uid,
            "sequence": self._order.sequence,
        }
        if self._order.target is not None:
            changes |= {"health": self._order.target.health, "priority": self._order.target.priority}
        if self.record.target is not None and self.record.state not in RETREAT:
            changes["target"] = refresh(self.record.target, self._order)
        self.record = self.record.model_copy(update=changes)

    async def _begin(self) -> bool:
        """Starts what the order asks of a settled record; False when there is nothing to do."""
        order = self._order
        event = decide(self.record, order) if order is not None and not self.missing else None
        if order is None or event is None:
            return False
        target = order.given(self.record.active).target
        if target is not None:
            target = target.model_copy(update={"proven": event is Event.RETURNED})
            log.info("%s: %s: %s is wanted", self._key, event, target.statement.version)
        self._backoff.reset()
        await self._advance(Step(event, self.record.model_copy(update={"target": target})))
        return True

    async def _rest(self) -> None:
        """Says how things stand and waits for the next order."""
        order, outcome = self._order, self.record.outcome
        if self._evicted and self.record.active is not None:
            outcome = evicted(self.record, sequence=self.record.sequence, now=self._shop.clock.now())
        elif self.missing and outcome.desired is not None:
            message = "the ModelRelease is gone; what is active goes on being served"
            outcome = outcome.model_copy(update={"reason": "ReleaseMissing", "message": message})
        elif order is not None and not self.missing:
            outcome = settled_outcome(self.record, order, self._shop.clock.now())
        if self.record.trouble:
            await self._keeper.save(self.record)
        await self._note(outcome)
        if self._steady:
            await self._note_steady()
        if not self._wake.is_set():
            await self._keeper.clean_up(self._steps.tidy(self.record))
            waits = [self._seconds_held(), self._backoff.next() if self.record.trouble else None]
            await self._sleep(min((wait for wait in waits if wait is not None), default=None))

    async def _note_steady(self) -> None:
        """Forgets deaths long past, and keeps the figures of the active revision."""
        self._steady = False
        record = self._steps.measure(self.record).model_copy(update={"crashes": 0})
        if record != self.record:
            await self._keeper.save(record)

    def _seconds_held(self) -> float | None:
        if self._held_until is None:
            return None
        return max(0.0, self._held_until - asyncio.get_running_loop().time())

    async def _sleep(self, seconds: float | None) -> None:
        """Waits for an order, or anything else that wakes, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    async def _work(self) -> None:
        """Does the state's work; a new order may break it off."""
        work = asyncio.ensure_future(self._steps.act(self.record))
        heard = False
        try:
            while not work.done():
                wake = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait((work, wake), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    wake.cancel()
                if self._wake.is_set():
                    self._take_order()
                    heard = True
                    if not work.done() and self._breaks_off():
                        return
            if heard:
                # The work began before the order: no wait that it asks for may outlast the order.
                self._wake.set()
            await self._finish(work)
        finally:
            await _end(work)

    def _breaks_off(self) -> bool:
        if self._guard.told:
            return True
        if self.record.state is State.WINDOW:
            return True
        return self._is_superseded() and self.record.state in CANCELLABLE

    def _is_superseded(self) -> bool:
        order = self._order
        if order is None or self.missing or self.record.state not in INTERRUPTIBLE:
            return False
        return supersedes(self.record, order)

    async def _finish(self, work: "asyncio.Future[Step]") -> None:
        try:
            step = work.result()
        except Delay as delay:
            blocked = next_state(self.record.state, Event.BLOCKED)
            if blocked is not self.record.state:
                await self._keeper.save(self.record.model_copy(update={"state": blocked}))
            await self._pause(delay)
        except (OSError, EdgecanaryError) as error:
            reason = error.reason if isinstance(error, EdgecanaryError) else DISK_FAILED
            message = f"{self.record.state}: {error}"
            await self._pause(Delay(Verdict(result=ModelResult.NONE, reason=reason, message=message)))
        else:
            await self._advance(step)

    async def _advance(self, step: Step) -> None:
        """Enters the next state, on disk first. When the disk fails, only a retreat goes ahead."""
        state = next_state(self.record.state, step.event)
        changes: dict[str, object] = {"state": state}
        if step.event is Event.SUPERSEDED and state is State.SETTLED:
            changes["target"] = None
        record = step.record.model_copy(update=changes)
        before = self.record.outcome
        log.debug("%s: %s, %s: %s", self._key, self.record.state, step.event, state)
        if not await self._keeper.save(record):
            if state not in RETREAT and step.event is not Event.RETURNED:
                await self._pause(self._keeper.delay())
                return
            self._keeper.go_ahead(record)
        if record.outcome.is_news_after(before):
            log.info("%s: %s: %s", self._key, record.outcome.state, record.outcome.message)
            self._on_outcome()

    async def _pause(self, delay: Delay) -> None:
        """Reports why the work is held up, and waits for the next try or an order."""
        await self._note(self._pending(delay))
        seconds = delay.after_seconds
        if seconds is None and delay.retry:
            seconds = self._backoff.next(delay.left_alone_seconds)
            if delay.is_delivery:
                self._retry.put_off(self.record.target, seconds)
        await self._sleep(seconds)

    def _pending(self, delay: Delay) -> Outcome:
        return waiting(self.record, delay.verdict, self._shop.clock.now())

    async def _note(self, outcome: Outcome) -> None:
        """Keeps an outcome that says something new, and has it reported when it is worth that."""
        before = self.record.outcome
        if not outcome.differs_from(before):
            return
        log.info("%s: %s (%s): %s", self._key, outcome.state, outcome.reason, outcome.message)
        record = self.record.model_copy(update={"outcome": outcome})
        if not await self._keeper.save(record):
            self._keeper.go_ahead(record)
        if outcome.is_news_after(before):
            self._on_outcome()


async def _end(task: "asyncio.Future[Step]") -> None:
    """Cancels a task and waits until it is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, EdgecanaryError, OSError):
        await task
