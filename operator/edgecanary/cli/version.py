"""`edgecanary version`: which versions of this program, the CRDs, the operator and the agents are at work.

The operator is found by its Deployment's labels in the system namespace. Exit codes: 0 when all that is known fits
together, 1 when the cluster cannot be asked, 4 when something does not fit.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from edgecanary import __version__
from edgecanary.api.edgenode import EdgeNode
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.base.errors import EdgecanaryError
from edgecanary.cli.cluster import Cluster, connect, explained
from edgecanary.cli.cluster_versions import crd_version, fits
from edgecanary.cli.exits import Exit
from edgecanary.cli.kubectl_flags import add_cluster_flags, add_output_flag
from edgecanary.cli.objects import print_body, print_table
from edgecanary.cli.rollout import guarded
from edgecanary.clients.resources import DEPLOYMENTS, EDGE_NODES
from edgecanary.controller.views import parse

_OPERATOR = "app.kubernetes.io/name=edgecanary,app.kubernetes.io/component=operator"
_VERSION_LABEL = "app.kubernetes.io/version"


class Component(ApiModel):
    """A part and its version. `count` is how many have it; `note` says why a version is not known."""

    name: str
    version: str = ""
    count: int = 1
    fits: bool = True
    note: str = ""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand's flags."""
    text = (__doc__ or "").partition("\n\n")
    parser = subparsers.add_parser(
        "version",
        help="say which versions of edgecanary are at work",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--client", action="store_true", help="only this program; the cluster is not asked")
    add_cluster_flags(parser)
    add_output_flag(parser, ("table", "json", "yaml"))


def run(options: argparse.Namespace) -> int:
    """Prints the versions; returns the exit code."""
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    found = [Component(name="this program", version=__version__)]
    if not options.client:
        cluster = connect(options)
        try:
            found += _of_the_cluster(cluster, options.system_namespace)
        finally:
            cluster.kube.close()
    if options.output == "table":
        rows = [(part.name, part.version or "unknown", str(part.count), _says(part)) for part in found]
        print_table(("PART", "VERSION", "COUNT", "SAYS"), rows)
    else:
        print_body({"items": [part.to_json() for part in found]}, options.output)
    wrong = [part for part in found if not part.fits]
    if wrong:
        names = ", ".join(f"{part.name} {part.version}" for part in wrong)
        text = f"{names} and this program {__version__} are not to work together"
        sys.stderr.write(
            f"edgecanary: VersionsDiffer: {text}; upgrade CRDs, operator, agents, in this order\n"
        )
        return Exit.ENDED_OTHERWISE
    return Exit.DONE


def _of_the_cluster(cluster: Cluster, namespace: str) -> Iterator[Component]:
    yield from _asked(cluster, "CRDs", lambda: [crd_version(cluster.kube)])
    yield from _asked(
        cluster,
        "operator",
        lambda: cluster.kube.list_all(DEPLOYMENTS, _label, namespace=namespace, labels=_OPERATOR).items,
    )
    yield from _asked(
        cluster, "agent", lambda: cluster.kube.list_all(EDGE_NODES, _agent, namespace=namespace).items
    )


def _asked(
    cluster: Cluster, name: str, ask: Callable[[], "list[str] | tuple[str, ...]"]
) -> Iterator[Component]:
    """The versions of one part. Raises only when no server answers."""
    try:
        versions = Counter(ask())
    except EdgecanaryError as error:
        told = explained(cluster, error)
        if told.reason in ("ApiServerUnreachable", "Unauthorized", "NoClusterAccess"):
            raise told from error
        yield Component(name=name, count=0, note=told.message)
        return
    if not versions:
        yield Component(
            name=name, count=0, note=f"there is none to be seen in {cluster.place.partition(',')[0]}"
        )
    for version, count in sorted(versions.items()):
        note = "" if version else "it does not say"
        yield Component(name=name, version=version, count=count, fits=not version or fits(version), note=note)


def _says(part: Component) -> str:
    return part.note or ("-" if part.fits else "does not fit")


def _label(body: JsonObject) -> str:
    metadata = body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return str(labels.get(_VERSION_LABEL, "")) if isinstance(labels, dict) else ""


def _agent(body: JsonObject) -> str:
    return parse(EdgeNode, body).status.agent_version
