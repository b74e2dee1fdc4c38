"""Nodes as a person sees them: the Node's readiness joined with what its agent reports."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import Field

from edgecanary.api.edgenode import Capabilities, EdgeNode, NodeModelStatus
from edgecanary.api.fields import ApiModel
from edgecanary.api.rollout import Rollout
from edgecanary.base.quantities import human_bytes, human_seconds
from edgecanary.controller.views import NodeRecord

NO_AGENT = "-"


class ModelAccount(ApiModel):
    """A model on a node, with the names of its revisions where a Rollout tells them."""

    version: str = ""
    """Of the revision that is served."""
    desired_version: str = ""
    status: NodeModelStatus


class NodeSummary(ApiModel):
    """A node. `online` is None where Nodes may not be read; `reports` tells whether it has an agent's report."""

    name: str
    online: bool | None = None
    reports: bool = False
    agent_version: str = ""
    heartbeat_time: datetime | None = None
    capabilities: Capabilities | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    models: tuple[ModelAccount, ...] = ()


def summarise(
    nodes: Mapping[str, NodeRecord] | None,
    agents: Mapping[str, EdgeNode],
    versions: Mapping[str, str],
    *,
    namespace: str | None,
    selected: bool = False,
) -> tuple[NodeSummary, ...]:
    """Every Node, and every node with an agent's report, by name.

    `nodes` None: Nodes could not be read. `versions` are the revisions' names. `namespace` narrows the models.
    `selected`: only the given Nodes are meant.
    """
    names = sorted({*(nodes or ()), *(() if selected else agents)})
    return tuple(_summary(name, nodes, agents.get(name), versions, namespace) for name in names)


def version_names(rollouts: Sequence[Rollout]) -> dict[str, str]:
    """The names of all revisions that the Rollouts know."""
    found: dict[str, str] = {}
    for rollout in rollouts:
        status = rollout.status
        known = [*status.history, *status.rejected, status.stable, status.canary]
        found |= {entry.revision: entry.version for entry in known if entry is not None and entry.version}
    return found


def _summary(
    name: str,
    nodes: Mapping[str, NodeRecord] | None,
    agent: EdgeNode | None,
    versions: Mapping[str, str],
    namespace: str | None,
) -> NodeSummary:
    node = nodes.get(name) if nodes is not None else None
    online = node.ready if node is not None else None if nodes is None else False
    labels = dict(node.labels) if node is not None else {}
    if agent is None or (node is not None and agent.status.node_uid not in ("", node.uid)):
        return NodeSummary(name=name, online=online, labels=labels)
    status = agent.status
    return NodeSummary(
        name=name,
        online=online,
        reports=True,
        agent_version=status.agent_version,
        heartbeat_time=status.heartbeat_time,
        capabilities=status.capabilities,
        labels=labels,
        models=tuple(
            ModelAccount(
                version=versions.get(model.active or "", ""),
                desired_version=versions.get(model.desired or "", ""),
                status=model,
            )
            for model in status.models
            if namespace in (None, model.namespace)
        ),
    )


def to_rows(
    nodes: Sequence[NodeSummary], now: datetime, *, wide: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: one for each model of each node."""
    head = ("NAME", "ONLINE", "AGENT", "HEARTBEAT", "MODEL", "VERSION", "REVISION", "STATE")
    rows = []
    for node in nodes:
        begin = (node.name, _online(node), node.agent_version or NO_AGENT, _heartbeat(node, now))
        rows += [
            (*begin, *_model(model), *(_more(node, model) if wide else ()))
            for model in node.models or (None,)
        ]
    return head + (("RESULT", "ARCHITECTURE", "MEMORY", "MESSAGE") if wide else ()), rows


def _online(node: NodeSummary) -> str:
    return "unknown" if node.online is None else "yes" if node.online else "no"


def _heartbeat(node: NodeSummary, now: datetime) -> str:
    if node.heartbeat_time is None:
        return "-"
    # By the node's clock, which may be ahead.
    return human_seconds(max(0.0, (now - node.heartbeat_time).total_seconds()))


def _model(model: ModelAccount | None) -> tuple[str, ...]:
    if model is None:
        return "-", "-", "-", "-"
    status = model.status
    state = f"{status.state}" + (f" ({status.reason})" if status.reason else "")
    active = status.active or ""
    return f"{status.namespace}/{status.name}", model.version or "-", active[:12] or "-", state


def _more(node: NodeSummary, model: ModelAccount | None) -> tuple[str, ...]:
    told = node.capabilities
    return (
        str(model.status.result) if model else "-",
        told.architecture if told else "-",
        human_bytes(told.memory_bytes) if told else "-",
        (model.status.message if model else "") or "-",
    )
