"""The servers of the benchmark: the agent as it is, MLServer and KServe's Python server, each serving some models."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.models import BenchModel
from bootstrap import find_uv
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.store import Store
from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgelab.nodestore import install_active
from edgelab.paths import ROOT, cache_folder
from edgelab.ports import free_port
from edgelab.tools.progress import only_one, reporting

PEERS = Path(__file__).with_name("peers")
NAMESPACE = "bench"
START_SECONDS = 240.0


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    binary: bool
    """Whether it has the binary tensor extension."""
    started: float = field(default_factory=time.monotonic)

    def path(self, model: str) -> str:
        return f"/v2/models/{model}/infer"

    def wait(self, model: str) -> float:
        """Until the model is ready; seconds since the start."""
        url = f"http://127.0.0.1:{self.port}/v2/models/{model}/ready"
        while time.monotonic() - self.started < START_SECONDS:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with exit code {self.process.returncode}")
            with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic() - self.started
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} was not ready within {START_SECONDS:g} seconds")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Place:
    """Where servers run: a folder for their files and the cores that they may use."""

    folder: Path
    cores: frozenset[int]

    def start(self, name: str, command: Sequence[str], port: int, *, binary: bool, **more: str) -> Server:
        """Starts a server on these cores with one thread for each library."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **more}
        log = (self.folder / f"{name}-{port}.log").open("wb")
        taskset = ["taskset", "--cpu-list", ",".join(map(str, sorted(self.cores)))]
        process = subprocess.Popen([*taskset, *command], env=environment, stdout=log, stderr=log)
        return Server(name, port, process, binary)


def start_agent(place: Place, models: Sequence[BenchModel], *flags: str) -> Server:
    """The agent without a network: it serves what its data directory says is active."""
    data = place.folder / f"agent-{len(list(place.folder.iterdir()))}"
    for model in models:
        install_active(Store(data), ModelKey(NAMESPACE, model.name), model.path.read_bytes(), model_io(model))
    port = free_port()
    command = [
        *(sys.executable, "-m", "edgecanary", "agent", "--node", "bench", "--data-dir", str(data)),
        *("--listen", f"127.0.0.1:{port}", "--metrics-address", f"127.0.0.1:{free_port()}"),
        *("--server", "http://127.0.0.1:9", *flags),
    ]
    return place.start("edgecanary", command, port, binary=True, PYTHONPATH=str(ROOT / "operator"))


def model_io(model: BenchModel) -> ModelIO:
    """The tensors as an EdgeModel declares them."""
    inputs = TensorSpec(name=model.input, dtype=DataType.FP32, shape=(-1, *model.sample.shape[1:]))
    outputs = TensorSpec(name=model.output, dtype=DataType.FP32, shape=(-1,) * model.output_rank)
    return ModelIO(inputs=(inputs,), outputs=(outputs,))


def start_mlserver(place: Place, model: BenchModel) -> Server:
    """MLServer in one process, without its tracing, gzip and worker pool."""
    python = environment_of("mlserver")
    folder = place.folder / f"mlserver-{model.name}-{free_port()}"
    folder.mkdir()
    port = free_port()
    shutil.copy(PEERS / "mlserver_runtime.py", folder)
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "gzip_enabled": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    described = {
        "name": model.name,
        "implementation": "mlserver_runtime.OnnxModel",
        "parameters": {"uri": str(model.path)},
    }
    (folder / "model-settings.json").write_text(json.dumps(described))
    command = [str(python.parent / "mlserver"), "start", str(folder)]
    return place.start("MLServer", command, port, binary=False, PYTHONPATH=str(folder))


def start_kserve(place: Place, model: BenchModel) -> Server:
    """KServe's model server in one process, without gRPC."""
    port = free_port()
    command = [
        *(str(environment_of("kserve")), str(PEERS / "kserve_server.py"), "--onnx", str(model.path)),
        *("--model_name", model.name, "--http_port", str(port), "--workers", "1", "--enable_grpc", "false"),
    ]
    return place.start("KServe", command, port, binary=True)


def environment_of(peer: str) -> Path:
    """The Python of the peer's own environment in the cache folder, made from its pinned packages."""
    pins = PEERS / f"{peer}.txt"
    key = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_folder() / "bench-serving" / f"{peer}-{key}"
    done = folder / "complete"
    with only_one(f"bench-serving-{peer}"):
        if not done.exists():
            with reporting(f"installing {peer}"):
                uv = find_uv()
                subprocess.run(
                    [uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True
                )
                target = ["--python", str(folder / "bin" / "python"), "--requirements", str(pins)]
                subprocess.run([uv, "pip", "install", "--quiet", *target], check=True)
                done.touch()
    return folder / "bin" / "python"
