"""The narrow port through which the agent knows its cluster.

Adapters: the API server (`clients.nodeapi`). An adapter hears of changes in its own way; what it delivers is
either the truth (a list) or news (a change), and silence means nothing.
"""

from collections.abc import Callable
from typing import Protocol

from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.clients.nodeevents import NodeEvent


class Cluster(Protocol):
    """What the agent asks of its cluster, and nothing else."""

    def start(self, deliver: Callable[[NodeEvent], None]) -> None:
        """Begins to deliver, in the running event loop: all releases, then changes; the node's labels."""
        ...

    def stop(self) -> None:
        """Ends that."""
        ...

    async def write_status(self, status: EdgeNodeStatus) -> None:
        """Writes the status of this node's EdgeNode. Raises an EdgecanaryError when it did not arrive."""
        ...
