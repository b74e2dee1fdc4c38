"""What clients notice of a switch of revisions: answers that fail, and answers that come late."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.asking import question, report_of, start_load
from benchmarks.serving.compare import Cores
from benchmarks.serving.load import Report
from benchmarks.serving.models import BenchModel
from benchmarks.serving.servers import Server, model_io
from benchmarks.serving.swap_node import KEY, SwapOrder, Switched
from edgelab.paths import ROOT

SWITCHES = 100
PAUSE_SECONDS = 0.1
STEADY_SECONDS = 8.0
START_SECONDS = 1.0
"""For the load to begin."""
LONGEST_SECONDS = 180.0
CLIENTS = 4


@dataclass(frozen=True)
class Paced:
    """The same switches while clients ask at half the rate that the node can answer. Times in microseconds."""

    steady: Report
    during: Report
    window: float
    """A switch, from the verified file to its end: the median."""
    longest_steady: tuple[float, ...]
    """The longest answer in each of as many windows of that length without a switch."""
    longest_during: tuple[float, ...]
    """The longest answer that a client waited for during each switch."""


@dataclass(frozen=True)
class Swap:
    """Times in microseconds."""

    model: str
    switches: int
    answers: int
    failed: int
    steady: Report
    during: Report
    first_answer_p50: float
    """From the verified file to the first answer of the revision."""
    first_answer_longest: float
    paced: Paced


def measure_swaps(models: Sequence[BenchModel], cores: Cores) -> tuple[Swap, ...]:
    """Each model with a hundred switches between two copies of its file."""
    return tuple(_swap(model, cores) for model in models)


def _swap(model: BenchModel, cores: Cores) -> Swap:
    order: SwapOrder = {
        "files": [str(model.path), str(model.path)],
        "io": model_io(model).model_dump(by_alias=True, mode="json"),
        "switches": SWITCHES,
        "pause_seconds": PAUSE_SECONDS,
    }
    command = [
        "taskset",
        "--cpu-list",
        str(cores.server),
        sys.executable,
        "-m",
        "benchmarks.serving.swap_node",
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}:{ROOT / 'hack'}"}
    node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        port = int(_say(node, json.dumps(order)))
        server = Server("edgecanary", port, node, binary=True)
        load = _Load(server, model, cores)
        steady = load.steady()
        during, switched = load.switching(node)
        interval = CLIENTS / (0.5 * steady["answers"] / steady["seconds"])
        paced_steady = load.steady(interval)
        paced_during, paced_switched = load.switching(node, interval)
        _tell(node, "")
        node.wait(30)
    finally:
        node.kill()
        node.wait()
    return _found(model, steady, during, switched, _paced(paced_steady, paced_during, paced_switched))


@dataclass(frozen=True)
class _Load:
    """What the clients of a node do."""

    server: Server
    model: BenchModel
    cores: Cores

    def start(self, seconds: float, interval: float) -> "subprocess.Popen[bytes]":
        return start_load(
            self.server,
            _named(self.model),
            question(self.model, binary=True),
            clients=CLIENTS,
            seconds=seconds,
            core=self.cores.client,
            interval=interval,
        )

    def steady(self, interval: float = 0.0) -> Report:
        return report_of(self.start(STEADY_SECONDS, interval))

    def switching(
        self, node: "subprocess.Popen[bytes]", interval: float = 0.0
    ) -> tuple[Report, list[Switched]]:
        load = self.start(LONGEST_SECONDS, interval)
        time.sleep(START_SECONDS)
        switched: list[Switched] = json.loads(_say(node, "switch"))
        load.terminate()
        return report_of(load), switched


def _paced(steady: Report, during: Report, switched: Sequence[Switched]) -> Paced:
    window = statistics.median(item["ended"] - item["begun"] for item in switched)
    begin, end = steady["spans"][0][0], steady["spans"][-1][1]
    quiet = [(begin + number * window, begin + (number + 1) * window) for number in range(len(switched))]
    return Paced(
        steady,
        during,
        1e6 * window,
        _longest(steady, [item for item in quiet if item[1] <= end]),
        _longest(during, [(item["begun"], item["ended"]) for item in switched]),
    )


def _longest(report: Report, windows: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """The longest of the answers that overlap each window."""
    return tuple(
        1e6 * max((e - b for b, e in report["spans"] if b < end and e > begin), default=0.0)
        for begin, end in windows
    )


def _found(
    model: BenchModel, steady: Report, during: Report, switched: Sequence[Switched], paced: Paced
) -> Swap:
    firsts = dict(zip(during["revisions"], during["first_answers"], strict=True))
    waits = [
        1e6 * (firsts[item["revision"]] - item["begun"]) for item in switched if item["revision"] in firsts
    ]
    if 10 * len(waits) < 9 * len(switched):
        raise RuntimeError(f"{model.name}: only {len(waits)} of {len(switched)} revisions gave an answer")
    return Swap(
        model.name,
        len(switched),
        during["answers"] + paced.during["answers"],
        during["failed"] + paced.during["failed"],
        steady,
        during,
        statistics.median(waits),
        max(waits),
        paced,
    )


def _named(model: BenchModel) -> BenchModel:
    return BenchModel(KEY.name, *(getattr(model, name) for name in list(model.__dataclass_fields__)[1:]))


def _tell(node: "subprocess.Popen[bytes]", text: str) -> None:
    assert node.stdin is not None
    node.stdin.write(text.encode() + b"\n")
    node.stdin.flush()


def _say(node: "subprocess.Popen[bytes]", text: str) -> bytes:
    """Tells the node and waits for its line."""
    _tell(node, text)
    assert node.stdout is not None
    line = node.stdout.readline()
    if not line:
        raise RuntimeError(f"the node that switches ended with exit code {node.wait()}")
    return line
