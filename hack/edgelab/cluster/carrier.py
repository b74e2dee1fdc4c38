"""Starts what carries connections from the loopback interface here into the networks of the cluster."""

import sys
from collections.abc import Mapping

from edgelab.cluster import forward
from edgelab.cluster.space import Space
from edgelab.ports import accepts_connections
from edgelab.processes import Process, Supervisor

_READY_SECONDS = 60.0


def carry(supervisor: Supervisor, name: str, space: Space, ports: Mapping[int, int]) -> Process:
    """Carry connections to these ports here to those of the loopback interface of a network.

    Raises:
        ProcessError: the ports cannot be listened on.
    """
    forwards = [forward.Forward(here, space.pid, "127.0.0.1", there) for here, there in ports.items()]
    process = supervisor.start(name, [sys.executable, forward.__file__, *map(str, forwards)])
    process.wait_ready(lambda: all(accepts_connections(port) for port in ports), timeout=_READY_SECONDS)
    return process
