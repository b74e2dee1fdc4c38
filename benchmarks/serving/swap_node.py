"""A node that switches revisions: `python -m benchmarks.serving.swap_node < order.json`.

The order has the model files, the count of switches and the pause between them. It prints its port, then, for each
line that comes in, switches so often and prints for each revision when its files were whole and its switch was over.
An empty line ends it.
"""

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import TypedDict

from edgecanary import __version__
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.serving.server import InferenceServer
from edgecanary.agent.telemetry import Telemetry
from edgecanary.api.artifacts import Format, ModelFile, ModelIO, Variant

KEY = ModelKey("bench", "swapped")


class SwapOrder(TypedDict):
    """What to switch between."""

    files: list[str]
    io: dict[str, object]
    switches: int
    pause_seconds: float


class Switched(TypedDict):
    """By the system's monotonic clock."""

    revision: str
    begun: float
    ended: float


def installed(path: Path, io: ModelIO, number: int) -> InstalledRevision:
    """The file as a revision of its own."""
    file = ModelFile(
        path=path.name,
        uri="https://models.example.com/m.onnx",
        sha256="0" * 64,
        size_bytes=path.stat().st_size,
    )
    return InstalledRevision(
        key=KEY,
        revision=f"{number:064x}",
        version=str(number),
        directory=path.parent,
        variant=Variant(name="cpu", format=Format.ONNX, files=(file,), entrypoint=path.name),
        io=io,
        golden_path=None,
        golden=None,
        serve=True,
    )


async def main() -> None:
    """Runs the order."""
    order: SwapOrder = json.loads(sys.stdin.readline())
    io = ModelIO.model_validate(order["io"])
    server = InferenceServer(Telemetry(agent_version=__version__), version=__version__)
    await server.start("127.0.0.1:0")
    files = [Path(path) for path in order["files"]]
    await server.activate(installed(files[0], io, 0))
    print(server.port, flush=True)
    numbers = itertools.count(1)
    while (await asyncio.to_thread(sys.stdin.readline)).strip():
        switched: list[Switched] = []
        for number in itertools.islice(numbers, order["switches"]):
            await asyncio.sleep(order["pause_seconds"])
            revision = installed(files[number % len(files)], io, number)
            begun = time.monotonic()
            await server.activate(revision)
            switched.append({"revision": revision.revision, "begun": begun, "ended": time.monotonic()})
        print(json.dumps(switched), flush=True)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
