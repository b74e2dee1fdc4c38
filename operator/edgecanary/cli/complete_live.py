"""What only a cluster or a kubeconfig knows, for completion. A cluster that does not answer soon offers nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import EdgecanaryError
from edgecanary.clients.kube import KubeClient, Timeouts
from edgecanary.clients.resources import EDGE_NODES, NAMESPACES, ROLLOUTS, Resource
from edgecanary.clients.useraccess import Choice, find_access, load_config
from edgecanary.controller.views import parse

_TIMEOUTS = Timeouts(connect=1.0, read=2.0)
_PLUGIN_SECONDS = 3.0

Candidates = list[tuple[str, str]]


def values(words: Sequence[str], dest: str, given: Mapping[str, str]) -> Candidates:
    """What the argument `dest` of the subcommand `words` may be, after the flags that were given."""
    offer = _OFFERS.get((words[0] if words else "", dest)) or _OFFERS.get(("", dest))
    if offer is None:
        return []
    try:
        return offer(given)
    except EdgecanaryError:
        return []


def _rollouts(given: Mapping[str, str]) -> Candidates:
    return _names(ROLLOUTS, given, namespace=given.get("namespace"))


def _nodes(given: Mapping[str, str]) -> Candidates:
    return _names(EDGE_NODES, given, namespace=given.get("system_namespace", "edgecanary-system"))


def _namespaces(given: Mapping[str, str]) -> Candidates:
    return _names(NAMESPACES, given, namespace=None)


def _goals(given: Mapping[str, str]) -> Candidates:
    steps = [(f"step={step}", "the step is reached") for step in _steps(given)]
    return [
        ("promoted", "the wanted revision is stable"),
        ("rolledback", "the wanted revision was taken back"),
        ("healthy", "Ready is True"),
        *(steps or [("step=", "the step is reached")]),
        ("condition=", "a condition has a status"),
    ]


def _steps(given: Mapping[str, str]) -> list[str]:
    """The steps of the Rollout that was named, none when it cannot be asked."""
    if not given.get("name"):
        return []
    try:
        with _asking(given) as (kube, default):
            body = kube.get(ROLLOUTS, given["name"], namespace=given.get("namespace") or default)
        return [step.name for step in parse(Rollout, body).spec.strategy.steps]
    except EdgecanaryError:
        return []


def _contexts(given: Mapping[str, str]) -> Candidates:
    return [(name, "") for name in load_config(_choice(given)).contexts]


def _clusters(given: Mapping[str, str]) -> Candidates:
    return [(name, "") for name in load_config(_choice(given)).clusters]


def _users(given: Mapping[str, str]) -> Candidates:
    return [(name, "") for name in load_config(_choice(given)).users]


_OFFERS: Mapping[tuple[str, str], Callable[[Mapping[str, str]], Candidates]] = {
    ("rollout", "name"): _rollouts,
    ("node", "name"): _nodes,
    ("rollout", "goal"): _goals,
    ("rollout", "namespace"): _namespaces,
    ("node", "namespace"): _namespaces,
    ("rollout", "system_namespace"): _namespaces,
    ("node", "system_namespace"): _namespaces,
    ("", "context"): _contexts,
    ("", "cluster"): _clusters,
    ("", "user"): _users,
}


def _names(resource: Resource, given: Mapping[str, str], *, namespace: str | None) -> Candidates:
    with _asking(given) as (kube, default):
        where = (namespace or default) if resource.namespaced else None
        return [(name, "") for name in kube.list_all(resource, _name, namespace=where).items]


@contextmanager
def _asking(given: Mapping[str, str]) -> Iterator[tuple[KubeClient, str]]:
    """A way to the cluster that gives up soon, and the namespace to use."""
    access = find_access(_choice(given))
    kube = KubeClient(access, user_agent="edgecanary-completion", connections=1, timeouts=_TIMEOUTS)
    try:
        yield kube, access.namespace or "default"
    finally:
        kube.close()


def _choice(given: Mapping[str, str]) -> Choice:
    return Choice(
        kubeconfig=given.get("kubeconfig"),
        context=given.get("context"),
        cluster=given.get("cluster"),
        user=given.get("user"),
        as_user=given.get("as_user"),
        plugin_seconds=_PLUGIN_SECONDS,
    )


def _name(body: JsonObject) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
