"""kopf's handlers: they take changes into the cache and wake the reconcilers, nothing else."""

from collections.abc import Callable
from typing import cast

import kopf

from edgecanary.api.fields import JsonObject
from edgecanary.controller.cache import Part, Wakes

Wake = Callable[[Wakes], None]
Restarted = Callable[[Part], None]


def register(registry: kopf.OperatorRegistry, parts: tuple[Part, ...], wake: Wake, anew: Restarted) -> None:
    """Adds one handler for each kind. `anew` hears when a watch of the kind begins anew."""
    for part in parts:
        _register_one(registry, part, wake, anew)


def _register_one(registry: kopf.OperatorRegistry, part: Part, wake: Wake, anew: Restarted) -> None:
    kind = part.resource

    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
    async def changed(event: kopf.RawEvent, **_: object) -> None:
        body = cast("JsonObject", event["object"])
        if event["type"] is None:
            anew(part)
        wake(part.observe(event["type"], body))
