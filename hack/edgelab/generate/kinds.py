"""The four kinds, and what a CustomResourceDefinition says of them besides their schema."""

from dataclasses import dataclass
from typing import Literal

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import EdgeNode
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import ABORT_ANNOTATION, PROMOTE_ANNOTATION, RETRY_ANNOTATION, Rollout


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; `wide` ones need `-o wide`."""

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True)
class Action:
    """An annotation by which a person tells the operator to do something once."""

    annotation: str
    description: str


@dataclass(frozen=True)
class Kind:
    """A kind: its type, its names and its columns.

    `authored`: people write its spec, not programs. `new_status` is the status that an object has
    before anybody wrote one; None: the kind has no status.
    """

    model: type[ApiModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    authored: bool = False
    actions: tuple[Action, ...] = ()
    new_status: JsonObject | None = None

    @property
    def name(self) -> str:
        """The kind's name, such as `Rollout`."""
        return self.model.__name__

    @property
    def singular(self) -> str:
        """The name for one object on kubectl's command line."""
        return self.name.lower()


def _condition(name: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].{field}'


_READY = Column("Ready", _condition("Ready", "status"), description="Whether all is as declared.")
_REASON = Column("Reason", _condition("Ready", "reason"), description="Why it is ready or not.")
_MESSAGE = Column("Message", _condition("Ready", "message"), description="What is going on, in a sentence.")
_AGE = Column("Age", ".metadata.creationTimestamp", "date", description="Time since it was created.")
_NEVER_OBSERVED: JsonObject = {"observedGeneration": -1}

EDGE_MODEL = Kind(
    EdgeModel,
    plural="edgemodels",
    short_name="em",
    columns=(
        Column("Version", ".spec.version", description="The version that the spec declares."),
        Column("Revision", ".status.revision", wide=True, description="Digest of what was last checked."),
        _READY,
        _REASON,
        _AGE,
        _MESSAGE,
    ),
    authored=True,
    new_status=_NEVER_OBSERVED,
)

ROLLOUT = Kind(
    Rollout,
    plural="rollouts",
    short_name="mro",
    actions=(
        Action(
            PROMOTE_ANNOTATION,
            "Approves the current step and ends its bake, or gives one that passed its deadline the same time again. "
            "A token that begins with full-, full: or full. takes the canary to everybody without bakes and gates.",
        ),
        Action(ABORT_ANNOTATION, "Takes the canary back from every node. It wins over every other action."),
        Action(RETRY_ANNOTATION, "Lets a rejected revision be tried again, as a new attempt."),
    ),
    columns=(
        Column("Stable", ".status.stable.version", description="The version that the fleet falls back on."),
        Column("Canary", ".status.canary.version", description="The version under test."),
        Column("Step", ".status.step.display", description="Where the rollout stands."),
        Column("Updated", ".status.nodes.display", description="Nodes that run what they should."),
        Column("Gates", ".status.analysis.display", description="What the gates say."),
        _READY,
        _REASON,
        _AGE,
        _MESSAGE,
    ),
    authored=True,
    new_status=_NEVER_OBSERVED,
)

MODEL_RELEASE = Kind(
    ModelRelease,
    plural="modelreleases",
    short_name="mrel",
    columns=(
        Column("Model", ".spec.model", description="The EdgeModel that it releases."),
        Column("Stable", ".spec.stable.version", description="The version for the nodes without the canary."),
        Column("Canary", ".spec.canary.version", description="The version under test."),
        Column("Sequence", ".spec.sequence", "integer", description="Grows with every change."),
        _AGE,
    ),
)

EDGE_NODE = Kind(
    EdgeNode,
    plural="edgenodes",
    short_name="en",
    columns=(
        Column("Agent", ".status.agentVersion", description="The agent's version."),
        Column(
            "Architecture",
            ".status.capabilities.architecture",
            wide=True,
            description="The node's processor.",
        ),
        Column("Heartbeat", ".status.heartbeatTime", "date", description="Time since the agent last wrote."),
        Column("Models", ".status.display", description="Active models, and why the others are not."),
    ),
    new_status={},
)

KINDS = (EDGE_MODEL, ROLLOUT, MODEL_RELEASE, EDGE_NODE)
