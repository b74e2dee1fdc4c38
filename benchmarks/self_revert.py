"""How fast a node that nobody can reach leaves a model that goes bad after its trial."""

import asyncio
import hashlib
import http.server
import json
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgecanary.agent.health import IN_SERVICE
from edgecanary.agent.process import Agent
from edgecanary.agent.settings import AgentSettings
from edgecanary.api.artifacts import DataType, Format, ModelIO, TensorSpec
from edgecanary.api.edgenode import EdgeNodeStatus
from edgecanary.api.meta import ObjectMeta
from edgecanary.api.modelrelease import (
    ModelRelease,
    ModelReleaseSpec,
    ReleasedFile,
    ReleasedVariant,
    RevisionStatement,
)
from edgecanary.api.policy import DeviceHealth
from edgecanary.base.errors import Unavailable
from edgecanary.clients.nodeaccess import ApiAccess
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleaseChanged, ReleasesListed
from edgelab.ports import free_port

ROUNDS = 5
GOAL_SECONDS = 2.0


@dataclass(frozen=True)
class SelfRevert:
    """Seconds from the answer that crossed the limit to the first answer of the revision before, each round."""

    seconds: tuple[float, ...]


class Offline:
    """A cluster that told the node of releases once, and takes no report."""

    def __init__(self) -> None:
        self.deliver: Callable[[NodeEvent], None] = lambda _: None

    def start(self, deliver: Callable[[NodeEvent], None]) -> None:
        self.deliver = deliver

    def stop(self) -> None:
        return

    async def write_status(self, status: EdgeNodeStatus) -> None:  # noqa: ARG002
        raise Unavailable("ServerUnreachable", "no network")


def measure_self_revert(folder: Path) -> SelfRevert:
    """Runs an agent without an API server, and has its active model answer with NaN from some moment on."""
    models = {f"/{name}": _model(name) for name in ("Exp", "Sqrt")}
    with _served(models) as address:
        found = tuple(asyncio.run(_round(folder / f"{number}", address, models)) for number in range(ROUNDS))
    return SelfRevert(found)


async def _round(data: Path, address: str, models: Mapping[str, bytes]) -> float:
    cluster, port, stopping = Offline(), free_port(), asyncio.Event()
    settings = AgentSettings(
        node="n1",
        data_dir=data,
        access=ApiAccess("http://127.0.0.1:1"),
        listen=(f"127.0.0.1:{port}",),
        metrics_address="127.0.0.1:0",
    )
    running = asyncio.create_task(Agent(settings, cluster).run(stopping))
    good, bad = (_statement(path, data, address) for path, data in models.items())
    while await asyncio.to_thread(_answer, port, 1.0) != good.revision:
        cluster.deliver(LabelsHeard({}))
        cluster.deliver(ReleasesListed((_release(good, 1),)))
        await asyncio.sleep(0.1)
    cluster.deliver(ReleaseChanged(_release(bad, 2)))
    seconds = await asyncio.to_thread(_measure, port, good.revision, bad.revision, data)
    stopping.set()
    await running
    return seconds


def _measure(port: int, good: str, bad: str, data: Path) -> float:
    record = data / "models/bench/log/record.json"
    while json.loads(record.read_bytes()).get("active") != bad:
        time.sleep(0.05)
    for _ in range(20):
        _answer(port, 1.0)
    for _ in range(IN_SERVICE.failures):
        _answer(port, -1.0)
    crossed = time.perf_counter()
    while _answer(port, -1.0) != good:
        pass
    return time.perf_counter() - crossed


def _answer(port: int, number: float) -> str | None:
    row = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [number] * 4}]
    url = f"http://127.0.0.1:{port}/v2/models/log/infer"
    request = urllib.request.Request(url, data=json.dumps({"inputs": row}).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return str(json.load(answer)["model_version"])
    except OSError:
        return None


def _model(operator: str) -> bytes:
    """One operator on rows of four: Sqrt gives NaN for negative numbers, Exp never does."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "graph", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _statement(path: str, data: bytes, address: str) -> RevisionStatement:
    digest, url = hashlib.sha256(data).hexdigest(), f"{address}{path}"
    file = ReleasedFile(
        path="model.onnx", uri="https://models.example.com/m", sha256=digest, size_bytes=len(data), url=url
    )
    variant = ReleasedVariant(name="cpu", format=Format.ONNX, entrypoint="model.onnx", files=(file,))
    x, y = (TensorSpec(name=name, dtype=DataType.FP32, shape=(-1, 4)) for name in ("x", "y"))
    return RevisionStatement(
        revision=digest, version=path[1:], variants=(variant,), io=ModelIO(inputs=(x,), outputs=(y,))
    )


def _release(stable: RevisionStatement, sequence: int) -> ModelRelease:
    spec = ModelReleaseSpec(
        model="log", sequence=sequence, stable=stable, health=DeviceHealth(soak_seconds=0)
    )
    return ModelRelease(metadata=ObjectMeta(name="log", namespace="bench", uid="uid"), spec=spec)


@contextmanager
def _served(files: Mapping[str, bytes]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(files[self.path])))
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def section(found: SelfRevert) -> Iterable[str]:
    """The page's section."""
    yield "## A node that goes back by itself"
    yield ""
    yield "An agent without an API server serves a committed model that answers with NaN from some moment on. Seconds"
    yield f"from the {IN_SERVICE.failures}th such answer, which crosses the limit, to the first answer of the revision"
    yield f"before it, in {len(found.seconds)} rounds; the goal is {GOAL_SECONDS:g} s. The agent looks every 0.25 s."
    yield ""
    yield "| | seconds | share of the goal |"
    yield "| --- | --- | --- |"
    for name, value in _figures(found.seconds):
        yield f"| {name} | {value:.2f} | {value / GOAL_SECONDS:.2f} |"
    yield ""


def _figures(seconds: Sequence[float]) -> Iterator[tuple[str, float]]:
    yield "median", statistics.median(seconds)
    yield "slowest", max(seconds)
