"""Looks after the active revision of a model for as long as it serves, beside all other work on the model."""

import asyncio
import contextlib
from collections.abc import Callable

from edgecanary.agent.health import Fault, Figures
from edgecanary.agent.machine import WATCHED
from edgecanary.agent.record import Record
from edgecanary.agent.steps import Steps
from edgecanary.api.policy import DeviceHealth

_Charge = tuple[str, bool]
"""A revision, and whether it is beyond its limits already: then its recovery is waited for."""


class Guard:
    """The watch over one model's active revision; it runs while that revision is what serves."""

    def __init__(self, steps: Steps, on_told: Callable[[], None]) -> None:
        """`on_told` is called when there is something to `take`."""
        self._steps = steps
        self._on_told = on_told
        self._charge: _Charge | None = None
        self._task: asyncio.Task[Fault | None] | None = None

    @property
    def told(self) -> bool:
        """Whether something was found: a fault, or that all is well again."""
        return self._task is not None and self._task.done()

    def take(self) -> Fault | None:
        """What was found; None when the revision recovered. Ends the watch, for `keep` to begin another."""
        if self._task is None:
            raise RuntimeError("nothing was watched")
        found, self._task, self._charge = self._task.result(), None, None
        return found

    async def keep(self, record: Record, current: Callable[[], Record]) -> None:
        """Watches what the record says is active and serves; `current` gives the record as it is at any time."""
        charge = self._charge_of(record)
        if charge == self._charge:
            return
        await self.stop()
        if charge is not None:
            self._charge = charge
            self._task = asyncio.create_task(self._watch(charge, current), name=f"guard {charge[0][:8]}")
            self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Ends the watch."""
        task, self._task, self._charge = self._task, None, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _charge_of(self, record: Record) -> _Charge | None:
        if record.state not in WATCHED or record.active is None or self._steps.serving != record.active:
            return None
        return record.active, record.failing is not None

    async def _watch(self, charge: _Charge, current: Callable[[], Record]) -> Fault | None:
        revision, failing = charge

        def measure() -> tuple[DeviceHealth, Figures | None]:
            record = current()
            return record.health, record.figures_of(record.previous)

        watch = self._steps.watch(revision, measure)
        if failing:
            await watch.recovery()
            return None
        return await watch.fault()

    def _ended(self, task: "asyncio.Task[Fault | None]") -> None:
        if task is self._task:
            self._on_told()
