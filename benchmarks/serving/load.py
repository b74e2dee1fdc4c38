"""The load of all servers alike: raw sockets, one request at a time on each, whole answers timed.

A process of its own, told by JSON on its standard input and answering with JSON, so that it can be kept on a core
that the server does not use: `python benchmarks/serving/load.py < order.json`.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from base64 import b64decode
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict

_PIECE = 1 << 18
_MARK = b'"model_version":"'
_REVISION = 64


class Order(TypedDict):
    """What to send where."""

    port: int
    path: str
    body: str
    """Base64."""
    headers: dict[str, str]
    clients: int
    seconds: float
    marks: bool
    """Whether to say when each revision answered."""
    core: int | None
    interval: float
    """Seconds from one request of a client to its next; 0 asks without a pause."""


class Report(TypedDict):
    """What came back. Times are in microseconds."""

    answers: int
    failed: int
    seconds: float
    p50: float
    p99: float
    longest: float
    revisions: list[str]
    """In the order of their first answers, with `marks`."""
    first_answers: list[float]
    """When each first answered, by the system's monotonic clock in seconds."""
    worst_gap: float
    """The longest time between two answers of all clients together."""
    spans: list[tuple[float, float]]
    """Of a paced load: when each request was due, and when its answer was whole, by the system's monotonic clock."""


@dataclass
class Seen:
    """What the clients saw so far."""

    times: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    failed: int = 0
    firsts: dict[str, float] = field(default_factory=dict)
    until: float = 0.0
    """When to send no more; SIGTERM makes that now."""

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self.until


class Client:
    """One connection."""

    def __init__(self, order: Order, request: bytes, seen: Seen) -> None:
        self.socket = socket.create_connection(("127.0.0.1", order["port"]), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._marks = order["marks"]
        self._seen = seen
        self._buffer = bytearray()
        self._begin = 0.0
        self.due = 0.0

    def send(self, since: float | None = None) -> None:
        """Sends the next request, whose time counts from `since` or from now."""
        self._buffer.clear()
        self._begin = time.perf_counter() if since is None else since
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Takes what is there; whether that completes the answer. Raises ConnectionError when it never will."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._buffer += piece
        if not _is_whole(self._buffer):
            return False
        now = time.perf_counter()
        self._seen.times.append(now - self._begin)
        self._seen.ends.append(now)
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._seen.failed += 1
        elif self._marks:
            at = self._buffer.find(_MARK) + len(_MARK)
            self._seen.firsts.setdefault(self._buffer[at : at + _REVISION].decode(), time.monotonic())
        return True


def main() -> None:
    """Reads the order, runs it, prints the report."""
    order: Order = json.load(sys.stdin)
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    body = b64decode(order["body"])
    lines = [f"POST {order['path']} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in order["headers"].items()]
    seen = Seen()
    clients = [
        Client(order, "\r\n".join(lines).encode() + b"\r\n\r\n" + body, seen) for _ in range(order["clients"])
    ]
    begin = time.perf_counter()
    seen.until = begin + order["seconds"]
    signal.signal(signal.SIGTERM, lambda *_: setattr(seen, "until", 0.0))
    if order["interval"]:
        _paced(clients, seen, order["interval"])
    elif len(clients) == 1:
        _one(clients[0], seen)
    else:
        _several(clients, seen)
    json.dump(_report(seen, time.perf_counter() - begin, paced=order["interval"] > 0), sys.stdout)


def _one(client: Client, seen: Seen) -> None:
    while not seen.over:
        client.send()
        while not client.receive():
            pass


def _several(clients: list[Client], seen: Seen) -> None:
    poll = select.epoll()
    by_number = {client.socket.fileno(): client for client in clients}
    for number, client in by_number.items():
        poll.register(number, select.EPOLLIN)
        client.send()
    busy = len(clients)
    while busy:
        for number, _ in poll.poll(60):
            if not by_number[number].receive():
                continue
            if seen.over:
                busy -= 1
            else:
                by_number[number].send()


def _paced(clients: list[Client], seen: Seen, interval: float) -> None:
    """Each client asks at fixed times. One that is late since it still waits counts from when it was due."""
    now = time.perf_counter()
    for number, client in enumerate(clients):
        client.due = now + interval * number / len(clients)
    waiting: dict[int, Client] = {}
    idle = list(clients)
    while waiting or not seen.over:
        now = time.perf_counter()
        for client in [client for client in idle if client.due <= now and not seen.over]:
            client.send(client.due)
            waiting[client.socket.fileno()] = client
            idle.remove(client)
        # To the microsecond, which epoll does not wait.
        left = max(0.0, min((client.due for client in idle), default=now + 1) - time.perf_counter())
        for number in select.select(list(waiting), [], [], left)[0]:
            client = waiting[number]
            if client.receive():
                del waiting[number]
                idle.append(client)
                client.due += interval


def _is_whole(answer: bytearray) -> bool:
    """Whether an answer is complete, by its length or its last chunk."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    for line in bytes(answer[:end]).lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(answer) >= end + 4 + int(value)
        if name == b"transfer-encoding":
            return answer.endswith(b"\r\n0\r\n\r\n")
    raise ConnectionError("the answer has no length")


def _report(seen: Seen, seconds: float, *, paced: bool) -> Report:
    times = sorted(seen.times)
    ends = sorted(seen.ends)
    return {
        "answers": len(times),
        "failed": seen.failed,
        "seconds": seconds,
        "p50": 1e6 * times[len(times) // 2],
        "p99": 1e6 * times[int(len(times) * 0.99)],
        "longest": 1e6 * times[-1],
        "revisions": list(seen.firsts),
        "first_answers": list(seen.firsts.values()),
        "worst_gap": 1e6 * max((b - a for a, b in pairwise(ends)), default=0.0),
        "spans": [(end - took, end) for took, end in zip(seen.times, seen.ends, strict=True)]
        if paced
        else [],
    }


if __name__ == "__main__":
    main()
