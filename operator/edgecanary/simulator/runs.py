"""One rollout played through, and what is worth knowing of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome, RolloutStatus
from edgecanary.rollout.conditions import find_condition
from edgecanary.simulator.fleet import NodeTraits
from edgecanary.simulator.settings import DAY, HOUR, FleetSettings, Version
from edgecanary.simulator.simulation import Simulation

BEFORE = Version("stable")
SET_AT = 60.0
"""When the new version is set."""

AFTERMATH = DAY
"""So long after a rollback is watched who still serves the version: nodes that were offline."""


APPROVAL = HOUR
"""So long after a step with manual approval asks for it, it is promoted."""

HOPELESS = frozenset({"AwaitingRollback", "DeadlineExceeded", "InvalidSpec", "Paused", "TooManyStrata"})
"""Reasons that end a run: nothing goes on until a person decides, and nobody does here."""


@dataclass(frozen=True)
class Case:
    """What is to be played: a Rollout for a fleet that runs one version already and gets the next one."""

    rollout: Rollout
    nodes: Sequence[NodeTraits]
    settings: FleetSettings
    version: Version
    days: float
    base: EdgeModelSpec | None = None


@dataclass(frozen=True)
class StepResult:
    """A step of one run. Times in seconds since the version was set; `end` None: it was never left."""

    name: str
    begin: float
    end: float | None
    nodes: int
    verdict: str
    """passed, rejected or open."""


@dataclass(frozen=True)
class RunResult:
    """One run. `reason` is that of the rollback, or of what is waited for at the end."""

    seed: int
    outcome: str
    reason: str
    seconds: float
    steps: tuple[StepResult, ...]
    exposed: int
    answers: float
    bad: float
    excess: float
    """Bad answers beyond those that the version before would have given."""
    reach: tuple[tuple[float, int], ...]
    """When how many nodes ran the version, as the operator saw it."""


@dataclass
class Recorder:
    """Watches the status of one revision's rollout."""

    simulation: Simulation
    revision: str
    begin: float
    steps: list[StepResult] = field(default_factory=list)
    reach: list[tuple[float, int]] = field(default_factory=list)
    end: HistoryEntry | None = None
    ended: float = 0.0
    _last: RolloutStatus | None = None

    def look(self) -> None:
        """Takes in the status when it has changed."""
        status = self.simulation.status
        if status is self._last:
            return
        self._last = status
        moment = self.simulation.clockwork.now - self.begin
        if status.canary is not None and status.canary.revision == self.revision and status.step is not None:
            self._step(status, moment)
            self._reach(moment, status.nodes.updated)
        elif self.end is None and status.history and status.history[-1].revision == self.revision:
            self.end, self.ended = status.history[-1], moment
            promoted = self.end.outcome is HistoryOutcome.PROMOTED
            self._close(moment, "passed" if promoted else "rejected")
            self._reach(moment, status.nodes.updated if promoted else 0)

    def _step(self, status: RolloutStatus, moment: float) -> None:
        step = status.step
        if step is None:
            return
        if self.steps and self.steps[-1].name == step.name and self.steps[-1].end is None:
            last = self.steps[-1]
            nodes = max(last.nodes, status.nodes.in_step)
            self.steps[-1] = StepResult(last.name, last.begin, None, nodes, last.verdict)
            return
        self._close(moment, "passed")
        self.steps.append(StepResult(step.name, moment, None, status.nodes.in_step, "open"))

    def _close(self, moment: float, verdict: str) -> None:
        if self.steps and self.steps[-1].end is None:
            last = self.steps[-1]
            self.steps[-1] = StepResult(last.name, last.begin, moment, last.nodes, verdict)

    def _reach(self, moment: float, nodes: int) -> None:
        if not self.reach or self.reach[-1][1] != nodes:
            self.reach.append((moment, nodes))


def play(case: Case, seed: int, *, whole: bool = False) -> tuple[RunResult, Simulation]:
    """One run. It ends with the rollout (a rollback: a day later), or with `whole` after all its days."""
    simulation = Simulation(case.rollout, case.nodes, case.settings, seed=seed, base=case.base)
    simulation.run_already(BEFORE)
    simulation.run(SET_AT)
    simulation.set_model(case.version)
    recorder = Recorder(simulation, simulation.revision(case.version), SET_AT)
    simulation.clockwork.watch(recorder.look)
    last = SET_AT + case.days * DAY
    while simulation.clockwork.now < last and (whole or not _is_over(recorder)):
        simulation.run(min(last, simulation.clockwork.now + HOUR))
        if _ready(simulation.status) == "AwaitingApproval":
            simulation.run(min(last, simulation.clockwork.now + APPROVAL))
            simulation.annotate("promote", f"at-{simulation.clockwork.now:.0f}")
    if recorder.end is not None and recorder.end.outcome is not HistoryOutcome.PROMOTED and not whole:
        simulation.run(min(last, SET_AT + recorder.ended + AFTERMATH))
    simulation.telemetry.advance(simulation.clockwork.now)
    return _result(recorder, seed), simulation


def _is_over(recorder: Recorder) -> bool:
    return recorder.end is not None or _ready(recorder.simulation.status) in HOPELESS


def _ready(status: RolloutStatus) -> str:
    ready = find_condition(status.conditions, ConditionType.READY)
    return ready.reason if ready else ""


def _result(recorder: Recorder, seed: int) -> RunResult:
    simulation = recorder.simulation
    harm = simulation.telemetry.harm[recorder.revision]
    ended = recorder.end
    reason = _reason(simulation.status, recorder.revision) if ended else _ready(simulation.status)
    return RunResult(
        seed=seed,
        outcome=ended.outcome.value if ended else "InProgress",
        reason=reason,
        seconds=recorder.ended if ended else simulation.clockwork.now - recorder.begin,
        steps=tuple(recorder.steps),
        exposed=len(simulation.exposed.get(recorder.revision, ())),
        answers=harm.answers,
        bad=harm.bad,
        excess=harm.bad - harm.expected,
        reach=tuple(recorder.reach),
    )


def _reason(status: RolloutStatus, revision: str) -> str:
    rejected = next((entry for entry in status.rejected if entry.revision == revision), None)
    return rejected.reason if rejected else "Promoted"
