"""Times of earlier plans, for an operator whose clock went back."""

from dataclasses import replace
from datetime import datetime

from edgecanary.api.rollout_status import AnalysisStatus, RolloutStatus, StepStatus, Waiting
from edgecanary.rollout.snapshot import Snapshot


def none_ahead(snapshot: Snapshot, now: datetime) -> Snapshot:
    """The snapshot, with every time that the plan reckons from moved back to `now` where it lies ahead.

    A clock that was ahead leaves times in the status that are still to come. Reckoned from them, a bake would last
    until the clock gets there again; from `now` it lasts as long as it should, once more at worst.
    """
    status = snapshot.rollout.status
    changes: dict[str, object] = {}
    if status.start_time is not None and status.start_time > now:
        changes["start_time"] = now
    if status.step is not None and (step := _step(status.step, now)) is not status.step:
        changes["step"] = step
    if status.waiting is not None and status.waiting.since > now:
        changes["waiting"] = _waiting(status.waiting, now)
    if status.analysis is not None and (analysis := _analysis(status.analysis, now)) is not status.analysis:
        changes["analysis"] = analysis
    return _with_status(snapshot, status.model_copy(update=changes)) if changes else snapshot


def _step(step: StepStatus, now: datetime) -> StepStatus:
    times = {"start_time": step.start_time}
    times |= {"bake_start_time": step.bake_start_time} if step.bake_start_time else {}
    times |= {"approved_time": step.approved_time} if step.approved_time else {}
    ahead = {name: now for name, time in times.items() if time > now}
    return step.model_copy(update=ahead) if ahead else step


def _waiting(waiting: Waiting, now: datetime) -> Waiting:
    return waiting.model_copy(update={"since": now})


def _analysis(analysis: AnalysisStatus, now: datetime) -> AnalysisStatus:
    changes: dict[str, object] = {}
    if analysis.time is not None and analysis.time > now:
        changes["time"] = now
    if any(time > now for time in analysis.step_times):
        changes["step_times"] = tuple(min(time, now) for time in analysis.step_times)
    return analysis.model_copy(update=changes) if changes else analysis


def _with_status(snapshot: Snapshot, status: RolloutStatus) -> Snapshot:
    return replace(snapshot, rollout=snapshot.rollout.model_copy(update={"status": status}))
