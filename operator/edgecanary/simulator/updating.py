"""The update of a model on a simulated node: the agent's own decisions on simulated work.

What may follow what, what a release asks, what a restart makes of a record and what is reported are the
agent's own code. Simulated are only how long the work takes and whether it goes well.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from edgecanary.agent.health import SoakOutcome, soak_verdict
from edgecanary.agent.machine import CANCELLABLE, INTERRUPTIBLE, RETREAT, Event, State, next_state
from edgecanary.agent.orders import Order, decide, refresh, settled_outcome, supersedes
from edgecanary.agent.ports import HealthCounters, ModelKey
from edgecanary.agent.record import Outcome, Record, Target, Verdict, new_record
from edgecanary.agent.report import model_status
from edgecanary.api.edgenode import ModelResult, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.simulator.clockwork import Clockwork, Timer
from edgecanary.simulator.fleet import NodeTraits
from edgecanary.simulator.settings import Trouble, Version
from edgecanary.simulator.work import Calendar, Delayed, committed, delayed, rolled_back, withdrawn

SECONDS = {
    State.ACCEPTED: 0.0,
    State.PRECHECK: 0.0,
    State.VERIFY: 1.0,
    State.STAGE: 1.0,
    State.PROBE: 8.0,
    State.WINDOW: 0.0,
    State.SWITCH: 1.0,
    State.COMMIT: 0.0,
    State.ROLLBACK: 1.0,
    State.WITHDRAW: 1.0,
}
"""How long the work of a state takes; DOWNLOAD and HEALTH take as long as link and soak say."""

RETRY_FIRST, RETRY_CAP = 1.0, 300.0
RESTART_SECONDS = 15.0
"""From the death of a process to the start of the next one."""


class Surroundings(Protocol):
    """What is around a node."""

    clockwork: Clockwork
    trouble: Trouble
    calendar: Calendar

    @property
    def release(self) -> ModelRelease | None:
        """The release as the API server has it."""
        ...

    def version(self, revision: str) -> Version:
        """How a revision behaves."""
        ...

    def answered(self, node: str, revision: str, since: float) -> HealthCounters:
        """What the node has answered with the revision since that moment."""
        ...

    def serves(self, node: str, revision: str | None) -> None:
        """The node serves another revision from now on, or none."""
        ...

    def dies(self, node: str) -> None:
        """The revision on trial kills the node's process."""
        ...

    def reported(self, node: str, status: NodeModelStatus) -> None:
        """The node's report has something new."""
        ...


