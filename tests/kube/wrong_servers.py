"""Real HTTP servers on the loopback interface that answer wrongly: late, garbled, endless, elsewhere."""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Behaviour = Callable[[socket.socket, bytes], None]
"""Gets the connection and the request's head with what of its body has come."""


@dataclass
class WrongServer:
    """A server with one behaviour; it notes the requests it got."""

    port: int
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(behaviour: Behaviour, *, certificate: tuple[Path, Path] | None = None) -> Iterator[WrongServer]:
    """Runs a server until the block ends; with a certificate and key it speaks TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WrongServer(listener.getsockname()[1], "https" if context else "http")
        thread = threading.Thread(target=_accept, args=(listener, server, behaviour, context), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _accept(
    listener: socket.socket, server: WrongServer, behaviour: Behaviour, context: ssl.SSLContext | None
) -> None:
    while not server.stopping.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_handle, args=(connection, server, behaviour, context), daemon=True).start()


def _handle(
    connection: socket.socket, server: WrongServer, behaviour: Behaviour, context: ssl.SSLContext | None
) -> None:
    with contextlib.suppress(OSError), connection:
        channel = context.wrap_socket(connection, server_side=True) if context else connection
        head = b""
        while b"\r\n\r\n" not in head and (more := channel.recv(65536)):
            head += more
        server.requests.append(head)
        _read_body(channel, head)
        behaviour(channel, head)


def _read_body(channel: socket.socket, request: bytes) -> None:
    """The rest of the body: to hang up on it would make the client lose the answer."""
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0 and (more := channel.recv(missing)):
        missing -= len(more)


def answer(status: str, body: bytes, *headers: str) -> Behaviour:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return lambda channel, _: channel.sendall(head + body)


def silence(channel: socket.socket, _: bytes) -> None:
    """Takes the request and never answers."""
    with contextlib.suppress(OSError):
        while channel.recv(1024):
            continue


def hang_up(channel: socket.socket, _: bytes) -> None:
    """Ends the connection without an answer."""
    channel.shutdown(socket.SHUT_RDWR)


def drip(head: bytes, *, every: float = 0.05) -> Behaviour:
    """Sends the bytes one by one, then blanks for a minute."""

    def behave(channel: socket.socket, _: bytes) -> None:
        for byte in head:
            channel.sendall(bytes([byte]))
            time.sleep(every)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            channel.sendall(b" ")
            time.sleep(every)

    return behave


def endless(channel: socket.socket, _: bytes) -> None:
    """A body without an end, as fast as it is read."""
    channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
    while True:
        channel.sendall(b"[" * 65536)


def cut_short(body: bytes, *, length: int) -> Behaviour:
    """Announces `length` bytes and hangs up after `body`."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    return lambda channel, _: channel.sendall(head + body)
