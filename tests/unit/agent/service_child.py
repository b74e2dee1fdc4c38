"""A real agent in a process of its own, whose models can kill it while they are loaded.

Usage: python -m tests.unit.agent.service_child FOLDER PORT [REVISION… | hangs=REVISION…]

In FOLDER are `data`, the data directory, `releases.json`, a list of the releases that it hears, and
`status.json`, its last report. `boots` gets a line each time the program begins. The process dies by SIGKILL
whenever it loads one of the revisions; the load of one that hangs never ends.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from edgecanary.agent.files import write_atomic
from edgecanary.agent.marks import Slot
from edgecanary.agent.ports import InstalledRevision
from edgecanary.agent.process import Agent, Ending, leave
from edgecanary.agent.reporter import ReportPace
from edgecanary.agent.serving import engine
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.settings import AgentSettings
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleasesListed

LOAD_SECONDS = 10.0
"""Long enough for the tests' models on a busy machine."""


class FolderCluster:
    """The cluster port on files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, deliver: Callable[[NodeEvent], None]) -> None:
        releases = json.loads((self._folder / "releases.json").read_text())
        deliver(LabelsHeard({}))
        deliver(ReleasesListed(tuple(ModelRelease.model_validate(release) for release in releases)))

    def stop(self) -> None:
        return

    async def write_status(self, status: EdgeNodeStatus) -> None:
        write_atomic(self._folder / "status.json", status.model_dump_json(by_alias=True).encode())


def deadly(revisions: list[str]) -> None:
    """Makes the load of a revision kill the process, or hang, in the model's own thread."""
    load = engine.load

    def die_or_load(
        installed: InstalledRevision, *, threads: int, mark: Slot, max_rows: int = 1
    ) -> engine.Engine:
        if installed.revision in revisions:
            mark.enter()
            os.kill(os.getpid(), signal.SIGKILL)
        if f"hangs={installed.revision}" in revisions:
            mark.enter()
            threading.Event().wait()
        return load(installed, threads=threads, mark=mark, max_rows=max_rows)

    engine.load = die_or_load


async def main(folder: Path, port: str) -> Ending:
    settings = AgentSettings(
        node="n1",
        data_dir=folder / "data",
        access=ApiAccess("http://127.0.0.1:1"),
        listen=(f"127.0.0.1:{port}",),
        metrics_address="127.0.0.1:0",
        report=ReportPace(start_spread_seconds=0.01),
        serving=ServingSettings(
            request_seconds=1.0, load_seconds=LOAD_SECONDS, hang_seconds=0.3, give_up_seconds=0.5
        ),
    )
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    return await Agent(settings, FolderCluster(folder)).run(stopping)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    home = Path(sys.argv[1])
    with (home / "boots").open("a") as boots:
        boots.write(f"{os.getpid()}\n")
    deadly(sys.argv[3:])
    sys.exit(leave(asyncio.run(main(home, sys.argv[2]))))
