"""The API server as a node's agent sees it: releases, its own Node's labels, its own EdgeNode.

Two threads watch, each over one connection that is idle but for bookmarks; nothing polls.
"""

import asyncio
import contextlib
import logging
import random
import re
import threading
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from edgecanary.api import API_VERSION
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.base.errors import EdgecanaryError, NotFound, WrongAnswer
from edgecanary.clients.backoff import Backoff
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleaseChanged, ReleaseGone, ReleasesListed
from edgecanary.clients.nodehttp import ApiHttp, Call, Expired, HttpLimits, Stream, parse_json

log = logging.getLogger(__name__)

FIELD_MANAGER = "edgecanary-agent"

_GROUP_PATH = f"/apis/{API_VERSION}"
_WATCH_SECONDS = (200, 280)
"""A watch ends and is renewed after a random time in this range, so that a fleet's do not fall together."""

_RESUMABLE = frozenset({"ServerUnreachable", "WatchCut"})
"""Failures after which a watch goes on where it was; after all others everything is listed again."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Deliver = Callable[[NodeEvent], None]


class _Topic(Protocol):
    """What a watch is about, and what its objects say."""

    @property
    def path(self) -> str: ...

    @property
    def query(self) -> dict[str, str]: ...

    def accept(self, kind: str) -> str:
        """The media type to ask for; `kind` is the name of metadata-only objects or lists."""
        ...

    def listed(self, items: list[JsonObject]) -> NodeEvent: ...

    def event(self, change: str, item: JsonObject) -> NodeEvent | None: ...


class _Releases:
    """The ModelReleases of the cluster."""

    path = f"{_GROUP_PATH}/modelreleases"

    @property
    def query(self) -> dict[str, str]:
        return {}

    def accept(self, kind: str) -> str:  # noqa: ARG002 - whole objects are wanted
        return "application/json"

    def listed(self, items: list[JsonObject]) -> NodeEvent:
        read = [(item, _release(item)) for item in items]
        return ReleasesListed(
            releases=tuple(release for _, release in read if release),
            unreadable=frozenset(_place(item) for item, release in read if release is None),
        )

    def event(self, change: str, item: JsonObject) -> NodeEvent | None:
        if change == "DELETED":
            return ReleaseGone(*_place(item))
        release = _release(item)
        return ReleaseChanged(release) if release else None


class _OwnNode:
    """The labels and the UID of one Node; its metadata alone is asked for."""

    path = "/api/v1/nodes"

    def __init__(self, node: str) -> None:
        self._node = node
        self._last: LabelsHeard | None = None

    @property
    def query(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={self._node}"}

    def accept(self, kind: str) -> str:
        return f"application/json;as={kind};g=meta.k8s.io;v=v1"

    def listed(self, items: list[JsonObject]) -> NodeEvent:
        self._last = _node(items[0]) if items else LabelsHeard(None)
        return self._last

    def event(self, change: str, item: JsonObject) -> NodeEvent | None:
        heard = LabelsHeard(None) if change == "DELETED" else _node(item)
        if heard == self._last:
            return None
        self._last = heard
        return heard


class NodeApi:
    """The cluster port of a node's agent, on an API server."""

    def __init__(
        self, access: ApiAccess, node: str, namespace: str, limits: HttpLimits | None = None
    ) -> None:
        """`namespace` is where the node's EdgeNode lives."""
        self._http = ApiHttp(access, limits)
        self._node = node
        self._namespace = namespace
        self._watchers: list[_Watcher] = []

    def start(self, deliver: Deliver) -> None:
        """Begins to watch; `deliver` is called in the running event loop, for ever, through all outages."""
        loop = asyncio.get_running_loop()

        def hand_over(event: NodeEvent) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(deliver, event)

        for topic in (_OwnNode(self._node), _Releases()):
            watcher = _Watcher(self._http, topic, hand_over)
            self._watchers.append(watcher)
            watcher.start()

    def stop(self) -> None:
        """Ends the watches."""
        for watcher in self._watchers:
            watcher.stop()

    async def write_status(self, status: EdgeNodeStatus) -> None:
        """Replaces the status of the node's EdgeNode, which is made when it is not there.

        Raises Unavailable, WrongAnswer, NotFound (the kind is not installed) and InvalidInput.
        """
        await asyncio.to_thread(self._write_status, status)

    def _write_status(self, status: EdgeNodeStatus) -> None:
        body: JsonObject = {"status": status.to_json()}
        try:
            self._apply("/status", body)
        except NotFound:
            self._apply("", {})
            self._apply("/status", body)

    def _apply(self, subresource: str, content: JsonObject) -> None:
        path = f"{_GROUP_PATH}/namespaces/{self._namespace}/edgenodes/{self._node}{subresource}"
        head: JsonObject = {
            "apiVersion": API_VERSION,
            "kind": "EdgeNode",
            "metadata": {"name": self._node, "namespace": self._namespace},
        }
        self._http.call(
            Call(
                method="PATCH",
                path=path,
                query={"fieldManager": FIELD_MANAGER, "force": "true"},
                body={**head, **content},
                content_type="application/apply-patch+yaml",
                accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            )
        )


