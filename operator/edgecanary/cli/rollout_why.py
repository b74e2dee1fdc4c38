"""`edgecanary rollout why`: what a Rollout waits for, or why it was taken back."""

import argparse
import sys
from collections.abc import Mapping

from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import EdgecanaryError
from edgecanary.cli.cluster import Cluster, session
from edgecanary.cli.exits import Exit
from edgecanary.cli.output import print_data
from edgecanary.cli.rollout_find import find_rollout
from edgecanary.cli.rollout_why_text import to_text
from edgecanary.clients.resources import EDGE_NODES
from edgecanary.controller.views import ObjectKey, identify, read_edge_node
from edgecanary.rollout.why import Explanation, Standing, explain

_EXIT = {Standing.DONE: 0, Standing.WAITING: Exit.WAITS, Standing.STALLED: Exit.STALLED}


def run(options: argparse.Namespace) -> int:
    """Prints the explanation; returns the exit code."""
    with session(options) as cluster:
        explanation = _explain(cluster, options.name, options.system_namespace)
    if options.output == "text":
        sys.stdout.write(to_text(explanation, SystemClock().now()))
    else:
        print_data(explanation, options.output)
    return _EXIT[explanation.standing] if options.exit_code else 0


def _explain(cluster: Cluster, name: str, system_namespace: str) -> Explanation:
    rollout = find_rollout(cluster.kube, cluster.namespace, name)
    try:
        reports = _reports(cluster, rollout, system_namespace)
    except EdgecanaryError as error:
        note = f"what the nodes' agents say is not included: {error.message}"
        return explain(rollout, notes=(note,))
    return explain(rollout, reports)


def _reports(cluster: Cluster, rollout: Rollout, system_namespace: str) -> Mapping[str, NodeModelStatus]:
    """What each node's agent says of the Rollout's model."""
    model = ObjectKey(rollout.metadata.namespace, rollout.spec.model_ref.name)

    def read(body: JsonObject) -> tuple[str, NodeModelStatus | None]:
        return identify(body).key.name, read_edge_node(body).models.get(model)

    found = cluster.kube.list_all(EDGE_NODES, read, namespace=system_namespace).items
    return {node: report for node, report in found if report is not None}
