"""Connections that go only where they may, and that are given up when no answer begins in time."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.connection import allowed_gai_family, create_connection

from edgecanary.base.addresses import parse_peer
from edgecanary.base.reach import Reach

PoolClasses = dict[str, type[HTTPConnectionPool]]
ConnectionClasses = tuple[type[HTTPConnection], type[HTTPSConnection]]

_KEPT = 64


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried. Raises OSError."""
    bare = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(bare, port, allowed_gai_family(), socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


Resolve = Callable[[str, int], list[str]]


def connect(connection: HTTPConnection, reach: Reach, names: Resolve | None = None) -> socket.socket:
    """A socket to one of the connection's addresses, all of which were found to be allowed.

    The name is resolved once, and what is connected to is an address that was looked at; the socket's other end is
    looked at as well. Raises NotAllowed, and urllib3's own errors.
    """
    # With the dot at its end, which keeps a resolver from trying its search domains.
    host: str = getattr(connection, "_dns_host", connection.host)
    try:
        addresses = (names or resolve)(host, connection.port)
    except OSError as error:
        gai = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
        raise NameResolutionError(connection.host, connection, gai) from error
    reach.check_addresses(host, connection.port, [parse_peer(address) for address in addresses])
    problem: OSError = OSError("the name has no address")
    for address in addresses:
        try:
            found = create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            problem = error
            continue
        with contextlib.ExitStack() as stack:
            stack.callback(found.close)
            reach.check_addresses(host, connection.port, [parse_peer(found.getpeername()[0])])
            stack.pop_all()
        return found
    if isinstance(problem, TimeoutError):
        text = f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
        raise ConnectTimeoutError(connection, text) from problem
    raise NewConnectionError(connection, f"Failed to establish a new connection: {problem}") from problem


@lru_cache(maxsize=_KEPT)
def connection_classes(reach: Reach, answer_seconds: float | None = None) -> ConnectionClasses:
    """Connections, for http and for https, that go only where `reach` lets them.

    The head of an answer must be there after `answer_seconds`.
    """

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, reach)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3 itself
            with _closing_after(answer_seconds, self.sock):
                return super().getresponse()

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, reach)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3 itself
            with _closing_after(answer_seconds, self.sock):
                return super().getresponse()

    return Plain, Tls


@lru_cache(maxsize=_KEPT)
def pool_classes(reach: Reach, answer_seconds: float) -> PoolClasses:
    """Pools of such connections."""

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = connection_classes(reach, answer_seconds)[0]

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = connection_classes(reach, answer_seconds)[1]

    return {"http": PlainPool, "https": TlsPool}


@contextlib.contextmanager
def _closing_after(seconds: float | None, sock: socket.socket) -> Iterator[None]:
    """Ends whatever waits for the socket when the time is over, however often a byte comes.

    Raises TimeoutError then; what was read looks like the whole to whoever read it.
    """
    if seconds is None:
        yield
        return
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if over.is_set():
            raise TimeoutError("no whole answer in time")
