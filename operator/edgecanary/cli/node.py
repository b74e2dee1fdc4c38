"""`edgecanary node`: what the nodes' agents report.

Exit codes: 0 for an answer, 1 when the cluster cannot be asked, 2 for wrong usage, 3 when there is no such node or
no CRDs.
"""

import argparse
from typing import cast

from edgecanary.cli import lazy
from edgecanary.cli.kubectl_flags import add_cluster_flags, add_output_flag
from edgecanary.cli.rollout import Action, guarded

_NODES = {
    "list": "list nodes: online, revisions, states, versions",
    "get": "show one node: what it has, and each of its models",
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the actions and their flags."""
    text = (__doc__ or "").partition("\n\n")
    parser = subparsers.add_parser(
        "node",
        help="look at nodes and what they run",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in _NODES.items():
        action = actions.add_parser(name, help=words, description=f"{words}.")
        if name == "get":
            action.add_argument("name", help="name of the node", metavar="NAME")
        _add_flags(action, selector="Nodes" if name == "list" else "")


def run(options: argparse.Namespace) -> int:
    """Runs the action; returns the exit code."""
    return guarded(lambda: cast("Action", lazy.load(f"node_{options.action}", extra="cli")).run(options))


def _add_flags(parser: argparse.ArgumentParser, *, selector: str) -> None:
    """Cluster and output. -n narrows what is shown to the models of a namespace; nodes have none."""
    add_cluster_flags(parser, everywhere=True, selector=selector)
    add_output_flag(parser, ("table", "wide", "json", "yaml", "name"))