class Updating:
    """The update of one model on one node, driven by simulated work as the agent's updater is by real work."""

    def __init__(self, traits: NodeTraits, key: ModelKey, world: Surroundings) -> None:
        self.traits = traits
        self.record: Record = new_record(key)
        self.online = True
        self.powered = True
        self.serving: str | None = None
        self.disk: set[str] = set()
        """Revisions whose files are on the node's disk."""
        self._world = world
        self._random = Random(traits.seed)  # noqa: S311 - a simulation, no secret
        self._order: Order | None = None
        self._heard: ModelRelease | None = None
        self._missing = False
        self._work: Timer | None = None
        self._retry: Timer | None = None
        self._failures = 0
        self._bytes_left: float | None = None
        self._since = 0.0
        self._work_of: Mapping[State, Callable[[Target], None]] = {
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
            State.ROLLBACK: self._roll_back,
        }
        self.told: NodeModelStatus | None = None
        """The last report."""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.traits.name

    def tell(self) -> None:
        """Reports what is new, when the network lets it."""
        status = model_status(self.record)
        if self.online and status != self.told:
            self.told = status
            self._world.reported(self.name, status)

    def _wake(self) -> None:
        """An order came: it may break off the work, or end a wait before the next try."""
        if self._work is not None:
            self._take_order()
            if not self._breaks_off():
                return
            self._stop_work()
        self._stop_retry()
        self._drive()

    def _breaks_off(self) -> bool:
        if self.record.state is State.WINDOW:
            return True
        return self._is_superseded() and self.record.state in CANCELLABLE

    def _is_superseded(self) -> bool:
        if self._order is None or self._missing or self.record.state not in INTERRUPTIBLE:
            return False
        return supersedes(self.record, self._order)

    def _drive(self) -> None:
        """Works until something takes time, or nothing is left to do."""
        while self._work is None and self._retry is None and self.powered:
            self._take_order()
            if self.record.state is State.SETTLED:
                if not self._begin():
                    self._rest()
                    return
            elif self._is_superseded():
                self._advance(Event.SUPERSEDED)
            else:
                self._start_work()

    def _take_order(self) -> None:
        if self._order is None:
            return
        changes: dict[str, object] = {
            "release_uid": self._order.release_uid,
            "sequence": self._order.sequence,
        }
        if self.record.target is not None and self.record.state not in RETREAT:
            changes["target"] = refresh(self.record.target, self._order)
        self.record = self.record.model_copy(update=changes)

    def _begin(self) -> bool:
        order = self._order
        event = decide(self.record, order) if order is not None and not self._missing else None
        if order is None or event is None:
            return False
        target = order.target
        if target is not None:
            target = target.model_copy(update={"proven": event is Event.RETURNED})
        self.record = self.record.model_copy(update={"target": target})
        self._failures, self._bytes_left = 0, None
        self._advance(event)
        return True

    def _rest(self) -> None:
        outcome = self.record.outcome
        if self._missing and outcome.desired is not None:
            message = "the ModelRelease is gone; what is active goes on being served"
            outcome = outcome.model_copy(update={"reason": "ReleaseMissing", "message": message})
        elif self._order is not None and not self._missing:
            outcome = settled_outcome(self.record, self._order, self._clock())
        self._note(outcome)
        self.disk &= self.record.needed

    def _start_work(self) -> None:
        state, target = self.record.state, self.record.target
        seconds = SECONDS.get(state, 0.0)
        if state is State.DOWNLOAD and target is not None:
            if not self.online:
                self._delay(delayed(ModelResult.DOWNLOAD_FAILED, "Unreachable", "no network"))
                return
            seconds = self._download_seconds(self._world.version(target.revision))
        elif state is State.HEALTH and target is not None:
            seconds = self._soak_seconds(target)
        elif state is State.WINDOW and target is not None:
            seconds = self._world.calendar.wait(target.windows, self._clock())
        if seconds <= 0:
            self._finish()
        else:
            self._work = self._world.clockwork.after(seconds, self._finish)

    def _download_seconds(self, version: Version) -> float:
        if self._bytes_left is None:
            self._bytes_left = 8 * version.megabytes * self._random.lognormvariate(0.0, 0.5)
        return self._bytes_left / self.traits.link.megabits

    def _soak_seconds(self, target: Target) -> float:
        """The soak, or the moment within it at which the revision kills the process."""
        version, soak = self._world.version(target.revision), float(target.health.soak_seconds)
        if target.statement.serve and self._is_hit(version.crashes, target, "crashes"):
            return soak * self._random.random()
        return soak if target.statement.serve else 0.0

    def _finish(self) -> None:
        """The state's work has come to its end."""
        self._work = None
        state, target = self.record.state, self.record.target
        if state is State.WITHDRAW:
            self._serve(None)
            self.record = withdrawn(self.record)
            self._advance(Event.PASSED)
        elif target is not None:
            work = self._work_of.get(state)
            if work is None:
                self._advance(Event.PASSED)
            else:
                work(target)
        self._drive()

    def _accept(self, target: Target) -> None:
        rejected = tuple(entry for entry in self.record.rejected if entry.revision != target.revision)
        self.record = self.record.model_copy(update={"rejected": rejected})
        self._advance(Event.PASSED)

    def _precheck(self, target: Target) -> None:
        if target.misfit:
            self._delay(delayed(ModelResult.PRECHECK_FAILED, "NoVariantFits", target.misfit, retry=False))
        else:
            self._advance(Event.PASSED)

    def _download(self, target: Target) -> None:
        version = self._world.version(target.revision)
        broken = self._is_hit(version.undownloadable, target, "undownloadable")
        if broken or self._random.random() < self._world.trouble.download:
            self._delay(delayed(ModelResult.DOWNLOAD_FAILED, "DownloadFailed", "the connection broke"))
            return
        self._bytes_left = None
        self._advance(Event.PASSED)

    def _verify(self, target: Target) -> None:
        if self._random.random() < self._world.trouble.verify:
            self._delay(
                delayed(
                    ModelResult.VERIFY_FAILED,
                    "DigestMismatch",
                    f"{target.variant.name}: wrong bytes",
                )
            )
        else:
            self._advance(Event.PASSED)

    def _stage(self, target: Target) -> None:
        self.disk.add(target.revision)
        self._advance(Event.PASSED)

    def _probe(self, target: Target) -> None:
        if self._is_hit(self._world.version(target.revision).probe_fails, target, "probe"):
            self._fail(
                target, ModelResult.PROBE_FAILED, "GoldenMismatch", "output y differs from the golden one"
            )
        else:
            self._advance(Event.PASSED)

    def _window(self, target: Target) -> None:
        if self._world.calendar.wait(target.windows, self._clock()) <= 0:
            self._advance(Event.PASSED)

    def _switch(self, target: Target) -> None:
        if self._is_hit(self._world.version(target.revision).load_fails, target, "load"):
            self._fail(
                target, ModelResult.PROBE_FAILED, "ModelLoadFailed", "it does not load beside the old one"
            )
            return
        self._serve(target.revision)
        self._since = self._world.clockwork.now
        self._advance(Event.RETURNED if target.proven else Event.PASSED)

    def _health(self, target: Target) -> None:
        elapsed = self._world.clockwork.now - self._since
        if target.statement.serve and elapsed < target.health.soak_seconds:
            self._world.dies(self.name)
            return
        counters = self._world.answered(self.name, target.revision, self._since)
        found = soak_verdict(counters, target.health, elapsed, crashes=target.crashes)
        if found.outcome is SoakOutcome.FAILED:
            self._fail(target, ModelResult.HEALTH_FAILED, found.reason, found.message)
        else:
            self._advance(Event.PASSED)

    def _commit(self, target: Target) -> None:
        if self.serving != target.revision:
            self._serve(target.revision)
        self._advance(Event.PASSED, committed(self.record, target, self._clock()))

    def _roll_back(self, target: Target) -> None:
        self._serve(self.record.active)
        self._advance(Event.PASSED, rolled_back(self.record, target, self._clock()))

    def _fail(self, target: Target, result: ModelResult, reason: str, message: str) -> None:
        verdict = Verdict(result=result, reason=reason, message=message)
        failed = target.model_copy(update={"verdict": verdict})
        self._advance(Event.FAILED, self.record.model_copy(update={"target": failed}))

    def _is_hit(self, share: float, target: Target, what: str) -> bool:
        """Whether the node is among the share that a version's trouble is for: the same ones every time."""
        return share > 0 and self.traits.luck(f"{target.revision}/{what}") < share

    def _advance(self, event: Event, record: Record | None = None) -> None:
        record = record or self.record
        state = next_state(self.record.state, event)
        changes: dict[str, object] = {"state": state, "alive": True}
        if event is Event.SUPERSEDED and state is State.SETTLED:
            changes["target"] = None
        before, self.record = self.record.outcome, record.model_copy(update=changes)
        if self.record.outcome.is_news_after(before):
            self.tell()

    def _delay(self, delay: Delayed) -> None:
        blocked = next_state(self.record.state, Event.BLOCKED)
        self.record = self.record.model_copy(update={"state": blocked})
        self._note(delay.outcome(self.record, self._clock()))
        if delay.retry and self.online:
            bound = min(RETRY_CAP, RETRY_FIRST * 2 ** min(self._failures, 32))
            self._failures += 1
            self._retry_in(self._random.uniform(0, bound))
        else:
            self._retry = Timer(math.inf)

    def _retry_in(self, seconds: float) -> None:
        self._retry = self._world.clockwork.after(seconds, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._drive()

    def _note(self, outcome: Outcome) -> None:
        before = self.record.outcome
        if not outcome.differs_from(before):
            return
        self.record = self.record.model_copy(update={"outcome": outcome})
        if outcome.is_news_after(before):
            self.tell()

    def _serve(self, revision: str | None) -> None:
        if revision != self.serving:
            self.serving = revision
            self._world.serves(self.name, revision)

    def _stop_work(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = None

    def _stop_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _clock(self) -> datetime:
        return self._world.clockwork.time + timedelta(seconds=self.traits.clock_offset)
