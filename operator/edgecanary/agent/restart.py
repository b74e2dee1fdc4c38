"""What a new process makes of a record that an earlier one left. Pure."""

from edgecanary.agent.machine import TRIAL, Event, restart_event
from edgecanary.agent.record import Record, Verdict
from edgecanary.api.edgenode import ModelResult


def found_at_start(record: Record) -> tuple[Record, Event]:
    """What a new process makes of a record: a death on trial is counted, and too many are a verdict."""
    target = record.target
    if target is None:
        return record, Event.RESTARTED
    crashes, limit = target.crashes, target.health.max_crashes
    if record.alive and record.state in TRIAL:
        crashes += 1
    event = restart_event(record.state, crashes=crashes, max_crashes=limit)
    changes: dict[str, object] = {"crashes": crashes}
    if event is Event.CRASHED:
        message = (
            f"the agent died {crashes} times while the revision was on trial, the last time in {record.state}; "
            f"health.maxCrashes allows {limit}"
        )
        changes["verdict"] = Verdict(
            result=ModelResult.HEALTH_FAILED, reason="TooManyCrashes", message=message
        )
    return record.model_copy(update={"target": target.model_copy(update=changes)}), event
