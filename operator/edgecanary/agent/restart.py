"""What a new process makes of a record that an earlier one left. Pure."""

from edgecanary.agent.machine import BLAMED, RETREAT, TRANSITIONS, TRIAL, Event, State, restart_event
from edgecanary.agent.record import Record, Verdict
from edgecanary.api.edgenode import ModelResult

_FIRST_HOLD_SECONDS = 60.0
_HOLD_CAP_SECONDS = 3600.0


def found_at_start(record: Record, marked: frozenset[str] | None = None) -> tuple[Record, Event]:
    """What a new process makes of a record: a death is counted, and too many are a verdict.

    `marked` are the model's revisions that were being loaded or running when the last process died; None when
    nothing says which model of the node was. Then a death counts against whatever was on trial.
    """
    record, event = _blame_target(record, marked)
    if event is Event.CRASHED:
        return record, event
    return _blame_active(record, marked)


def hold_seconds(record: Record) -> float:
    """How long an active revision that keeps killing the process, with nothing better, is not loaded.

    Meanwhile the node's other models are served. 0 while its deaths are tolerated.
    """
    over = record.crashes - record.health.max_crashes
    return 0.0 if over <= 0 else min(_HOLD_CAP_SECONDS, _FIRST_HOLD_SECONDS * 2 ** min(over - 1, 10))


def _blame_target(record: Record, marked: frozenset[str] | None) -> tuple[Record, Event]:
    target = record.target
    if target is None:
        return record, Event.RESTARTED
    crashes, limit = target.crashes, target.health.max_crashes
    on_trial = record.alive and record.state in TRIAL
    if on_trial if marked is None else target.revision in marked and record.state in BLAMED:
        crashes += 1
    event = restart_event(record.state, crashes=crashes, max_crashes=limit)
    changes: dict[str, object] = {"crashes": crashes}
    if event is Event.CRASHED:
        message = (
            f"the agent died {crashes} times while the revision was on trial, the last time in {record.state}; "
            f"health.maxCrashes allows {limit}"
        )
        changes["verdict"] = _crashed(message)
    return record.model_copy(update={"target": target.model_copy(update=changes)}), event


def _blame_active(record: Record, marked: frozenset[str] | None) -> tuple[Record, Event]:
    if marked is None or record.active not in marked:
        return record, Event.RESTARTED
    crashes, limit = record.crashes + 1, record.health.max_crashes
    record = record.model_copy(update={"crashes": crashes})
    if crashes <= limit:
        return record, Event.RESTARTED
    message = (
        f"the agent died {crashes} times while the revision was loaded or ran, each within an hour of the one "
        f"before; health.maxCrashes allows {limit}"
    )
    record = record.model_copy(update={"failing": _crashed(message)})
    goes = record.way_back is not None and (record.state, Event.ACTIVE_FAILED) in TRANSITIONS
    return record, Event.ACTIVE_FAILED if goes else Event.RESTARTED


def loads_at_start(state: State) -> bool:
    """Whether what is to serve is loaded before the work of `state` goes on."""
    return state not in RETREAT or state is State.ROLLBACK


def _crashed(message: str) -> Verdict:
    return Verdict(result=ModelResult.HEALTH_FAILED, reason="TooManyCrashes", message=message)
