"""Lists and watches against a server that says what the test tells it to, byte by byte."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import JsonValue

from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.base.errors import InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeapi import NodeApi
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleaseChanged, ReleasesListed
from edgecanary.clients.nodehttp import HttpLimits

LIMITS = HttpLimits(
    connect_seconds=2, read_seconds=2, silence_seconds=2, body_bytes=20_000, line_bytes=10_000
)


@dataclass(frozen=True)
class Reply:
    """One answer; a watch stays open after it unless it `ends`."""

    body: bytes = b""
    status: int = 200
    ends: bool = True


@dataclass(frozen=True)
class Asked:
    """One request for releases."""

    watch: bool
    version: str
    query: dict[str, list[str]]


@dataclass
class Script:
    """Answers requests for releases from a list, one after the other; for nodes there is always one."""

    replies: list[Reply]
    asked: list[Asked] = field(default_factory=list)
    writes: list[tuple[str, JsonValue]] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def next(self) -> Reply:
        return self.replies.pop(0) if self.replies else Reply(ends=False)


def body(found: JsonValue) -> bytes:
    return json.dumps(found).encode() + b"\n"


def release(sequence: int, version: int, **spec: JsonValue) -> JsonValue:
    return {
        "metadata": {"name": "pump", "namespace": "plant", "uid": "u", "resourceVersion": str(version)},
        "spec": {"model": "pump", "sequence": sequence, **spec},
    }


def listing(version: int, *items: JsonValue) -> Reply:
    return Reply(
        body(
            {"kind": "ModelReleaseList", "metadata": {"resourceVersion": str(version)}, "items": list(items)}
        )
    )


def news(change: str, item: JsonValue) -> bytes:
    return body({"type": change, "object": item})


GONE = news("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
BOOKMARK = news("BOOKMARK", {"metadata": {"resourceVersion": "40"}})


@asynccontextmanager
async def scripted(*replies: Reply) -> AsyncIterator[tuple[Script, list[NodeEvent]]]:
    """A port that listens to a scripted server, and what it delivered."""
    script, heard = Script(list(replies)), list[NodeEvent]()
    with serving(script):
        port = NodeApi(ApiAccess(f"http://127.0.0.1:{script.port}"), "n1", "system", LIMITS)
        port.start(lambda event: None if isinstance(event, LabelsHeard) else heard.append(event))
        try:
            yield script, heard
        finally:
            port.stop()


class serving:  # noqa: N801 - reads as a function where it is used
    """Runs the scripted server."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Script:
        self._script.port = self._server.server_port
        self._thread.start()
        return self._script

    def __exit__(self, *_: object) -> None:
        self._script.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            watch = "watch" in query
            if "/nodes" in self.path:
                reply = Reply(ends=False) if watch else listing(1)
            else:
                script.asked.append(Asked(watch, query.get("resourceVersion", [""])[0], query))
                reply = script.next()
            self._answer(reply)

        def do_PATCH(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            script.writes.append((self.path, json.loads(data)))
            self._answer(script.next())

        def _answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.end_headers()
            self.wfile.write(reply.body)
            self.wfile.flush()
            if not reply.ends:
                script.ending.wait()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    return Handler


async def until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def sequences(heard: list[NodeEvent]) -> list[int]:
    return [event.release.spec.sequence for event in heard if isinstance(event, ReleaseChanged)]


async def test_a_watch_that_ends_goes_on_after_the_last_version_it_saw() -> None:
    watch = Reply(news("MODIFIED", release(2, 11)) + BOOKMARK)
    async with scripted(listing(10, release(1, 9)), watch) as (script, heard):
        await until(lambda: len(script.asked) == 3)

    assert [(asked.watch, asked.version) for asked in script.asked] == [
        (False, "0"),
        (True, "10"),
        (True, "40"),
    ]
    assert sequences(heard) == [2]


async def test_a_watch_asks_for_bookmarks_and_for_an_end_of_its_own() -> None:
    async with scripted(listing(10)) as (script, _):
        await until(lambda: len(script.asked) == 2)

    assert script.asked[1].query["allowWatchBookmarks"] == ["true"]
    assert 200 <= int(script.asked[1].query["timeoutSeconds"][0]) <= 280


@pytest.mark.parametrize(
    "watch",
    [
        pytest.param(Reply(GONE), id="as an event"),
        pytest.param(Reply(body({"message": "too old"}), status=410), id="as a status"),
        pytest.param(Reply(news("ERROR", {"code": 500, "message": "internal"})), id="another error event"),
        pytest.param(Reply(b"no json\n"), id="garbage"),
        pytest.param(Reply(body({"type": "ADDED"})), id="an event without an object"),
        pytest.param(Reply(news("ADDED", {"metadata": {}})), id="an object without a version"),
        pytest.param(Reply(b"x" * 10_001, ends=False), id="an endless line"),
        pytest.param(Reply(body({"message": "no"}), status=403), id="forbidden"),
    ],
)
async def test_a_version_that_is_no_longer_good_leads_to_a_new_list(watch: Reply) -> None:
    async with scripted(listing(10, release(1, 9)), watch, listing(20, release(5, 19))) as (script, heard):
        await until(lambda: len(script.asked) == 4)

    assert [(asked.watch, asked.version) for asked in script.asked] == [
        (False, "0"),
        (True, "10"),
        (False, "0"),
        (True, "20"),
    ]
    lists = [event for event in heard if isinstance(event, ReleasesListed)]
    assert [item.spec.sequence for event in lists for item in event.releases] == [1, 5]


async def test_a_silent_watch_is_opened_again_where_it_was() -> None:
    async with scripted(listing(10), Reply(ends=False)) as (script, _):
        await until(lambda: len(script.asked) >= 3)

    assert [(asked.watch, asked.version) for asked in script.asked[1:3]] == [(True, "10"), (True, "10")]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Reply(status=500), id="500"),
        pytest.param(Reply(b"{"), id="no json"),
        pytest.param(Reply(b"[]"), id="no object"),
        pytest.param(Reply(body({"kind": "Status", "metadata": {"resourceVersion": "3"}})), id="no list"),
        pytest.param(Reply(b"x" * 20_001), id="too large"),
        pytest.param(Reply(status=404), id="not there"),
        pytest.param(Reply(ends=False), id="no answer in time"),
    ],
)
async def test_an_answer_that_is_no_list_delivers_nothing_and_is_asked_for_again(answer: Reply) -> None:
    async with scripted(answer, listing(10, release(1, 9))) as (_, heard):
        await until(lambda: heard)

    assert [len(event.releases) for event in heard if isinstance(event, ReleasesListed)] == [1]