class _Watcher:
    """Lists, then watches, for ever, in a thread of its own."""

    def __init__(self, http: ApiHttp, topic: _Topic, deliver: Deliver) -> None:
        self._http = http
        self._topic = topic
        self._deliver = deliver
        self._backoff = Backoff(first_seconds=1.0, cap_seconds=30.0)
        self._stopping = threading.Event()
        self._stream: Stream | None = None
        self._version = ""
        self._failing = False

    def start(self) -> None:
        """Starts the thread."""
        name = f"watch {self._topic.path.rsplit('/', 1)[-1]}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, also while it waits for the server."""
        self._stopping.set()
        if stream := self._stream:
            stream.end()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._version:
                    self._list()
                self._watch()
            except Expired:
                self._version = ""
            except EdgecanaryError as error:
                if error.reason not in _RESUMABLE:
                    self._version = ""
                self._failed(error)

    def _failed(self, error: EdgecanaryError) -> None:
        if self._stopping.is_set():
            return
        wait = self._backoff.next()
        level = logging.DEBUG if self._failing else logging.WARNING
        log.log(level, "watching %s: %s; trying again, what is known stays in force", self._topic.path, error)
        self._failing = True
        self._stopping.wait(wait)

    def _recovered(self) -> None:
        if self._failing:
            log.info("watching %s: the server answers again", self._topic.path)
        self._failing = False
        self._backoff.reset()

    def _list(self) -> None:
        answer = self._http.call(
            Call(
                path=self._topic.path,
                query={**self._topic.query, "resourceVersion": "0"},
                accept=self._topic.accept("PartialObjectMetadataList"),
            )
        )
        items = answer.get("items") or []  # an empty list of metadata comes as null
        if not str(answer.get("kind")).endswith("List") or not isinstance(items, list):
            raise WrongAnswer("NotAList", f"{self._topic.path}: the answer is not a list")
        self._deliver(self._topic.listed([item for item in items if isinstance(item, dict)]))
        self._version = _version(answer)
        self._recovered()

    def _watch(self) -> None:
        stream = self._http.stream(
            Call(
                path=self._topic.path,
                query={
                    **self._topic.query,
                    "watch": "true",
                    "resourceVersion": self._version,
                    "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),  # noqa: S311 - spreads load
                    "allowWatchBookmarks": "true",
                },
                accept=self._topic.accept("PartialObjectMetadata"),
            )
        )
        self._stream = stream
        try:
            if self._stopping.is_set():
                return
            self._recovered()
            for line in stream.lines():
                self._take(line)
        finally:
            self._stream = None
            stream.close()

    def _take(self, line: bytes) -> None:
        event = parse_json(line, f"{self._topic.path}: an event")
        item = event.get("object") if isinstance(event, dict) else None
        if not isinstance(event, dict) or not isinstance(item, dict):
            raise WrongAnswer("NotAnEvent", f"{self._topic.path}: an event has no object")
        change = event.get("type")
        if change == "ERROR":
            if item.get("code") == 410:
                raise Expired
            raise WrongAnswer("WatchError", f"{self._topic.path}: {item.get('message')}")
        if change in ("ADDED", "MODIFIED", "DELETED"):
            heard = self._topic.event(str(change), item)
            if heard is not None:
                self._deliver(heard)
        self._version = _version(item)


def _version(item: JsonObject) -> str:
    metadata = item.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise WrongAnswer("NoVersion", "an answer of the API server has no resourceVersion")
    return version


def _place(item: JsonObject) -> tuple[str, str]:
    metadata = item.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    return str(fields.get("namespace", "")), str(fields.get("name", ""))


def _node(item: JsonObject) -> LabelsHeard:
    metadata = item.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    labels = fields.get("labels")
    return LabelsHeard(
        {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {},
        str(fields.get("uid", "")),
    )


def _release(item: JsonObject) -> ModelRelease | None:
    namespace, name = _place(item)
    if not _NAMESPACE.fullmatch(namespace):
        # It becomes the name of a directory.
        log.error("ModelRelease %r is left alone: %r is no name of a namespace", name[:253], namespace[:253])
        return None
    try:
        return ModelRelease.model_validate(item)
    except ValidationError as error:
        log.error(
            "ModelRelease %s is not understood and left alone (is this agent older than the operator?): %s",
            "/".join(_place(item)),
            error,
        )
        return None
