"""A live copy of the cluster's edgecanary objects, kept by watches, with a log of every change."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.edgenode import EdgeNode, NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import Rollout
from edgelab.api import ApiClient, JsonObject
from edgelab.errors import ApiError
from edgelab.fleet.waiting import NotReachedError

T = TypeVar("T")
Kind: TypeAlias = "type[EdgeModel] | type[Rollout] | type[ModelRelease] | type[EdgeNode]"
Object: TypeAlias = EdgeModel | Rollout | ModelRelease | EdgeNode
Key: TypeAlias = tuple[str, str, str]
"""Plural, namespace and name."""

GROUP = "/apis/edgecanary.dev/v1alpha1"
KINDS: Mapping[str, Kind] = {
    "edgemodels": EdgeModel,
    "rollouts": Rollout,
    "modelreleases": ModelRelease,
    "edgenodes": EdgeNode,
}
_RETRY_SECONDS = 0.2
_STREAM_SECONDS = 300


@dataclass(frozen=True)
class Change:
    """One state of one object, as it arrived. `found` is None when the object was deleted."""

    time: float
    """Seconds since the epoch, by this process's clock."""
    key: Key
    found: Object | None


class Mirror:
    """Watches all four kinds while it is entered as a context; survives a restart of the API server."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._changed = threading.Condition()
        self._objects: dict[Key, Object] = {}
        self._changes: list[Change] = []
        self._streams = [_Stream(api, plural, self._take) for plural in KINDS]

    def __enter__(self) -> Self:
        for stream in self._streams:
            stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.stop()

    def rollout(self, namespace: str, name: str) -> Rollout | None:
        """The Rollout, or None."""
        found = self._get("rollouts", namespace, name)
        return found if isinstance(found, Rollout) else None

    def release(self, namespace: str, name: str) -> ModelRelease | None:
        """The ModelRelease, or None."""
        found = self._get("modelreleases", namespace, name)
        return found if isinstance(found, ModelRelease) else None

    def model(self, namespace: str, name: str) -> EdgeModel | None:
        """The EdgeModel, or None."""
        found = self._get("edgemodels", namespace, name)
        return found if isinstance(found, EdgeModel) else None

    def nodes(self) -> dict[str, EdgeNode]:
        """The EdgeNodes by name."""
        with self._changed:
            found = list(self._objects.values())
        return {item.metadata.name: item for item in found if isinstance(item, EdgeNode)}

    def reports(self, namespace: str, model: str) -> dict[str, NodeModelStatus]:
        """What each node last reported of a model; nodes that said nothing are left out."""
        return {
            name: report
            for name, node in self.nodes().items()
            for report in node.status.models
            if (report.namespace, report.name) == (namespace, model)
        }

    def changes(self) -> tuple[Change, ...]:
        """Every change so far, the oldest first."""
        with self._changed:
            return tuple(self._changes)

    def wait(
        self,
        what: str,
        condition: Callable[[], T | None],
        *,
        got: Callable[[], str],
        seconds: float = 120.0,
    ) -> T:
        """Ask `condition` after every change until it gives something true; that.

        Raises:
            NotReachedError: it did not within `seconds`; `got` is asked for what was there instead.
        """
        deadline = time.monotonic() + seconds
        while True:
            with self._changed:
                seen = len(self._changes)
            if found := condition():
                return found
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotReachedError(what, seconds, got())
                if len(self._changes) == seen:
                    self._changed.wait(min(left, 1.0))

    def _get(self, plural: str, namespace: str, name: str) -> Object | None:
        with self._changed:
            return self._objects.get((plural, namespace, name))

    def _take(self, key: Key, found: Object | None) -> None:
        with self._changed:
            before = self._objects.get(key)
            if found is None:
                if self._objects.pop(key, None) is None:
                    return
            elif before and before.metadata.resource_version == found.metadata.resource_version:
                return
            else:
                self._objects[key] = found
            self._changes.append(Change(time.time(), key, found))
            self._changed.notify_all()


class _Stream(threading.Thread):
    """Lists and watches one kind for ever."""

    def __init__(self, api: ApiClient, plural: str, take: Callable[[Key, Object | None], None]) -> None:
        super().__init__(name=f"mirror-{plural}", daemon=True)
        self._api = api
        self._plural = plural
        self._take = take
        self._known: set[Key] = set()
        self._stopping = threading.Event()
        self._connection: http.client.HTTPSConnection | None = None

    def stop(self) -> None:
        """End the watch and the thread."""
        self._stopping.set()
        connection = self._connection
        if connection is not None and isinstance(connection.sock, socket.socket):
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)

    def run(self) -> None:
        """List, watch, and begin again when the watch ends."""
        while not self._stopping.is_set():
            with contextlib.suppress(OSError, ApiError, ValueError, http.client.HTTPException):
                self._watch(self._list())
            self._stopping.wait(_RETRY_SECONDS)

    def _list(self) -> str:
        answer = self._api.get(f"{GROUP}/{self._plural}")
        found = {self._parse(item) for item in answer["items"]}
        for key in self._known - found:
            self._take(key, None)
        self._known = found
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> None:
        address = urlsplit(self._api.server)
        trust = self._api.credentials
        context = ssl.create_default_context(cafile=str(trust.authority))
        context.load_cert_chain(trust.certificate, trust.key)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=context, timeout=_STREAM_SECONDS + 30
        )
        with contextlib.closing(connection):
            query = f"watch=true&resourceVersion={version}&timeoutSeconds={_STREAM_SECONDS}"
            connection.request("GET", f"{GROUP}/{self._plural}?{query}")
            self._connection = connection
            response = connection.getresponse()
            while not self._stopping.is_set() and (line := response.readline()):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self._parse(event["object"], deleted=event["type"] == "DELETED")

    def _parse(self, item: JsonObject, *, deleted: bool = False) -> Key:
        found = KINDS[self._plural].model_validate(item)
        key = (self._plural, found.metadata.namespace, found.metadata.name)
        self._take(key, None if deleted else found)
        if deleted:
            self._known.discard(key)
        else:
            self._known.add(key)
        return key
