"""What a plan is made from and what it consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from edgecanary.analysis.query import Answer
from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.base.errors import NotAllowed
from edgecanary.rollout.eligibility import NodeFacts


@dataclass(frozen=True)
class NodeView:
    """One Node of the cluster as the planner sees it.

    `online` is the Node's Ready condition. `report` is what its agent last said of the model; None means
    that no agent has said anything.
    """

    facts: NodeFacts
    online: bool
    report: NodeModelStatus | None = None


@dataclass(frozen=True)
class Rival:
    """Another Rollout of the same namespace that names the same EdgeModel and is not being deleted."""

    name: str
    uid: str
    created: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """All that one plan depends on, but for the time.

    `model` is None when the EdgeModel does not exist. `answers` holds Prometheus's answers by metric
    name, for the queries that were due. `rivals` are the other Rollouts that name the EdgeModel. `refused` is
    what the administrator's rules forbid of the spec.
    """

    rollout: Rollout
    model: EdgeModel | None
    release: ModelRelease | None
    fleet: tuple[NodeView, ...]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    rivals: tuple[Rival, ...] = ()
    refused: NotAllowed | None = None


@dataclass(frozen=True)
class PlannedEvent:
    """A Kubernetes Event to emit. `warning` tells the type: Warning or Normal."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be written, said and waited for.

    `release` is the wanted ModelRelease spec without download addresses; None leaves the release alone.
    `requeue_seconds` is when time alone changes the plan; None means that only an event can.
    """

    release: ModelReleaseSpec | None
    status: RolloutStatus
    events: tuple[PlannedEvent, ...] = ()
    requeue_seconds: float | None = None
