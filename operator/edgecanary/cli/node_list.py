"""`edgecanary node list`: every node with what it runs."""

import argparse
import sys

from edgecanary.base.clock import SystemClock
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.node_look import look_at_nodes, tell_versions
from edgecanary.cli.node_view import to_rows
from edgecanary.cli.objects import print_body, print_names, print_table
from edgecanary.clients.resources import EDGE_NODES


def run(options: argparse.Namespace) -> int:
    """Prints the nodes; returns the exit code."""
    namespace = None if options.all_namespaces else options.namespace
    with session(options) as cluster:
        nodes = look_at_nodes(cluster, options.system_namespace, namespace=namespace, labels=options.selector)
    tell_versions(nodes)
    if options.output in ("json", "yaml"):
        print_body({"items": [node.to_json() for node in nodes]}, options.output)
    elif options.output == "name":
        print_names(EDGE_NODES, [node.name for node in nodes if node.reports])
    elif not nodes:
        sys.stderr.write("No nodes found.\n")
    else:
        print_table(*to_rows(nodes, SystemClock().now(), wide=options.output == "wide"))
    return Exit.DONE
