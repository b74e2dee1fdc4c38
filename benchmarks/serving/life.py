"""What a server costs while it starts, rests and holds several models."""

import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import cpu_percent, resident_bytes
from benchmarks.serving.asking import question
from benchmarks.serving.compare import Cores, all_servers
from benchmarks.serving.models import BenchModel
from benchmarks.serving.servers import Place, Server, start_agent, start_kserve, start_mlserver

STARTS = 3
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 7.0
"""The agent gives memory back once requests have paused for five seconds."""
COUNTS = (1, 3, 8)


@dataclass(frozen=True)
class Life:
    """One server. Seconds from its start to its first answer; percent of one core while nobody asks."""

    server: str
    cold_seconds: float
    idle_percent: float
    idle_bytes: int


@dataclass(frozen=True)
class Several:
    """Resident memory of the agent with several models, all asked and then left alone."""

    models: int
    resident_bytes: int


def measure_life(model: BenchModel, cores: Cores) -> tuple[Life, ...]:
    """Cold starts in turns, then all at rest together."""
    starts: dict[str, list[float]] = {}
    for _ in range(STARTS):
        for start in (start_agent_with, start_mlserver, start_kserve):
            with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
                server = start(Place(Path(folder), frozenset({cores.server})), model)
                try:
                    starts.setdefault(server.name, []).append(first_answer(server, model))
                finally:
                    server.stop()
    with all_servers(model, cores) as servers:
        for server in servers:
            first_answer(server, model)
        time.sleep(SETTLE_SECONDS)
        return tuple(
            Life(
                server.name,
                statistics.median(starts[server.name]),
                cpu_percent(server.process.pid, seconds=IDLE_SECONDS),
                resident_bytes(server.process.pid),
            )
            for server in servers
        )


def start_agent_with(place: Place, model: BenchModel) -> Server:
    """The agent with one model."""
    return start_agent(place, [model])


def first_answer(server: Server, model: BenchModel) -> float:
    """Seconds from the server's start to its first answer."""
    asked = question(model, binary=False)
    url = f"http://127.0.0.1:{server.port}{server.path(model.name)}"
    request = urllib.request.Request(url, asked.body, asked.headers)
    while time.monotonic() - server.started < 240:
        with suppress(OSError), urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            answer.read()
            return time.monotonic() - server.started
        time.sleep(0.005)
    raise TimeoutError(f"{server.name} gave no answer")


def measure_several(model: BenchModel, cores: Cores) -> tuple[Several, ...]:
    """The agent with more and more copies of one model."""
    return tuple(_several(_copies(model, count), cores) for count in COUNTS)


def _several(models: Sequence[BenchModel], cores: Cores) -> Several:
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
        server = start_agent(Place(Path(folder), frozenset({cores.server})), models)
        try:
            for model in models:
                first_answer(server, model)
            time.sleep(SETTLE_SECONDS)
            return Several(len(models), resident_bytes(server.process.pid))
        finally:
            server.stop()


def _copies(model: BenchModel, count: int) -> list[BenchModel]:
    return [replace(model, name=f"{model.name}-{number}") for number in range(count)]
