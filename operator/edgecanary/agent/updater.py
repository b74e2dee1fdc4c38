"""Drives one model through its states: persist, act, persist, and listen to the releases meanwhile."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from edgecanary.agent.installer import Delay
from edgecanary.agent.machine import (
    CANCELLABLE,
    INTERRUPTIBLE,
    RETREAT,
    Event,
    State,
    next_state,
)
from edgecanary.agent.orders import Order, decide, is_stale, refresh, settled_outcome, supersedes
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import DISK_FAILED, Outcome, Record, Verdict
from edgecanary.agent.recordfile import Found
from edgecanary.agent.restart import found_at_start
from edgecanary.agent.steps import Step, Steps, Workshop
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.backoff import Backoff

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPace:
    """How fast a delayed step is tried again."""

    first_seconds: float = 1.0
    cap_seconds: float = 300.0


class Updater:
    """One model on this node. `run` ends only when it is cancelled."""

    def __init__(
        self, key: ModelKey, workshop: Workshop, pace: RetryPace, on_outcome: Callable[[], None]
    ) -> None:
        """`on_outcome` is called when there is something new to report."""
        self.record: Record = _taken_up(workshop.store.find(key))
        self.missing = False
        self._key = key
        self._shop = workshop
        self._steps = Steps(key, workshop)
        self._backoff = Backoff(pace.first_seconds, pace.cap_seconds)
        self._on_outcome = on_outcome
        self._order: Order | None = None
        self._wake = asyncio.Event()
        self._saving: asyncio.Future[None] | None = None
        self._untidy = ""

    def receive(self, order: Order | None) -> None:
        """Takes what the releases ask for now; None when there is no release any more."""
        self.missing = order is None
        if order is not None and is_stale(self.record, order):
            log.info("%s: sequence %d is older than one heard before: ignored", self._key, order.sequence)
            return
        if order is not None:
            self._order = order
        self._wake.set()

    async def run(self) -> None:
        """Works for ever."""
        await self._restart()
        while True:
            self._take_order()
            if self.record.state is State.SETTLED and not await self._begin():
                await self._rest()
                continue
            if self._is_superseded():
                await self._advance(Step(Event.SUPERSEDED, self.record))
            elif self.record.state is not State.SETTLED:
                await self._work()

    async def stop(self) -> None:
        """Notes that the process ends in order, so that nobody takes it for a crash. `run` has ended."""
        if self._saving is not None:
            await asyncio.wait([self._saving])
        if self.record.state is not State.SETTLED and self.record.alive:
            self._shop.store.save(self.record.model_copy(update={"alive": False}))

    def give_up(self, error: BaseException) -> None:
        """Reports a defect of the agent that ended `run`; what is served goes on being served."""
        reason = (
            f"the agent stumbled over {type(error).__name__}: {error}; restart it, and report this defect"
        )
        delay = Delay(Verdict(result=ModelResult.NONE, reason="InternalError", message=reason))
        self.record = self.record.model_copy(update={"outcome": self._pending(delay)})
        self._on_outcome()

    async def _restart(self) -> None:
        """Serves what was active, applies the restart rule and records it before the target runs again."""
        found = self.record
        counted, event = found_at_start(found)
        self.record = counted.model_copy(update={"state": next_state(found.state, event)})
        if found.state is not State.SETTLED:
            log.info("%s: found in %s, goes on in %s", self._key, found.state, self.record.state)
        await self._serve_again()
        await self._record_start(found.state)
        if self.record.repair:
            self._on_outcome()
        self._backoff.reset()
        await self._tidy()

    async def _record_start(self, found: State) -> None:
        """Records what the start made of the record; what was under way waits for that, a settled one not."""
        if self.record.state is State.SETTLED and not self.record.needed and not self.record.repair:
            return
        while not await self._save(self.record) and found is not State.SETTLED:
            await self._pause(self._disk_delay())

    async def _serve_again(self) -> None:
        lost = self.record.active
        while True:
            self._take_order()
            try:
                self.record = await self._steps.resume(self.record)
                break
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
        if self.missing and outcome.desired is not None:
            message = "the ModelRelease is gone; what is active goes on being served"
            outcome = outcome.model_copy(update={"reason": "ReleaseMissing", "message": message})
        elif order is not None and not self.missing:
            outcome = settled_outcome(self.record, order, self._shop.clock.now())
        if self.record.trouble:
            await self._save(self.record)
        await self._note(outcome)
        if not self._wake.is_set():
            await self._tidy()
            pause = self._backoff.next() if self.record.trouble else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _tidy(self) -> None:
        """Cleans up; a disk that does not allow it is told of, and tried again."""
        try:
            await self._steps.tidy(self.record)
        except OSError as error:
            self._untidy = self._has_trouble(f"cannot be cleaned up: {error}")
        else:
            self._untidy = ""
            self._set_trouble("")

    async def _work(self) -> None:
        """Does the state's work; a new order may break it off."""
        work = asyncio.ensure_future(self._steps.act(self.record))
        try:
            while not work.done():
                wake = asyncio.ensure_future(self._wake.wait())
                try:
                    await asyncio.wait((work, wake), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    wake.cancel()
                if self._wake.is_set():
                    self._take_order()
                    if not work.done() and self._breaks_off():
                        return
            await self._finish(work)
        finally:
            await _end(work)

    def _breaks_off(self) -> bool:
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
                await self._save(self.record.model_copy(update={"state": blocked}))
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
        if not await self._save(record):
            if state not in RETREAT and step.event is not Event.RETURNED:
                await self._pause(self._disk_delay())
                return
            self.record = self._troubled(record)
        if record.outcome.is_news_after(before):
            log.info("%s: %s: %s", self._key, record.outcome.state, record.outcome.message)
            self._on_outcome()

    async def _pause(self, delay: Delay) -> None:
        """Reports why the work is held up, and waits for the next try or an order."""
        await self._note(self._pending(delay))
        seconds = self._backoff.next() if delay.retry else None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _pending(self, delay: Delay) -> Outcome:
        target = self.record.target
        return Outcome(
            desired=target.revision if target else self.record.active,
            state=ModelState.PENDING,
            result=delay.verdict.result,
            reason=delay.verdict.reason,
            message=delay.verdict.message,
            attempt=target.attempt if target else 0,
            sequence=self.record.sequence,
            transition_time=self._shop.clock.now(),
        )

    async def _note(self, outcome: Outcome) -> None:
        """Keeps an outcome that says something new, and has it reported when it is worth that."""
        before = self.record.outcome
        if not outcome.differs_from(before):
            return
        log.info("%s: %s (%s): %s", self._key, outcome.state, outcome.reason, outcome.message)
        record = self.record.model_copy(update={"outcome": outcome})
        if not await self._save(record):
            self.record = self._troubled(record)
        if outcome.is_news_after(before):
            self._on_outcome()

    async def _save(self, record: Record) -> bool:
        """Writes the record and makes it the current one; False when the disk fails."""
        alive = record.model_copy(update={"alive": True})
        self._saving = asyncio.ensure_future(asyncio.to_thread(self._shop.store.save, alive))
        try:
            await asyncio.shield(self._saving)
        except OSError as error:
            self._has_trouble(f"cannot be written: {error}")
            return False
        self.record = self._troubled(alive)
        self._set_trouble(self._untidy)
        return True

    def _has_trouble(self, what: str) -> str:
        """Notes, in memory, what the disk does not do; gives it back."""
        trouble = f"the data directory {self._shop.store.root} {what}; make room there, or repair it"
        self._set_trouble(trouble)
        return trouble

    def _set_trouble(self, trouble: str) -> None:
        """Has it reported that trouble began or ended."""
        before, self.record = self.record.trouble, self.record.model_copy(update={"trouble": trouble})
        if trouble and trouble != before:
            log.error("%s: %s", self._key, trouble)
        if bool(trouble) != bool(before):
            self._on_outcome()

    def _troubled(self, record: Record) -> Record:
        """The record, which is not on disk, with what is known of the disk."""
        return record.model_copy(update={"trouble": self.record.trouble})

    def _disk_delay(self) -> Delay:
        verdict = Verdict(result=ModelResult.NONE, reason=DISK_FAILED, message=self.record.trouble)
        return Delay(verdict)


def _taken_up(found: Found) -> Record:
    """The record that was found, with what had to be repaired in it."""
    if not found.repair:
        return found.record
    log.error("%s: %s", found.record.key, found.repair)
    return found.record.model_copy(update={"repair": found.repair})


def damaged(lost: str, record: Record, now: datetime) -> Outcome:
    """The outcome of an active revision that a start did not find whole."""
    instead = f"{record.active[:12]} is served instead" if record.active else "nothing is served"
    return Outcome(
        desired=lost,
        state=ModelState.PENDING,
        result=ModelResult.VERIFY_FAILED,
        reason="ActiveDamaged",
        message=f"the files of {lost[:12]} on this node are damaged or do not load; {instead}",
        sequence=record.sequence,
        transition_time=now,
    )


async def _end(task: "asyncio.Future[Step]") -> None:
    """Cancels a task and waits until it is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, EdgecanaryError, OSError):
        await task
