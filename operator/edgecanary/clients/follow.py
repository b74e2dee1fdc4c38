"""Following one object: what it is now and becomes, also when the watch breaks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import EdgecanaryError, Unavailable, WrongAnswer
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.kube import Expired, Forbidden, KubeClient
from edgecanary.clients.resources import Resource

WATCH_SECONDS = 60
"""A watch is begun anew so often: a connection that died without a word is noticed soon after."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_HOPELESS = ("Unauthorized", "NoClusterAccess")


@dataclass(frozen=True)
class Present:
    """The object as it is now."""

    body: JsonObject


@dataclass(frozen=True)
class Absent:
    """There is no such object now."""


@dataclass(frozen=True)
class Broken:
    """The watch broke, and is begun anew after so many seconds; what was seen last may be old."""

    why: str
    seconds: float = 0.0


Happening = Present | Absent | Broken


@dataclass(frozen=True)
class Followed:
    """Which object is followed."""

    resource: Resource
    namespace: str
    name: str


def follow(
    kube: KubeClient, what: Followed, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Happening]:
    """The object now, and whatever becomes of it, for ever.

    Raises Unavailable when the server forbids it or does not accept us, InvalidInput when there is no way to it;
    everything else is tried again.
    """
    backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)
    while True:
        try:
            for happening in _from_now_on(kube, what):
                backoff.reset()
                yield happening
        except Forbidden:
            raise
        except Expired:
            yield Broken("the server has forgotten where the watch was (410); it is begun anew")
        except (Unavailable, WrongAnswer) as error:
            if error.reason in _HOPELESS:
                raise
            wait = backoff.next()
            yield Broken(error.message, wait)
            sleep(wait)


def _from_now_on(kube: KubeClient, what: Followed) -> Iterator[Happening]:
    """The object now and its changes, until the watch breaks."""
    listing = kube.list_all(what.resource, _body, namespace=what.namespace, name=what.name)
    yield Present(listing.items[0]) if listing.items else Absent()
    version = listing.version
    while True:
        events = kube.watch(
            what.resource,
            namespace=what.namespace,
            name=what.name,
            version=version,
            seconds=WATCH_SECONDS,
        )
        for event in events:
            kind, body = event.get("type"), event.get("object")
            if not isinstance(body, dict):
                raise WrongAnswer("ApiServerGarbage", f"a watch event of {what.resource} has no object")
            if kind == "ERROR":
                raise _failure(body)
            version = _version(body) or version
            if kind in ("ADDED", "MODIFIED"):
                yield Present(body)
            elif kind == "DELETED":
                yield Absent()


def _failure(status: JsonObject) -> EdgecanaryError:
    message = str(status.get("message", "no reason given"))
    if status.get("code") == 410:
        return Expired("Expired", message)
    return Unavailable("WatchBroken", f"the API server ended the watch: {message}")


def _version(body: JsonObject) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""


def _body(body: JsonObject) -> JsonObject:
    return body
