"""Carries connections from the loopback interface here to servers in the networks of the cluster.

Run as `python forward.py PORT=PID:ADDRESS:PORT …`, with nothing but the standard library: each argument is
a port here, a process in the other network, and where to connect to there. It is how programs on the
machine reach the API server, and how a test is a client on a node, also while the node's cable is pulled.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import sys
from dataclasses import dataclass

_NEW_NETWORK = 0x40000000
_CHUNK = 65_536


@dataclass(frozen=True)
class Forward:
    """One port here, and the server that it stands for.

    Attributes:
        port: on the loopback interface here.
        pid: a process in the server's network.
        address: the server's address there.
        server_port: the server's port there.
    """

    port: int
    pid: int
    address: str
    server_port: int

    def __str__(self) -> str:
        return f"{self.port}={self.pid}:{self.address}:{self.server_port}"


def parse(text: str) -> Forward:
    """A forward from its words."""
    port, _, there = text.partition("=")
    pid, address, server_port = there.split(":")
    return Forward(int(port), int(pid), address, int(server_port))


class Networks:
    """Makes sockets in other networks: a socket belongs to the network in which it was made."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)

    def socket_in(self, network: int) -> socket.socket:
        """A TCP socket in the network that the file descriptor stands for."""
        self._enter(network)
        try:
            made = socket.socket()
        finally:
            self._enter(self._home)
        made.setblocking(False)
        return made

    def _enter(self, network: int) -> None:
        if self._libc.setns(network, _NEW_NETWORK) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


async def serve(forwards: list[Forward]) -> None:
    """Listen on every port, for ever."""
    networks = Networks()
    async with contextlib.AsyncExitStack() as stack:
        for forward in forwards:
            server = await listen(forward, networks)
            await stack.enter_async_context(server)
        await asyncio.Event().wait()


async def listen(forward: Forward, networks: Networks) -> asyncio.Server:
    """Listen on one port."""
    network = os.open(f"/proc/{forward.pid}/ns/net", os.O_RDONLY)

    async def carry(here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            connection = networks.socket_in(network)
            try:
                await asyncio.get_running_loop().sock_connect(
                    connection, (forward.address, forward.server_port)
                )
            except OSError:
                connection.close()
                raise
            there, forth = await asyncio.open_connection(sock=connection)
            await asyncio.gather(copy(here, forth), copy(there, back))
        back.close()

    return await asyncio.start_server(carry, "127.0.0.1", forward.port)


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then end the target."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()


if __name__ == "__main__":
    asyncio.run(serve([parse(word) for word in sys.argv[1:]]))
