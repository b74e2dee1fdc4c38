"""Following an object when the server forgets, ends or garbles the watch."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecanary.base.errors import Unavailable
from edgecanary.clients.follow import Absent, Broken, Followed, Present, follow
from edgecanary.clients.kube import KubeClient, Timeouts
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.clients.useraccess import Choice, find_access
from tests.kube.wrong_servers import serving

PUMP = Followed(ROLLOUTS, "plant", "pump")
LIST = b'{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"pump","resourceVersion":"7"}}]}'
EMPTY = b'{"metadata":{"resourceVersion":"7"},"items":[]}'


def event(kind: str, body: str) -> bytes:
    return f'{{"type":"{kind}","object":{body}}}\n'.encode()


CHANGED = event("MODIFIED", '{"metadata":{"name":"pump","resourceVersion":"9"}}')
DELETED = event("DELETED", '{"metadata":{"name":"pump","resourceVersion":"9"}}')
EXPIRED = event("ERROR", '{"kind":"Status","code":410,"message":"too old resource version"}')
FORBIDDEN = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'


def reply(connection: socket.socket, body: bytes, status: str = "200 OK") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)


class Script:
    """A server that lists, and answers the watches one after the other."""

    def __init__(self, *watches: bytes, listing: bytes = LIST, status: str = "200 OK") -> None:
        self.watches = list(watches)
        self.listing, self.status = listing, status
        self.asked: list[str] = []

    def __call__(self, connection: socket.socket, head: bytes) -> None:
        target = head.split(b" ", 2)[1].decode()
        watch = "watch=true" in target
        self.asked.append("watch" if watch else "list")
        if not watch:
            reply(connection, self.listing)
        elif self.watches:
            reply(connection, self.watches.pop(0), self.status)
        else:
            connection.close()


def followed(script: Script, tmp_path: Path, count: int) -> tuple[list[object], list[float]]:
    """What the first happenings are, and how long was waited."""
    waits: list[float] = []
    with serving(script) as server:
        config = tmp_path / "config"
        config.write_text(
            "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
            f"clusters: [{{name: a, cluster: {{server: '{server.url}'}}}}]\n"
        )
        access = find_access(Choice(kubeconfig=str(config)))
        kube = KubeClient(access, user_agent="test", timeouts=Timeouts(connect=5, read=5))
        happenings: Iterator[object] = follow(kube, PUMP, sleep=waits.append)
        return [next(happenings) for _ in range(count)], waits


def version(happening: object) -> object:
    assert isinstance(happening, Present)
    metadata = happening.body["metadata"]
    assert isinstance(metadata, dict)
    return metadata["resourceVersion"]


def test_a_forgotten_watch_is_begun_anew_at_once_and_told(tmp_path: Path) -> None:
    script = Script(CHANGED + EXPIRED, CHANGED)
    found, waits = followed(script, tmp_path, 5)
    assert [type(one).__name__ for one in found] == ["Present", "Present", "Broken", "Present", "Present"]
    assert [version(found[i]) for i in (0, 1, 3, 4)] == ["7", "9", "7", "9"]
    assert isinstance(found[2], Broken)
    assert "410" in found[2].why
    assert waits == []
    assert script.asked[:3] == ["list", "watch", "list"]


def test_a_watch_that_the_server_ends_in_order_goes_on_without_a_word(tmp_path: Path) -> None:
    script = Script(CHANGED, b"", CHANGED)
    found, _ = followed(script, tmp_path, 3)
    assert [version(one) for one in found] == ["7", "9", "9"]
    assert script.asked == ["list", "watch", "watch", "watch"]


def test_a_watch_that_breaks_or_is_garbled_is_told_and_waited_for(tmp_path: Path) -> None:
    found, waits = followed(Script(b"no json\n"), tmp_path, 4)
    assert [type(one).__name__ for one in found] == ["Present", "Broken", "Present", "Broken"]
    assert len(waits) == 1
    assert isinstance(found[1], Broken)
    assert "is not JSON" in found[1].why


def test_an_object_that_is_deleted_or_not_there_is_absent(tmp_path: Path) -> None:
    assert followed(Script(DELETED), tmp_path, 2)[0][1] == Absent()
    assert followed(Script(listing=EMPTY), tmp_path, 1)[0] == [Absent()]


def test_what_is_forbidden_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r'verbs: \["watch"\]'):
        followed(Script(FORBIDDEN, status="403 Forbidden"), tmp_path, 2)
