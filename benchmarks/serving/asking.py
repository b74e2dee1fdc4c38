"""Requests to a server of the benchmark, and the load that runs as a process of its own."""

import json
import subprocess
import sys
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.load import Order, Report
from benchmarks.serving.models import BenchModel
from benchmarks.serving.servers import Server

LOAD = Path(__file__).with_name("load.py")
_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Question:
    """One inference request."""

    body: bytes
    headers: dict[str, str]
    binary: bool


def question(model: BenchModel, *, binary: bool) -> Question:
    """The model's sample as JSON, or as the binary tensor extension has it."""
    tensor: dict[str, object] = {
        "name": model.input,
        "datatype": "FP32",
        "shape": list(model.sample.shape),
    }
    data = model.sample.tobytes()
    if not binary:
        body = json.dumps({"id": "1", "inputs": [tensor | {"data": model.sample.ravel().tolist()}]}).encode()
        return Question(body, {"content-type": "application/json"}, binary=False)
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"id": "1", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", _LENGTH: str(len(head))}
    return Question(head + data, headers, binary=True)


def check(
    server: Server,
    model: BenchModel,
    asked: Question,
    expected: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
) -> int:
    """One request, whose answer must be onnxruntime's own; the answer's bytes. Raises ValueError."""
    url = f"http://127.0.0.1:{server.port}{server.path(model.name)}"
    request = urllib.request.Request(url, asked.body, asked.headers)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        body, length = answer.read(), answer.headers.get(_LENGTH)
    if asked.binary != (length is not None):
        raise ValueError(f"{server.name}: the answer for {model.name} has the wrong format")
    given = np.frombuffer(body[int(length) :], np.float32) if length else _of_json(body)
    if not np.allclose(given.ravel(), expected.ravel(), rtol=1e-3, atol=1e-5):
        raise ValueError(f"{server.name}: the answer for {model.name} is not what onnxruntime gives")
    return len(body)


def _of_json(body: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.array(json.loads(body)["outputs"][0]["data"], np.float32)


def start_load(
    server: Server,
    model: BenchModel,
    asked: Question,
    *,
    clients: int,
    seconds: float,
    core: int | None,
    interval: float | None = None,
) -> "subprocess.Popen[bytes]":
    """Starts the load in a process of its own.

    With an interval it also says when revisions answered: seconds from one request of a client to its next, or 0.
    """
    order: Order = {
        "port": server.port,
        "path": server.path(model.name),
        "body": b64encode(asked.body).decode(),
        "headers": asked.headers,
        "clients": clients,
        "seconds": seconds,
        "marks": interval is not None,
        "core": core,
        "interval": interval or 0.0,
    }
    process = subprocess.Popen([sys.executable, str(LOAD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode())
    process.stdin.close()
    process.stdin = None
    return process


def report_of(process: "subprocess.Popen[bytes]") -> Report:
    """What the load saw. Raises RuntimeError when it ended otherwise, or an answer was not 200."""
    output, _ = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"the load ended with exit code {process.returncode}")
    report: Report = json.loads(output)
    if report["failed"]:
        raise RuntimeError(f"{report['failed']} of {report['answers']} answers were not 200")
    return report
