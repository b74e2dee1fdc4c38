"""How bytes get to the API server: what `KubeClient` needs, whoever holds the credentials."""

from collections.abc import Mapping
from typing import Protocol

import urllib3


class Transport(Protocol):
    """Sends requests to one API server with the right credentials."""

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Mapping[str, object] | None,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whatever its status, with its body still to be read.

        `timeout` is how long to wait for the connection and between two reads, in seconds. Raises OSError or
        urllib3's HTTPError when there is no answer, and InvalidInput when the credentials cannot be used.
        """
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


class Gateway(Protocol):
    """A way to an API server."""

    def transport(self, *, user_agent: str, connections: int) -> Transport:
        """A transport that keeps up to so many connections and retries nothing by itself."""
        ...
