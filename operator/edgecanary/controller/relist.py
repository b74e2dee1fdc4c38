"""Whole lists: one of each kind before anything is planned, then now and then, against what watches miss.

A watch that was away does not say what was deleted meanwhile, and a watch that hangs says nothing at all. A
list removes the ghosts and shows the hanging watch.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from edgecanary.base.errors import NotFound
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import Resource
from edgecanary.controller.cache import Part, Wakes

SOON_SECONDS = 2.0
"""How soon after a watch began anew its kind is listed."""

_DOUBT_SECONDS = 60.0
_STUCK_SECONDS = 90.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reactions:
    """What is done after a list: wake whom it concerns, note it, begin anew a watch that hangs."""

    wake: Callable[[Wakes], None]
    listed: Callable[[Resource], None]
    restart_watches: Callable[[], None]


class Relister:
    """Lists the kinds. `seconds` is the usual time between two lists of a kind, spread by a tenth."""

    def __init__(
        self,
        kube: KubeClient,
        parts: tuple[Part, ...],
        reactions: Reactions,
        *,
        seconds: float,
        random: Random,
    ) -> None:
        self._kube = kube
        self._parts = {part.resource: part for part in parts}
        self._reactions = reactions
        self._seconds = seconds
        self._random = random
        self._listed: set[Resource] = set()
        self._missing: set[Resource] = set()

    def relist(self, resource: Resource) -> float:
        """Lists one kind; the seconds until the next list.

        Raises NotFound, saying what to install, when the server does not know the kind.
        """
        part = self._parts[resource]
        try:
            self._reactions.wake(part.reload(self._kube))
        except NotFound as error:
            self._missing.add(resource)
            advice = "install edgecanary's CustomResourceDefinitions: kubectl apply --server-side -f crds/"
            raise NotFound("KindNotServed", f"the API server has no {resource}; {advice}") from error
        self._reactions.listed(resource)
        if resource in self._missing:
            # A watch that began while the kind was not served has left it out, and would not look again.
            self._missing.discard(resource)
            self._reactions.restart_watches()
        overdue = part.overdue()
        if overdue > _STUCK_SECONDS:
            log.error("the watch of %s has been behind for %.0f s; it begins anew", resource, overdue)
            self._reactions.restart_watches()
        # The first list comes before the watch, which then owes everything and means nothing.
        if part.owes and resource in self._listed:
            return _DOUBT_SECONDS
        self._listed.add(resource)
        return self._seconds * self._random.uniform(0.9, 1.1)
