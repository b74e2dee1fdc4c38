"""Listening addresses with their connections."""

import asyncio
import socket

from edgecanary.agent.serving import unixsocket
from edgecanary.agent.serving.connection import Connection, Shared
from edgecanary.agent.serving.exchange import BodyRoom
from edgecanary.agent.serving.messages import Handler, HttpLimits
from edgecanary.base.errors import InvalidInput, Unavailable


class Listener:
    """Answers HTTP on some addresses with one handler."""

    def __init__(self, handler: Handler, limits: HttpLimits | None = None) -> None:
        limits = limits or HttpLimits()
        self._shared = Shared(handler, limits, BodyRoom(limits.max_buffered_bytes))
        self._servers: list[asyncio.Server] = []
        self._unix: list[unixsocket.UnixSocket] = []

    @property
    def port(self) -> int:
        """The TCP port it listens on, which the system chose if the address said 0; 0 when there is none."""
        for server in self._servers:
            for own in server.sockets:
                if own.family != socket.AF_UNIX:
                    return int(own.getsockname()[1])
        return 0

    async def start(self, *addresses: str, field: str) -> None:
        """Listens on each `host:port`, `[ipv6]:port`, `:port` or `unix:/path`, the setting called `field`.

        Raises InvalidInput when an address is not one, Unavailable when it cannot be had; then it listens on none.
        """
        try:
            for listen in addresses:
                await self._listen(listen, field)
        except BaseException:
            self._close()
            raise

    async def _listen(self, listen: str, field: str) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(self._shared)

        if listen.startswith(unixsocket.PREFIX):
            own = unixsocket.UnixSocket(unixsocket.parse_path(listen, field=field))
            self._unix.append(own)
            self._servers.append(await loop.create_unix_server(connection, sock=own.listen(field=field)))
            return
        host, port = parse_address(listen, field=field)
        try:
            self._servers.append(await loop.create_server(connection, host or None, port))
        except OSError as error:
            raise Unavailable(
                "ListenFailed",
                f"{field}: cannot listen on {listen}: {error.strerror or error}; choose another",
            ) from error

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for own in self._unix:
            own.close()
        self._servers, self._unix = [], []

    async def stop(self, *, grace_seconds: float) -> None:
        """Takes no more connections, lets requests end within the grace, then ends what is left."""
        self._close()
        self._shared.stopping = True
        for connection in tuple(self._shared.connections):
            connection.shut_down()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._all_gone()
        except TimeoutError:
            for connection in tuple(self._shared.connections):
                connection.abort()
            await self._all_gone()

    async def _all_gone(self) -> None:
        while self._shared.connections:
            self._shared.emptied.clear()
            await self._shared.emptied.wait()


def parse_address(listen: str, *, field: str) -> tuple[str, int]:
    """Host (empty: every interface) and port. Raises InvalidInput naming `field`."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    valid = colon and port.isascii() and port.isdigit() and int(port) <= 65535 and bracketed == (":" in plain)
    if not valid:
        raise InvalidInput(field, f"must be host:port, [ipv6]:port, :port or unix:/path, got {listen!r}")
    return plain, int(port)
