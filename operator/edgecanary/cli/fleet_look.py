"""What the nodes do with a Rollout, asked of the cluster for a picture."""

import time
from dataclasses import dataclass

from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import EdgecanaryError, NotFound
from edgecanary.cli.cluster import Cluster, explained
from edgecanary.cli.rollout_picture import Fleet
from edgecanary.clients.resources import EDGE_NODES, MODEL_RELEASES, NODES
from edgecanary.controller.fleet import FleetViews
from edgecanary.controller.views import (
    EdgeNodeRecord,
    NodeRecord,
    ObjectKey,
    identify,
    parse,
    read_edge_node,
    read_node,
)
from edgecanary.rollout.cohorts import count_cohorts
from edgecanary.rollout.why import explain

_LEAST_PAUSE = 1.0
_SHARE = 20
"""Lists may take one part in so many of the time, so that a large fleet is not listed without a pause."""


@dataclass(frozen=True)
class FleetLook:
    """What the nodes were found to do, and how long to leave the cluster alone then, in seconds."""

    fleet: Fleet
    pause_seconds: float


def look_at_fleet(cluster: Cluster, rollout: Rollout, system_namespace: str) -> FleetLook:
    """Cohorts and nodes in trouble; what may not be asked is a note."""
    begin = time.monotonic()
    try:
        fleet = _look(cluster, rollout, system_namespace)
    except EdgecanaryError as error:
        told = explained(cluster, error).message
        fleet = Fleet(notes=(f"how far each stratum is cannot be shown: {told}",))
    return FleetLook(fleet, max(_LEAST_PAUSE, _SHARE * (time.monotonic() - begin)))


def _look(cluster: Cluster, rollout: Rollout, system_namespace: str) -> Fleet:
    meta = rollout.metadata
    try:
        release = parse(ModelRelease, cluster.kube.get(MODEL_RELEASES, meta.name, namespace=meta.namespace))
    except NotFound:
        return Fleet()
    views = FleetViews()
    for name, node in cluster.kube.list_all(NODES, _node).items:
        views.put_node(name, node)
    for name, agent in cluster.kube.list_all(EDGE_NODES, _edge_node, namespace=system_namespace).items:
        views.put_agent(name, agent)
    fleet = views.of(ObjectKey(meta.namespace, rollout.spec.model_ref.name))
    reports = {view.facts.name: view.report for view in fleet if view.report is not None}
    told = explain(rollout, reports)
    return Fleet(
        cohorts=count_cohorts(rollout.spec, release.spec, fleet),
        lagging=told.nodes,
        more_lagging=told.more_nodes,
    )


def _node(body: JsonObject) -> tuple[str, NodeRecord]:
    return identify(body).key.name, read_node(body)


def _edge_node(body: JsonObject) -> tuple[str, EdgeNodeRecord]:
    return identify(body).key.name, read_edge_node(body)
