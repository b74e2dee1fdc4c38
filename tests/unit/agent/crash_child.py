"""A real agent in a process of its own that dies at a named moment.

Usage: python -m tests.unit.agent.crash_child DATA_DIR RELEASE_FILE STATUS_FILE [STATE:before|after]

It hears one release, from a file, and writes each report to a file. With a moment it kills itself with
SIGKILL just before or just after that state is on disk.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edgecanary.agent.files import write_atomic
from edgecanary.agent.machine import State
from edgecanary.agent.process import Agent
from edgecanary.agent.record import Record
from edgecanary.agent.reporter import ReportPace
from edgecanary.agent.settings import AgentSettings
from edgecanary.agent.store import Store
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleasesListed


class DyingStore(Store):
    """Kills the process around the first save of a state."""

    def __init__(self, root: Path, state: State | None, moment: str) -> None:
        super().__init__(root)
        self._state = state
        self._moment = moment
        self._last = State.SETTLED

    def save(self, record: Record) -> None:
        here = record.state is self._state and record.state is not self._last
        self._last = record.state
        if here and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().save(record)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)


class FileCluster:
    """The cluster port on two files."""

    def __init__(self, release: Path, status: Path) -> None:
        self._release = release
        self._status = status

    def start(self, deliver: Callable[[NodeEvent], None]) -> None:
        deliver(LabelsHeard({}))
        deliver(ReleasesListed((ModelRelease.model_validate_json(self._release.read_bytes()),)))

    def stop(self) -> None:
        return

    async def write_status(self, status: EdgeNodeStatus) -> None:
        write_atomic(self._status, status.model_dump_json(by_alias=True).encode())


async def main(arguments: list[str]) -> None:
    data, release, status = (Path(text) for text in arguments[:3])
    name, _, moment = arguments[3].partition(":") if len(arguments) > 3 else ("", "", "")
    settings = AgentSettings(
        node="n1",
        data_dir=data,
        access=ApiAccess("http://127.0.0.1:1"),
        listen=("127.0.0.1:0",),
        metrics_address="127.0.0.1:0",
        download_spread_seconds=0,
        report=ReportPace(start_spread_seconds=0.01),
    )
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    store = DyingStore(data, State(name) if name else None, moment)
    await Agent(settings, FileCluster(release, status), store).run(stopping)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
