"""`edgecanary rollout plan`: what a Rollout would do, against a cluster or a file of nodes."""

import argparse
import sys
from dataclasses import dataclass

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.artifact.revision import revision_digest
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound, WrongAnswer
from edgecanary.cli.cluster import Cluster, connect, explained
from edgecanary.cli.exits import Exit
from edgecanary.cli.manifests import find_model, find_rollout, read_manifests
from edgecanary.cli.output import print_data
from edgecanary.cli.rollout_plan_text import to_table
from edgecanary.cli.rollout_traffic import Subject, find_traffic
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, NODES, ROLLOUTS
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
from edgecanary.rollout.forecast import Forecast, forecast
from edgecanary.rollout.forecast_cohorts import Occasion
from edgecanary.rollout.snapshot import NodeView
from edgecanary.rollout.statement import state


@dataclass(frozen=True)
class _Scene:
    """What the plan is made from, and what is to be said of it."""

    rollout: Rollout
    model: EdgeModel | None
    fleet: tuple[NodeView, ...]
    first: bool
    notes: tuple[str, ...]


def run(options: argparse.Namespace) -> int:
    """Prints the plan; returns the exit code."""
    found = _plan(options)
    if options.output == "table":
        sys.stdout.write(to_table(found))
    else:
        print_data(found, options.output)
    return Exit.WAITS if options.exit_code and found.warnings else 0


def _plan(options: argparse.Namespace) -> Forecast:
    if options.filename == "-" and options.nodes == "-":
        raise InvalidInput("--nodes", "must not be - when -f is - too", reason="InvalidSetting")
    manifests = read_manifests(options.filename)
    rollout = find_rollout(manifests, file=options.filename)
    model = find_model(manifests, rollout.spec.model_ref.name, file=options.filename)
    cluster = None if options.nodes else connect(options)
    namespace = (
        options.namespace or rollout.metadata.namespace or (cluster.namespace if cluster else "default")
    )
    metadata = rollout.metadata.model_copy(update={"namespace": namespace})
    rollout = rollout.model_copy(update={"metadata": metadata})
    if cluster is None:
        scene = _from_file(rollout, model, options.nodes)
    else:
        try:
            scene = _from_cluster(cluster, rollout, model, options.system_namespace)
        except EdgecanaryError as error:
            raise explained(cluster, error) from error
    return _forecast(scene, options, cluster)


def _forecast(scene: _Scene, options: argparse.Namespace, cluster: Cluster | None) -> Forecast:
    spec, metadata = scene.rollout.spec, scene.rollout.metadata
    statement = state(scene.model.spec, revision_digest(scene.model.spec)) if scene.model else None
    stable = scene.rollout.status.stable
    subject = Subject(
        namespace=metadata.namespace,
        model=spec.model_ref.name,
        canary=statement.revision if statement else "",
        stable=stable.revision if stable else "",
    )
    traffic = find_traffic(spec.analysis, options, subject, kube=cluster.kube if cluster else None)
    occasion = Occasion(
        rollout=scene.rollout,
        statement=statement,
        fleet=scene.fleet,
        now=SystemClock().now().replace(microsecond=0),
        rates=traffic.rates,
        first=scene.first,
    )
    found = forecast(occasion)
    return found.model_copy(update={"notes": (*found.notes, *scene.notes, *traffic.notes)})


def _from_file(rollout: Rollout, model: EdgeModel | None, path: str) -> _Scene:
    """The plan's parts from a file of Nodes and EdgeNodes."""
    manifests = read_manifests(path)
    nodes = [(manifest, manifest.body) for manifest in manifests if manifest.kind == "Node"]
    if not nodes:
        kinds = ", ".join(sorted({manifest.kind for manifest in manifests}))
        raise InvalidInput(path, f"must hold Nodes, and holds {kinds}", reason="InvalidManifest")
    views = FleetViews()
    for manifest in manifests:
        try:
            if manifest.kind == "Node":
                views.put_node(_name(manifest.body), read_node(manifest.body))
            elif manifest.kind == "EdgeNode":
                views.put_agent(_name(manifest.body), read_edge_node(manifest.body))
        except WrongAnswer as error:
            raise InvalidInput(manifest.place, error.message, reason="InvalidManifest") from error
    fleet = views.of(ObjectKey(rollout.metadata.namespace, rollout.spec.model_ref.name))
    stable = rollout.status.stable is not None
    notes = () if stable else ("an earlier revision counts as stable, since the cluster is not asked",)
    return _Scene(rollout, model, fleet, first=False, notes=notes)


def _name(body: JsonObject) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise WrongAnswer("ObjectGarbage", "metadata.name: must be set")
    return name


def _from_cluster(
    cluster: Cluster, declared: Rollout, model: EdgeModel | None, system_namespace: str
) -> _Scene:
    """The plan's parts from the cluster; what the file declares wins."""
    namespace, wanted = declared.metadata.namespace, declared.spec.model_ref.name
    current = _stored(cluster, declared.metadata.name, namespace)
    rollout, first = declared, True
    if current is not None:
        rollout = declared.model_copy(update={"metadata": current.metadata, "status": current.status})
        first = current.status.stable is None
    if model is None:
        model = _stored_model(cluster, wanted, namespace)
    views, notes = FleetViews(), []
    for name, node in cluster.kube.list_all(NODES, _node).items:
        views.put_node(name, node)
    try:
        agents = cluster.kube.list_all(EDGE_NODES, _edge_node, namespace=system_namespace).items
    except EdgecanaryError as error:
        agents = ()
        notes.append(f"what agents say of the nodes' hardware is not known: {error.message}")
    for name, agent in agents:
        views.put_agent(name, agent)
    return _Scene(rollout, model, views.of(ObjectKey(namespace, wanted)), first, tuple(notes))


def _stored(cluster: Cluster, name: str, namespace: str) -> Rollout | None:
    try:
        return parse(Rollout, cluster.kube.get(ROLLOUTS, name, namespace=namespace))
    except NotFound:
        return None


def _stored_model(cluster: Cluster, name: str, namespace: str) -> EdgeModel | None:
    try:
        return parse(EdgeModel, cluster.kube.get(EDGE_MODELS, name, namespace=namespace))
    except NotFound:
        return None


def _node(body: JsonObject) -> tuple[str, NodeRecord]:
    return identify(body).key.name, read_node(body)


def _edge_node(body: JsonObject) -> tuple[str, EdgeNodeRecord]:
    return identify(body).key.name, read_edge_node(body)
