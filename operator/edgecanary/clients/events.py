"""Kubernetes Events about our objects, one for each transition."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import Field, ValidationError

from edgecanary.api.fields import ApiModel, JsonObject, Time
from edgecanary.api.meta import ObjectMeta
from edgecanary.base.clock import Clock, to_rfc3339
from edgecanary.base.errors import Conflict, NotFound
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import EVENTS, Resource

COMPONENT = "edgecanary-operator"
_MESSAGE_LIMIT = 1024
_SAME_TRANSITION = timedelta(seconds=30)


@dataclass(frozen=True)
class Subject:
    """The object that an Event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str


class Happening(Protocol):
    """What happened: a machine reason, a sentence, and whether it is a Warning."""

    @property
    def reason(self) -> str:
        """PascalCase."""
        ...

    @property
    def message(self) -> str:
        """A sentence for a person."""
        ...

    @property
    def warning(self) -> bool:
        """Whether the Event's type is Warning."""
        ...


class _Event(ApiModel):
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    count: int = 1
    last_timestamp: Time | None = None


class EventRecorder:
    """Writes Events to the API server.

    The same words about the same object make one Event. A plan that is made again after a conflict or a
    restart repeats its words within seconds: that is the same transition and adds nothing. Later it is a new
    one, which is counted in the Event.
    """

    def __init__(self, kube: KubeClient, clock: Clock, *, instance: str) -> None:
        self._kube = kube
        self._clock = clock
        self._instance = instance

    def record(self, about: Subject, happening: Happening) -> None:
        """Write the Event, or count it. Raises the API server's errors."""
        now = self._clock.now()
        event = self._event(about, happening, now)
        try:
            self._kube.create(EVENTS, event, namespace=about.namespace)
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            self._count(about, _name(about, happening), now)

    def _count(self, about: Subject, name: str, now: datetime) -> None:
        try:
            known = _Event.model_validate(self._kube.get(EVENTS, name, namespace=about.namespace))
        except (NotFound, ValidationError):
            return
        if known.last_timestamp is not None and now - known.last_timestamp < _SAME_TRANSITION:
            return
        # Not counted twice by an operator that slept after it had looked.
        metadata: JsonObject = {"resourceVersion": known.metadata.resource_version}
        patch: JsonObject = {"metadata": metadata, "count": known.count + 1, "lastTimestamp": _seconds(now)}
        self._kube.merge(EVENTS, name, patch, namespace=about.namespace)

    def _event(self, about: Subject, happening: Happening, now: datetime) -> JsonObject:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": _name(about, happening), "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.resource.api_version,
                "kind": about.resource.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "reason": happening.reason,
            "message": happening.message[:_MESSAGE_LIMIT],
            "type": "Warning" if happening.warning else "Normal",
            "source": {"component": COMPONENT},
            "reportingComponent": f"edgecanary.dev/{COMPONENT}",
            "reportingInstance": self._instance,
            "firstTimestamp": _seconds(now),
            "lastTimestamp": _seconds(now),
            "count": 1,
        }


def _name(about: Subject, happening: Happening) -> str:
    words = "\n".join((about.uid, happening.reason, happening.message))
    return f"{about.name[:200].rstrip('-.')}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"


def _seconds(moment: datetime) -> str:
    """Events keep whole seconds."""
    return to_rfc3339(moment.replace(microsecond=0))
