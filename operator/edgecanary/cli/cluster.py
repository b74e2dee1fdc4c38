"""The API server for commands that a person runs: flags, the namespace, and failures in plain words."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgecanary import __version__
from edgecanary.base.errors import EdgecanaryError, Unavailable
from edgecanary.cli import cluster_versions
from edgecanary.clients.kube import Forbidden, KubeClient, Timeouts
from edgecanary.clients.resources import Resource
from edgecanary.clients.useraccess import Choice, find_access

_TIMEOUTS = Timeouts(connect=5.0, read=30.0)
_ROLES = {
    "get": "edgecanary-view",
    "list": "edgecanary-view",
    "watch": "edgecanary-view",
    "patch": "edgecanary-edit",
}
_FLEET_ROLE = "edgecanary-fleet-view"
_OF_THE_FLEET = ("nodes", "edgenodes", "customresourcedefinitions")


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


def connect(options: argparse.Namespace, *, timeouts: Timeouts = _TIMEOUTS) -> Cluster:
    """The cluster that kubectl's flags mean, with kubectl's defaults.

    Raises InvalidInput when there is no way to a cluster.
    """
    access = find_access(to_choice(options))
    kube = KubeClient(access, user_agent=f"edgecanary-cli/{__version__}", connections=4, timeouts=timeouts)
    namespace = getattr(options, "namespace", None) or access.namespace or "default"
    return Cluster(kube, namespace, f"{access.server}, from {access.source}")


def to_choice(options: argparse.Namespace, *, plugin_seconds: float | None = None) -> Choice:
    """What the flags choose."""
    return Choice(
        kubeconfig=options.kubeconfig,
        context=options.context,
        cluster=options.cluster,
        user=options.user,
        as_user=options.as_user,
        as_groups=tuple(options.as_group or ()),
        plugin_seconds=plugin_seconds,
    )


@contextmanager
def session(options: argparse.Namespace) -> Iterator[Cluster]:
    """The cluster, with failures told as a person needs them: which server, which role, which version."""
    cluster = connect(options)
    try:
        cluster_versions.warn(cluster.kube)
        yield cluster
    except EdgecanaryError as error:
        raise explained(cluster, error) from error
    finally:
        cluster.kube.close()


def explained(cluster: Cluster, error: EdgecanaryError) -> EdgecanaryError:
    """The error with what a person can do about it."""
    if isinstance(error, Forbidden):
        role = role_for(error.resource, error.verb)
        return Unavailable(error.reason, f"{error.message}, or ask for the ClusterRole {role}")
    if isinstance(error, Unavailable):
        return cluster.unreachable(error)
    return cluster_versions.explained(cluster.kube, error)


def role_for(resource: Resource, verb: str) -> str:
    """The ClusterRole of the installation that grants the verb, to ask for."""
    return _FLEET_ROLE if resource.plural in _OF_THE_FLEET else _ROLES.get(verb, "edgecanary-edit")
