"""Connections that are given up when no answer begins in time, and that a redirect cannot send just anywhere."""

import contextlib
import socket
import threading
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from edgecanary.base.errors import WrongAnswer

_METADATA = frozenset(
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Where clouds keep a machine's credentials, beside 169.254.169.254, which is link-local."""

_EMBEDDING = tuple(
    network for text in ("64:ff9b::/96", "::/96") if isinstance(network := ip_network(text), IPv6Network)
)
"""IPv6 addresses whose last 32 bits are an IPv4 address (NAT64, compatible)."""

PoolClasses = dict[str, type[HTTPConnectionPool]]


def is_local(text: str) -> bool:
    """Whether an address means this machine, its own link or its cloud's metadata rather than a server."""
    address = ip_address(text.partition("%")[0])
    if (
        isinstance(address, IPv6Address)
        and (inner := _embedded(address)) is not None
        and not _is_special(address)
    ):
        address = inner
    return _is_special(address) or address in _METADATA


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or (isinstance(address, IPv4Address) and (address.is_reserved or address.packed[0] == 0))
    )


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _EMBEDDING):
        return IPv4Address(address.packed[-4:])
    return None


def pool_classes(answer_seconds: float) -> PoolClasses:
    """Connections that go anywhere; the head of an answer must be there after `answer_seconds`."""
    return _pool_classes(answer_seconds, allowed=None)


def guarded_pool_classes(answer_seconds: float, allowed: Collection[str]) -> PoolClasses:
    """The same for what a redirect names: a local address is refused but for the `allowed` host names.

    The address is looked at once it is connected and before a byte is sent, so a name that resolves
    differently at every look gains nothing. Raises WrongAnswer (RedirectRefused) when it is refused.
    """
    return _pool_classes(answer_seconds, allowed=frozenset(allowed))


def _pool_classes(answer_seconds: float, allowed: frozenset[str] | None) -> PoolClasses:
    def connected(host: str, sock: socket.socket) -> socket.socket:
        if allowed is None or host.strip("[]") in allowed:
            return sock
        peer = sock.getpeername()[0]
        if is_local(peer):
            sock.close()
            raise WrongAnswer(
                "RedirectRefused",
                f"redirects to {host}, which is {peer}: an address of this machine or its surroundings; "
                "if it is meant, name the host with --download-redirect-host",
            )
        return sock

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self.host, super()._new_conn())

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3 itself
            with _closing_after(answer_seconds, self.sock):
                return super().getresponse()

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self.host, super()._new_conn())

        def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3 itself
            with _closing_after(answer_seconds, self.sock):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


@contextlib.contextmanager
def _closing_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Ends whatever waits for the socket when the time is over, however often a byte comes.

    Raises TimeoutError then; what was read looks like the whole to whoever read it.
    """
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