async def test_a_release_that_is_not_understood_is_named_and_left_alone() -> None:
    newer = release(1, 9, stable={"revision": "of another make"})
    async with scripted(listing(10, newer), Reply(news("MODIFIED", newer) + BOOKMARK)) as (script, heard):
        await until(lambda: len(script.asked) == 3)

    assert heard == [ReleasesListed((), unreadable=frozenset({("plant", "pump")}))]


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply(body({"message": "boom"}), status=500), Unavailable, "HTTP 500: boom"),
        (Reply(body({"message": "bad field"}), status=422), InvalidInput, "HTTP 422: bad field"),
        (Reply(b"404 page not found\n", status=404), NotFound, "Apply edgecanary's CRDs"),
        (Reply(b"<html>", status=503), Unavailable, "HTTP 503: <html>"),
        (Reply(b"x" * 20_001), WrongAnswer, "more than 20000 bytes"),
        (Reply(b"no json"), WrongAnswer, "not JSON"),
    ],
)
async def test_a_report_that_is_refused_says_why_in_the_servers_words(
    reply: Reply, kind: type[Exception], said: str
) -> None:
    script = Script([reply, reply, reply])
    with serving(script):
        port = NodeApi(ApiAccess(f"http://127.0.0.1:{script.port}"), "n1", "system", LIMITS)
        with pytest.raises(kind, match=said):
            await port.write_status(EdgeNodeStatus())


async def test_nobody_listening_is_unreachable() -> None:
    with serving(Script([])) as script:
        access = ApiAccess(f"http://127.0.0.1:{script.port}")

    with pytest.raises(Unavailable) as caught:
        await NodeApi(access, "n1", "system", LIMITS).write_status(EdgeNodeStatus())

    assert caught.value.reason == "ServerUnreachable"
