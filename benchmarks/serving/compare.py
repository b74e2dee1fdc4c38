"""The same requests to the agent, MLServer and KServe's Python server, side by side."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from benchmarks.machine import resident_bytes
from benchmarks.serving.asking import Question, check, question, report_of, start_load
from benchmarks.serving.load import Report
from benchmarks.serving.models import BenchModel
from benchmarks.serving.servers import Place, Server, start_agent, start_kserve, start_mlserver

CLIENTS = (1, 4, 16)
LARGE = 50_000
"""Values of an input from which on JSON is asked by one client only: a single answer takes long enough."""
ROUNDS = 3
SECONDS = 1.0
WARM_SECONDS = 0.5
REST_SECONDS = 2.0
"""After the last answer, before memory is looked at."""

_BARE = """
import json, os, sys, time
import numpy, onnxruntime
path, name, shape, core, seconds = json.load(sys.stdin)
os.sched_setaffinity(0, {core})
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.enable_cpu_mem_arena = False
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
sample = numpy.random.default_rng(1).random(shape, numpy.float32)
times, until = [], time.perf_counter() + seconds
while time.perf_counter() < until:
    begin = time.perf_counter()
    session.run(None, {name: sample})
    times.append(time.perf_counter() - begin)
print(1e6 * sorted(times)[len(times) // 2])
"""


@dataclass(frozen=True)
class Cores:
    """Which core serves and which asks."""

    server: int
    client: int


@dataclass(frozen=True)
class Cell:
    """One server with one model, format and number of clients: medians of the rounds, microseconds."""

    model: str
    binary: bool
    clients: int
    server: str
    p50: float
    p99: float
    per_second: float
    bare_p50: float
    """A call of the model's session without any server, in the same rounds."""
    exchange_p50: float | None
    """As many bytes to and from a server that does nothing else, in the same rounds; for one client only."""


@dataclass(frozen=True)
class Size:
    """Resident memory of a server after the requests to one model."""

    model: str
    server: str
    resident_bytes: int


@dataclass(frozen=True)
class Comparison:
    """All of it."""

    cells: tuple[Cell, ...]
    sizes: tuple[Size, ...]


def compare(models: Sequence[BenchModel], cores: Cores) -> Comparison:
    """Measures every server with every model."""
    cells: list[Cell] = []
    sizes: list[Size] = []
    for model in models:
        with all_servers(model, cores) as servers:
            expected = _expected(model)
            for binary in (True, False):
                asked = question(model, binary=binary)
                fitting = [server for server in servers if server.binary or not binary]
                sizes_of_answers = [check(server, model, asked, expected) for server in fitting]
                for clients in CLIENTS if binary or model.sample.size <= LARGE else CLIENTS[:1]:
                    cells += _cells(model, cores, fitting, clients, sizes_of_answers[0], binary=binary)
            time.sleep(REST_SECONDS)
            sizes += [Size(model.name, server.name, resident_bytes(server.process.pid)) for server in servers]
    return Comparison(tuple(cells), tuple(sizes))


@contextmanager
def all_servers(model: BenchModel, cores: Cores) -> Iterator[list[Server]]:
    """The three servers with this model, ready."""
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder:
        place = Place(Path(folder), frozenset({cores.server}))
        servers: list[Server] = []
        try:
            servers.append(start_agent(place, [model]))
            servers.append(start_mlserver(place, model))
            servers.append(start_kserve(place, model))
            for server in servers:
                server.wait(model.name)
            yield servers
        finally:
            for server in servers:
                server.stop()


def _cells(
    model: BenchModel, cores: Cores, servers: Sequence[Server], clients: int, answer: int, *, binary: bool
) -> Iterator[Cell]:
    """The servers take turns, and each round has a bare call too, so that noise meets all alike.

    `answer` is the size of an answer in bytes.
    """
    asked = question(model, binary=binary)
    reports: dict[str, list[Report]] = {server.name: [] for server in servers}
    bare: list[float] = []
    exchange: list[float] = []
    for turn in range(ROUNDS):
        bare.append(bare_microseconds(model, cores.server))
        if clients == 1:
            exchange.append(exchange_microseconds(model, asked, answer, cores))
        for server in servers:
            seconds = SECONDS + (WARM_SECONDS if turn == 0 else 0)
            load = start_load(server, model, asked, clients=clients, seconds=seconds, core=cores.client)
            reports[server.name].append(report_of(load))
    for name, found in reports.items():
        yield Cell(
            model.name,
            binary,
            clients,
            name,
            p50=statistics.median(report["p50"] for report in found),
            p99=statistics.median(report["p99"] for report in found),
            per_second=statistics.median(report["answers"] / report["seconds"] for report in found),
            bare_p50=statistics.median(bare),
            exchange_p50=statistics.median(exchange) if exchange else None,
        )


def bare_microseconds(model: BenchModel, core: int) -> float:
    """The median time of a session's run on the servers' core, without a server."""
    order = [str(model.path), model.input, list(model.sample.shape), core, 0.3]
    done = subprocess.run(
        [sys.executable, "-c", _BARE], input=json.dumps(order).encode(), stdout=subprocess.PIPE, check=True
    )
    return float(done.stdout)


def exchange_microseconds(model: BenchModel, asked: Question, answer: int, cores: Cores) -> float:
    """The median time of the same request to a server that only receives it and sends so many bytes."""
    command = [sys.executable, str(Path(__file__).with_name("exchange.py")), str(cores.server), str(answer)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            server = Server("exchange", int(process.stdout.readline()), process, binary=True)
            load = start_load(server, model, asked, clients=1, seconds=0.3, core=cores.client)
            return report_of(load)["p50"]
        finally:
            process.kill()


def _expected(model: BenchModel) -> "onnxruntime.OrtValue":
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    return session.run(None, {model.input: model.sample})[0]
