"""`edgecanary node get`: one node, what it has and each of its models."""

import argparse
import sys

from edgecanary.base.clock import SystemClock
from edgecanary.cli.cluster import session
from edgecanary.cli.exits import Exit
from edgecanary.cli.node_look import choose, look_at_nodes, tell_versions
from edgecanary.cli.node_text import to_text
from edgecanary.cli.objects import print_body, print_names
from edgecanary.clients.resources import EDGE_NODES


def run(options: argparse.Namespace) -> int:
    """Prints the node; returns the exit code."""
    namespace = None if options.all_namespaces else options.namespace
    with session(options) as cluster:
        nodes = look_at_nodes(cluster, options.system_namespace, namespace=namespace)
    node = choose(nodes, options.name)
    tell_versions((node,))
    if options.output in ("json", "yaml"):
        print_body(node.to_json(), options.output)
    elif options.output == "name":
        print_names(EDGE_NODES, [node.name])
    else:
        sys.stdout.write(to_text(node, SystemClock().now(), wide=options.output == "wide"))
    return Exit.DONE
