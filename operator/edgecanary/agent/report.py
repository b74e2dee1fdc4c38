"""What a node reports: the status of its EdgeNode, and the outbox that keeps it until it is delivered."""

import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from edgecanary.agent import files
from edgecanary.agent.machine import State
from edgecanary.agent.orders import Order
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import DISK_FAILED, Record
from edgecanary.api.edgenode import Capabilities, EdgeNodeStatus, ModelResult, ModelState, NodeModelStatus
from edgecanary.api.fields import ApiModel
from edgecanary.base.errors import NotAllowed

log = logging.getLogger(__name__)

MAX_MODELS = 64
MAX_REFUSED = 8
_MAX_MESSAGE = 1024
_UNDER_WAY = {
    State.DOWNLOAD: "is being fetched",
    State.VERIFY: "is being verified",
    State.STAGE: "is being installed",
    State.PROBE: "is being probed",
    State.WINDOW: "is ready and waits for an update window",
    State.HEALTH: "is active and on trial",
    State.ROLLBACK: "is being taken back",
}
_SERVES_TARGET = (State.HEALTH, State.COMMIT)


def build_status(
    records: Iterable[Record],
    capabilities: Capabilities,
    *,
    agent_version: str,
    now: datetime,
    node_uid: str = "",
    refused: Iterable[NodeModelStatus] = (),
) -> EdgeNodeStatus:
    """The status of the whole node as of `now`; `node_uid` is empty while the Node was never heard.

    A few models that the node is `refused` come last: they never take the room of one that it has.
    """
    models = sorted((model_status(record) for record in records), key=_place)
    return EdgeNodeStatus(
        agent_version=agent_version,
        heartbeat_time=now,
        node_uid=node_uid,
        capabilities=capabilities,
        models=tuple([*models, *sorted(refused, key=_place)[:MAX_REFUSED]][:MAX_MODELS]),
    )


def refused_status(key: ModelKey, order: Order, refused: NotAllowed, now: datetime) -> NodeModelStatus:
    """A model that the node does not begin with, because its namespace may not have the node."""
    return NodeModelStatus(
        namespace=key.namespace,
        name=key.name,
        desired=order.desired,
        state=ModelState.PENDING,
        reason=refused.reason,
        message=_short(refused.message),
        result=ModelResult.PRECHECK_FAILED,
        attempt=order.attempt,
        sequence=order.sequence,
        transition_time=now,
    )


def _place(status: NodeModelStatus) -> tuple[str, str]:
    return status.namespace, status.name


def model_status(record: Record) -> NodeModelStatus:
    """One model: its last outcome, or what is under way, and what the disk has to do with it."""
    status = _progress(record)
    changes: dict[str, object] = {"repair": _short(record.repair)}
    if record.trouble and status.reason != DISK_FAILED:
        changes["message"] = _short(f"{status.message}; {record.trouble}")
        if status.state is ModelState.ACTIVE:
            changes["reason"] = DISK_FAILED
    return status.model_copy(update=changes)


def _progress(record: Record) -> NodeModelStatus:
    outcome, target = record.outcome, record.target
    status = NodeModelStatus(
        namespace=record.namespace,
        name=record.name,
        active=record.active,
        previous=record.previous,
        desired=outcome.desired,
        state=outcome.state,
        reason=outcome.reason,
        message=_short(outcome.message),
        result=outcome.result,
        attempt=outcome.attempt,
        sequence=outcome.sequence,
        transition_time=outcome.transition_time,
        probe=outcome.probe,
        transfer=outcome.transfer,
        rejected=tuple(entry.revision for entry in record.rejected),
    )
    if target is None:
        return status
    if record.state in _SERVES_TARGET:
        status = status.model_copy(update={"active": target.revision})
    if (outcome.desired, outcome.attempt) == (target.revision, target.attempt):
        return status
    under_way = {
        "desired": target.revision,
        "state": ModelState.PENDING,
        "reason": record.state.value,
        "message": f"{target.statement.version} {_UNDER_WAY.get(record.state, 'is on its way')}",
        "result": ModelResult.NONE,
        "attempt": target.attempt,
        "sequence": record.sequence,
        "probe": target.probe,
        "transfer": target.transfer,
    }
    return status.model_copy(update=under_way)


class Envelope(ApiModel):
    """A report, and whether it arrived."""

    status: EdgeNodeStatus
    delivered: bool


class Outbox:
    """The last report on disk. One is enough: each report says everything."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, status: EdgeNodeStatus, *, delivered: bool) -> None:
        """Keeps the report across restarts. Raises OSError."""
        envelope = Envelope(status=status, delivered=delivered)
        files.write_atomic(self._path, envelope.model_dump_json(by_alias=True).encode())

    def has_delivered(self, status: EdgeNodeStatus) -> bool:
        """Whether a report that says the same, but for the time, is known to have arrived."""
        kept = self._read()
        if kept is None:
            return False
        same = kept.status.model_copy(update={"heartbeat_time": status.heartbeat_time}) == status
        return kept.delivered and same

    def node_uid(self) -> str:
        """The UID of the Node that the last report was for; empty when there is none."""
        kept = self._read()
        return kept.status.node_uid if kept else ""

    def _read(self) -> Envelope | None:
        try:
            return Envelope.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("%s: cannot be read, the report is sent again: %s", self._path, error)
            return None


def _short(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 1]}…"
