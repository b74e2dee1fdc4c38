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
        steady = _load(server, model, cores, STEADY_SECONDS)
        assert node.stdin is not None
        load = start_load(
            server,
            _named(model),
            question(model, binary=True),
            clients=CLIENTS,
            seconds=LONGEST_SECONDS,
            core=cores.client,
            marks=True,
        )
        time.sleep(START_SECONDS)
        switched: list[Switched] = json.loads(_say(node, ""))
        load.terminate()
        during = report_of(load)
        _tell(node, "")
        node.wait(30)
    finally:
        node.kill()
        node.wait()
    return _found(model, steady, during, switched)


def _found(model: BenchModel, steady: Report, during: Report, switched: Sequence[Switched]) -> Swap:
    firsts = dict(zip(during["revisions"], during["first_answers"], strict=True))
    waits = [
        1e6 * (firsts[item["revision"]] - item["begun"]) for item in switched if item["revision"] in firsts
    ]
    if 10 * len(waits) < 9 * len(switched):
        raise RuntimeError(f"{model.name}: only {len(waits)} of {len(switched)} revisions gave an answer")
    return Swap(
        model.name,
        len(switched),
        during["answers"],
        during["failed"],
        steady,
        during,
        statistics.median(waits),
        max(waits),
    )


def _named(model: BenchModel) -> BenchModel:
    return BenchModel(KEY.name, *(getattr(model, name) for name in list(model.__dataclass_fields__)[1:]))


def _load(server: Server, model: BenchModel, cores: Cores, seconds: float) -> Report:
    asked = question(model, binary=True)
    return report_of(
        start_load(server, _named(model), asked, clients=CLIENTS, seconds=seconds, core=cores.client)
    )


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
