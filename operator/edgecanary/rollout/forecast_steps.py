"""The steps of a rollout that has not begun, in time.

Times are the earliest possible ones: nodes switch as soon as their window is open, no download takes time,
every node passes, and approvals are given at once when a step's bake is over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edgecanary.analysis.counting import tick_seconds
from edgecanary.analysis.prospect import Grid
from edgecanary.api.fields import ApiModel
from edgecanary.api.rollout import Decided, RolloutSpec, Step
from edgecanary.rollout.forecast_cohorts import Cohort, Fleet, Occasion
from edgecanary.rollout.forecast_gates import (
    GateForecast,
    GateOutlook,
    GateScene,
    Group,
    StepTimes,
    forecast_gate,
)
from edgecanary.rollout.forecast_windows import zoned
from edgecanary.rollout.windows import opening


class StratumForecast(ApiModel):
    """One stratum in one step: how many nodes have the canary, and who takes it now."""

    stratum: dict[str, str]
    members: int
    nodes: int
    added: tuple[str, ...]


class StepForecast(ApiModel):
    """One step. Times are None when it is not reached by itself: a step before it never ends."""

    position: int
    name: str
    share: str
    nodes: int
    added: int
    adopted: int
    """Of `added`, those that run the revision already."""
    online: int
    """Of `nodes`, those whose Node is Ready now."""
    strata: tuple[StratumForecast, ...]
    approval: Decided
    start: datetime | None = None
    switch: datetime | None = None
    """When its nodes may switch: the start, or the next update window."""
    bake_start: datetime | None = None
    bake_end: datetime | None = None
    deadline: datetime | None = None
    end: datetime | None = None
    gates: tuple[GateForecast, ...] = ()


def forecast_steps(occasion: Occasion, fleet: Fleet, chosen: Sequence[Cohort]) -> tuple[StepForecast, ...]:
    """Each step with its nodes, times and gates."""
    found: list[StepForecast] = []
    clock = _Clock(occasion, tuple(fleet.nodes))
    for cohort in chosen:
        times = clock.step(cohort)
        gates = clock.gates(cohort, times)
        step = StepForecast(
            position=cohort.position,
            name=cohort.step.name,
            share=_share(cohort.step),
            nodes=cohort.size,
            added=cohort.growth,
            adopted=sum(name in fleet.adopted for names in cohort.added.values() for name in names),
            online=sum(fleet.nodes[name].online for names in cohort.nodes.values() for name in names),
            strata=_strata(occasion.rollout.spec, fleet, cohort),
            approval=cohort.step.approval,
            gates=gates,
        )
        found.append(clock.finish(step, times))
    return tuple(found)


def _strata(spec: RolloutSpec, fleet: Fleet, cohort: Cohort) -> tuple[StratumForecast, ...]:
    return tuple(
        StratumForecast(
            stratum=dict(zip(spec.strategy.stratify_by, stratum, strict=True)),
            members=len(names),
            nodes=len(cohort.nodes[stratum]),
            added=cohort.added[stratum],
        )
        for stratum, names in sorted(fleet.members.items())
    )


def _share(step: Step) -> str:
    if step.percent is not None:
        return f"{step.percent} %"
    return f"{step.nodes} node" + ("" if step.nodes == 1 else "s")


@dataclass(frozen=True)
class _Times:
    """A step's times that do not depend on its gates."""

    start: datetime
    switch: datetime
    bake_start: datetime
    bake_end: datetime
    deadline: datetime


class _Clock:
    """Goes through the steps in time.

    After a step that never ends it goes on as if a person had ended it with its bake, so that the gates of the
    steps behind it can be told; those steps get no times of their own.
    """

    def __init__(self, occasion: Occasion, fleet: tuple[str, ...]) -> None:
        self._occasion = occasion
        self._fleet = fleet
        self._spec = occasion.rollout.spec
        self._windows = zoned(self._spec.update_windows)
        self._at = occasion.now
        self._reached = True
        self._origin: datetime | None = None
        self._groups: list[Group] = []

    def step(self, cohort: Cohort) -> _Times:
        """The step's times; a step whose nodes can never switch is not reached."""
        switch = self._switch(cohort.growth)
        if switch is None:
            self._reached = False
        soak = self._spec.health.soak_seconds if cohort.growth else 0
        bake_start = (switch or self._at) + timedelta(seconds=soak)
        return _Times(
            start=self._at,
            switch=switch or self._at,
            bake_start=bake_start,
            bake_end=bake_start + timedelta(seconds=cohort.step.bake_seconds),
            deadline=self._at + timedelta(seconds=self._spec.strategy.step_deadline_seconds),
        )

    def _switch(self, growth: int) -> datetime | None:
        state = opening(self._windows, self._at)
        return self._at if state.open or not growth else state.changes_at

    def gates(self, cohort: Cohort, times: _Times) -> tuple[GateForecast, ...]:
        """The outlook of each gate in the step."""
        analysis = self._spec.analysis
        if analysis is None or cohort.size == 0:
            return ()
        self._origin = self._origin or times.switch
        if cohort.growth:
            names = tuple(name for added in cohort.added.values() for name in added)
            self._groups.append(Group(names, self._seconds(times.switch)))
        scene = GateScene(
            fleet=self._fleet,
            groups=tuple(self._groups),
            times=StepTimes(
                self._seconds(times.bake_start), self._seconds(times.bake_end), self._seconds(times.deadline)
            ),
            grid=Grid(
                analysis.history_seconds, tick_seconds(analysis.history_seconds, analysis.interval_seconds)
            ),
            first=self._occasion.first,
        )
        return tuple(
            forecast_gate(metric, self._occasion.rates.get(metric.name), scene) for metric in analysis.metrics
        )

    def _seconds(self, moment: datetime) -> float:
        return (moment - (self._origin or moment)).total_seconds()

    def finish(self, step: StepForecast, times: _Times) -> StepForecast:
        """The step with its times, if it is reached by itself; the next one starts at its end."""
        end = _end(step, times)
        self._at = end or times.bake_end
        if not self._reached:
            return step
        self._reached = end is not None
        return step.model_copy(
            update={
                "start": times.start,
                "switch": times.switch,
                "bake_start": times.bake_start,
                "bake_end": times.bake_end,
                "deadline": times.deadline,
                "end": end,
            }
        )


def _end(step: StepForecast, times: _Times) -> datetime | None:
    """When the step is complete: nobody is never complete, nor is a gate without data."""
    deciding = [gate for gate in step.gates if gate.decides]
    if step.nodes == 0 or any(gate.outlook is GateOutlook.NEVER for gate in deciding):
        return None
    waits = [gate.ready_seconds for gate in deciding if gate.ready_seconds is not None]
    end = max(times.bake_end, times.bake_start + timedelta(seconds=math.ceil(max(waits, default=0))))
    return end if end <= times.deadline else None
