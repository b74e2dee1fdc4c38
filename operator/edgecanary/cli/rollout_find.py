"""Finding one Rollout, with help for a person when there is none of that name."""

import difflib
from collections.abc import Sequence

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotFound
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.views import ObjectKey, identify, parse

_NAMED = 5


def find_rollout(kube: KubeClient, namespace: str, name: str) -> Rollout:
    """The Rollout.

    Raises NotFound (KindMissing, RolloutNotFound), the latter with names near it and namespaces that have it.
    """
    return parse(Rollout, find_rollout_body(kube, namespace, name))


def find_rollout_body(kube: KubeClient, namespace: str, name: str) -> JsonObject:
    """The Rollout as the server has it. Raises NotFound as `find_rollout` does."""
    if not name:
        raise InvalidInput("NAME", "must be the name of a Rollout", reason="InvalidSetting")
    try:
        return kube.get(ROLLOUTS, name, namespace=namespace)
    except NotFound as error:
        raise _not_found(kube, namespace, name) from error


def _not_found(kube: KubeClient, namespace: str, name: str) -> NotFound:
    try:
        here = kube.list_all(ROLLOUTS, _key, namespace=namespace).items
    except NotFound:
        return NotFound(
            "KindMissing",
            "the cluster does not know the kind Rollout; install the CRDs: kubectl apply --server-side -f crds/",
        )
    except EdgecanaryError:
        here = ()
    text = f"there is no Rollout {name} in namespace {namespace}"
    return NotFound("RolloutNotFound", f"{text}; {_advice(kube, name, [key.name for key in here])}")


def _advice(kube: KubeClient, name: str, here: Sequence[str]) -> str:
    if near := difflib.get_close_matches(name, here, n=_NAMED, cutoff=0.6):
        return f"did you mean {' or '.join(near)}?"
    if elsewhere := _namespaces_with(kube, name):
        return f"it is in namespace {' and in '.join(elsewhere[:_NAMED])}: give -n"
    if not here:
        return "there is none in this namespace; choose another with -n"
    more = f" and {len(here) - _NAMED} more" if len(here) > _NAMED else ""
    return f"there are {', '.join(sorted(here)[:_NAMED])}{more}"


def _namespaces_with(kube: KubeClient, name: str) -> list[str]:
    """The namespaces that have a Rollout of that name; none when that may not be asked."""
    try:
        everywhere = kube.list_all(ROLLOUTS, _key).items
    except EdgecanaryError:
        return []
    return sorted(key.namespace for key in everywhere if key.name == name)


def _key(body: JsonObject) -> ObjectKey:
    return identify(body).key
