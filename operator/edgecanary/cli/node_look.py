"""Nodes and their agents' reports, asked of the cluster."""

import difflib
import sys

from edgecanary import __version__
from edgecanary.api.edgenode import EdgeNode
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import EdgecanaryError, NotFound
from edgecanary.cli.cluster import Cluster, explained
from edgecanary.cli.cluster_versions import fits
from edgecanary.cli.node_view import NodeSummary, summarise, version_names
from edgecanary.clients.kube import Forbidden
from edgecanary.clients.resources import EDGE_NODES, NODES, ROLLOUTS
from edgecanary.controller.views import NodeRecord, identify, parse, read_node

_NAMED = 5


def look_at_nodes(
    cluster: Cluster, system_namespace: str, *, namespace: str | None, labels: str = ""
) -> tuple[NodeSummary, ...]:
    """The nodes with these labels. What may not be read is told on standard error, and left out."""
    agents = dict(cluster.kube.list_all(EDGE_NODES, _agent, namespace=system_namespace).items)
    return summarise(
        _nodes(cluster, labels),
        agents,
        _versions(cluster, namespace),
        namespace=namespace,
        selected=bool(labels),
    )


def choose(nodes: tuple[NodeSummary, ...], name: str) -> NodeSummary:
    """The node of that name. Raises NotFound with names near it."""
    found = next((node for node in nodes if node.name == name), None)
    if found is not None:
        return found
    names = [node.name for node in nodes]
    near = difflib.get_close_matches(name, names, n=_NAMED, cutoff=0.6)
    if near:
        advice = f"did you mean {' or '.join(near)}?"
    elif names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        advice = f"there are {', '.join(names[:_NAMED])}{more}"
    else:
        advice = "there is none"
    raise NotFound("NodeNotFound", f"there is no node {name}; {advice}")


def tell_versions(nodes: tuple[NodeSummary, ...]) -> None:
    """Says on standard error when agents are of another version."""
    other = sorted(
        {node.agent_version for node in nodes if node.agent_version and not fits(node.agent_version)}
    )
    if other:
        count = sum(node.agent_version in other for node in nodes)
        text = f"{count} of {len(nodes)} agents are of edgecanary {', '.join(other)}, this is {__version__}"
        sys.stderr.write(f"edgecanary: VersionsDiffer: {text}; upgrade the older ones\n")


def _nodes(cluster: Cluster, labels: str) -> dict[str, NodeRecord] | None:
    try:
        return dict(cluster.kube.list_all(NODES, _node, labels=labels).items)
    except Forbidden as error:
        if labels:
            raise
        told = explained(cluster, error).message
        sys.stderr.write(f"edgecanary: whether nodes are online is not known: {told}\n")
        return None


def _versions(cluster: Cluster, namespace: str | None) -> dict[str, str]:
    """The revisions' names, as far as Rollouts may be read."""
    try:
        return version_names(cluster.kube.list_all(ROLLOUTS, _rollout, namespace=namespace).items)
    except EdgecanaryError as error:
        told = explained(cluster, error).message
        sys.stderr.write(f"edgecanary: the revisions' versions are not known: {told}\n")
        return {}


def _node(body: JsonObject) -> tuple[str, NodeRecord]:
    return identify(body).key.name, read_node(body)


def _agent(body: JsonObject) -> tuple[str, EdgeNode]:
    return identify(body).key.name, parse(EdgeNode, body)


def _rollout(body: JsonObject) -> Rollout:
    return parse(Rollout, body)
