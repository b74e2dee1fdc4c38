"""The API server for commands that a person runs: flags, the namespace, and failures in plain words."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from edgecanary.base.errors import Unavailable
from edgecanary.clients.access import Access
from edgecanary.clients.kube import KubeClient, Timeouts

_TIMEOUTS = Timeouts(connect=5.0, read=30.0)


@dataclass(frozen=True)
class Cluster:
    """A way to the API server, and the namespace that a command is about."""

    kube: KubeClient
    namespace: str
    place: str
    """The server's address and where it was found, for error messages."""

    def unreachable(self, error: Unavailable) -> Unavailable:
        """The error with the server that was meant, when it did not answer."""
        if error.reason != "ApiServerUnreachable":
            return error
        return Unavailable(error.reason, f"{error.message} ({self.place})")


def connect(options: argparse.Namespace) -> Cluster:
    """The cluster that --kubeconfig, --context and --namespace mean, with kubectl's defaults.

    Raises InvalidInput when there is no way to a cluster.
    """
    access = Access.find(
        kubeconfig=Path(options.kubeconfig) if options.kubeconfig else None, context=options.context
    )
    kube = KubeClient(access, user_agent="edgecanary-cli", connections=2, timeouts=_TIMEOUTS)
    namespace = options.namespace or access.namespace or "default"
    return Cluster(kube, namespace, f"{access.connection().server}, from {access.source}")
