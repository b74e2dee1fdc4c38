"""A listening address with its connections."""

import asyncio

from edgecanary.agent.serving.connection import Connection, Shared
from edgecanary.agent.serving.exchange import BodyRoom
from edgecanary.agent.serving.messages import Handler, HttpLimits
from edgecanary.base.errors import InvalidInput, Unavailable


class Listener:
    """Answers HTTP on one address with one handler."""

    def __init__(self, handler: Handler, limits: HttpLimits | None = None) -> None:
        limits = limits or HttpLimits()
        self._shared = Shared(handler, limits, BodyRoom(limits.max_buffered_bytes))
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, which the system chose if the address said 0; 0 when it does not listen."""
        sockets = () if self._server is None else self._server.sockets
        return int(sockets[0].getsockname()[1]) if sockets else 0

    async def start(self, listen: str, *, field: str) -> None:
        """Listens on `host:port`, `[ipv6]:port` or `:port`, the setting called `field`.

        Raises InvalidInput when the address is not one, Unavailable when it cannot be had.
        """
        host, port = parse_address(listen, field=field)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self._shared), host or None, port)
        except OSError as error:
            raise Unavailable(
                "ListenFailed",
                f"{field}: cannot listen on {listen}: {error.strerror or error}; choose another",
            ) from error

    async def stop(self, *, grace_seconds: float) -> None:
        """Takes no more connections, lets requests end within the grace, then ends what is left."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
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
        raise InvalidInput(field, f"must be host:port, [ipv6]:port or :port, got {listen!r}")
    return plain, int(port)
