"""What the cache keeps of each object: the little that decides something, frozen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import Field, ValidationError

from edgecanary.api.edgenode import Capabilities, EdgeNode, NodeModelStatus
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.meta import LabelSelector, ObjectMeta
from edgecanary.base.errors import InvalidInput, WrongAnswer
from edgecanary.base.quantities import parse_bytes
from edgecanary.controller.status_views import StatusView, signature_expiry

M = TypeVar("M", bound=ApiModel)


@dataclass(frozen=True, order=True)
class ObjectKey:
    """An object of a known kind; cluster-wide ones have no namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class NodeRecord:
    """A Node: labels, whether it is Ready, and what its kubelet says of its hardware.

    Whether it is cordoned is not kept: that keeps new pods away, and an agent that runs goes on running.
    """

    labels: Mapping[str, str]
    ready: bool
    uid: str = ""
    architecture: str = ""
    memory_bytes: int = 0


@dataclass(frozen=True)
class EdgeNodeRecord:
    """An EdgeNode: what its agent says of the hardware and of each model, by the EdgeModel's key.

    It is about the Node with this UID; agents of earlier versions do not say which.
    """

    capabilities: Capabilities | None = None
    models: Mapping[ObjectKey, NodeModelStatus] = field(default_factory=dict)
    node_uid: str = ""
    heartbeat: datetime | None = field(default=None, compare=False)
    """When the agent last wrote, by its own clock; a heartbeat alone is no news to anybody."""


@dataclass(frozen=True)
class RolloutRecord:
    """A Rollout: the EdgeModel it rolls out, and where; `version` changes with every write."""

    model: ObjectKey
    selector: LabelSelector
    version: str
    reason: str = ""
    """Of the Ready condition."""
    uid: str = ""
    created: datetime | None = None
    deleting: bool = False
    status: StatusView = field(default_factory=StatusView)

    @property
    def claim(self) -> tuple[ObjectKey, str, bool]:
        """What decides which of several Rollouts has an EdgeModel, as far as it can change."""
        return self.model, self.uid, self.deleting


@dataclass(frozen=True)
class PlainRecord:
    """An EdgeModel or a ModelRelease: that it is there; `version` changes with every write."""

    version: str
    reason: str = ""
    """Of the Ready condition."""
    expires: datetime | None = None
    """Of the signed statement that an EdgeModel brings."""


@dataclass(frozen=True)
class Identity:
    """Which object at which version: what every event and list entry carries."""

    key: ObjectKey
    version: int


class _Envelope(ApiModel):
    metadata: ObjectMeta


class _Condition(ApiModel):
    type: str
    status: str
    reason: str = ""


class _Conditions(ApiModel):
    conditions: tuple[_Condition, ...] = ()


class _Plain(_Envelope):
    status: _Conditions = _Conditions()


class _NodeInfo(ApiModel):
    architecture: str = ""


class _NodeStatus(ApiModel):
    capacity: dict[str, str] = Field(default_factory=dict)
    conditions: tuple[_Condition, ...] = ()
    node_info: _NodeInfo = _NodeInfo()


class _Node(_Envelope):
    status: _NodeStatus = _NodeStatus()


class _ModelRef(ApiModel):
    name: str


class _RolloutSpec(ApiModel):
    model_ref: _ModelRef
    node_selector: LabelSelector = LabelSelector()


class _RolloutStatus(StatusView):
    conditions: tuple[_Condition, ...] = ()


class _Rollout(_Envelope):
    spec: _RolloutSpec
    status: _RolloutStatus = _RolloutStatus()


class _ModelSpec(ApiModel):
    signature: str | None = None


class _Model(_Plain):
    spec: _ModelSpec = _ModelSpec()


def identify(body: JsonObject) -> Identity:
    """Which object it is. Raises WrongAnswer when it has no name or no usable resource version.

    Resource versions of one kind can be compared as numbers (the API server promises it since 1.35, and
    etcd has always had it so).
    """
    meta = parse(_Envelope, body).metadata
    if not meta.name or not meta.resource_version.isdecimal():
        raise WrongAnswer("ApiServerGarbage", f"an object without name or version: {meta.name!r}")
    return Identity(ObjectKey(meta.namespace, meta.name), int(meta.resource_version))


def read_node(body: JsonObject) -> NodeRecord:
    """What is kept of a Node."""
    node = parse(_Node, body)
    return NodeRecord(
        labels=node.metadata.labels,
        ready=any(c.type == "Ready" and c.status == "True" for c in node.status.conditions),
        uid=node.metadata.uid,
        architecture=node.status.node_info.architecture,
        memory_bytes=_memory(node.status.capacity.get("memory", "")),
    )


def read_edge_node(body: JsonObject) -> EdgeNodeRecord:
    """What is kept of an EdgeNode."""
    status = parse(EdgeNode, body).status
    models = {ObjectKey(entry.namespace, entry.name): entry for entry in status.models}
    return EdgeNodeRecord(status.capabilities, models, status.node_uid, status.heartbeat_time)


def read_rollout(body: JsonObject) -> RolloutRecord:
    """What is kept of a Rollout."""
    rollout = parse(_Rollout, body)
    return RolloutRecord(
        model=ObjectKey(rollout.metadata.namespace, rollout.spec.model_ref.name),
        selector=rollout.spec.node_selector,
        version=rollout.metadata.resource_version,
        reason=_ready_reason(rollout.status.conditions),
        uid=rollout.metadata.uid,
        created=rollout.metadata.creation_timestamp,
        deleting=rollout.metadata.deletion_timestamp is not None,
        status=rollout.status,
    )


def read_model(body: JsonObject) -> PlainRecord:
    """What is kept of an EdgeModel."""
    model = parse(_Model, body)
    return PlainRecord(
        model.metadata.resource_version,
        _ready_reason(model.status.conditions),
        signature_expiry(model.spec.signature),
    )


def read_plain(body: JsonObject) -> PlainRecord:
    """What is kept of a ModelRelease."""
    found = parse(_Plain, body)
    return PlainRecord(found.metadata.resource_version, _ready_reason(found.status.conditions))


def _ready_reason(conditions: Iterable[_Condition]) -> str:
    return next((c.reason for c in conditions if c.type == "Ready"), "")


def parse(model: type[M], body: JsonObject) -> M:
    """The object as a model. Raises WrongAnswer naming the first field that does not fit."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        field_path = ".".join(str(part) for part in first["loc"])
        raise WrongAnswer(
            "ObjectGarbage", f"{body.get('kind', 'object')}: {field_path}: {first['msg']}"
        ) from error


def _memory(quantity: str) -> int:
    """Bytes of a capacity; 0 when the kubelet does not say."""
    try:
        return parse_bytes(quantity, field="status.capacity.memory")
    except InvalidInput:
        return 0
