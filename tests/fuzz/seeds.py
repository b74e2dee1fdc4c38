"""Makes the seeds of every corpus: `python -m tests.fuzz.seeds`. What was found stays beside them."""

import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np
from onnx import TensorProto, helper

from edgecanary.agent.probe_task import ProbeAnswer, ProbeResult, encode_answer
from edgecanary.agent.sandbox.layers import Enforced
from edgecanary.api.artifacts import DeltaFormat
from edgecanary.api.fields import JsonObject
from edgecanary.artifact.delta_encode import encode_delta
from edgecanary.base.errors import EdgecanaryError
from tests.fuzz.samples import ENVELOPES, GOLDEN_ARRAYS, NEW_FILE, OFFERED, OLD_FILE
from tests.fuzz.targets import TARGETS
from tests.unit.agent.releasing import Releases, everywhere, rejected, statement
from tests.unit.artifact.test_signed import pem
from tests.unit.signing import CI, OLD

REVISION = OFFERED.revision


def seeds() -> dict[str, dict[str, bytes]]:
    """The seeds by target and by name."""
    confined = Enforced(["limits"], {"landlock": "this kernel has none"})
    envelopes = {f"{number}": found.to_text().encode() for number, found in enumerate(ENVELOPES)}
    return {
        "release": _releases(),
        "watch": _watches(),
        "envelope": {**envelopes, "empty": b'{"payload":"","payloadType":"","signatures":[]}'},
        "statement": {f"{number}": found.payload for number, found in enumerate(ENVELOPES)},
        "admission": {**envelopes, "offered": (OFFERED.signature or "").encode()},
        "keys": {"one": pem(CI), "two": pem(CI) + pem(OLD)},
        "npz-headers": _golden_files(),
        "npz": _golden_files(),
        "delta": _deltas(),
        "onnx": _models(),
        "http": _requests(),
        "infer": _bodies(),
        "feedback": {
            "right": b'{"outcome":"correct"}',
            "wrong": json.dumps({"id": "1", "outcome": "incorrect", "revision": REVISION}).encode(),
        },
        "probe-answer": {
            "passed": encode_answer(ProbeAnswer(confined, ProbeResult(1, 2, 3, 4))),
            "failed": encode_answer(ProbeAnswer(confined, EdgecanaryError("LoadFailed", "no"))),
        },
        "prometheus": _answers(),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _releases() -> dict[str, bytes]:
    making = Releases()
    found = {
        "stable": making.next(OFFERED),
        "canary": making.next(
            OFFERED, everywhere(statement("2", golden=b"golden")), (rejected(statement("3")),)
        ),
        "nothing": making.next(),
    }
    return {
        name: item.model_dump_json(by_alias=True, exclude_none=True).encode() for name, item in found.items()
    }


def _watches() -> dict[str, bytes]:
    item = json.loads(_releases()["stable"])
    item["metadata"]["resourceVersion"] = "5"
    meta = {"metadata": {"name": "n1", "uid": "u", "labels": {"edge": "true"}, "resourceVersion": "6"}}
    lines = [
        {"type": "ADDED", "object": item},
        {"type": "DELETED", "object": item},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}},
        {"type": "MODIFIED", "object": meta},
    ]
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
    listed = {"kind": "ModelReleaseList", "metadata": {"resourceVersion": "9"}, "items": [item]}
    return {
        "events": b"\n".join(map(_json, lines)) + b"\n",
        "gone": _json(gone) + b"\n",
        "list": _json(listed),
        "empty": _json(
            {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "9"}, "items": None}
        ),
    }


def _golden_files() -> dict[str, bytes]:
    found = {}
    for name, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
        file = io.BytesIO()
        save(file, **GOLDEN_ARRAYS)  # type: ignore[arg-type]
        found[name] = file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("input:x.npy", b"\x93NUMPY\x02\x00\x04\x00\x00\x00{}  ")
    return {**found, "headless": file.getvalue()}


def _deltas() -> dict[str, bytes]:
    size = len(NEW_FILE).to_bytes(2, "big")
    return {
        str(kind).lower(): size + b"".join(encode_delta(kind, OLD_FILE, NEW_FILE)) for kind in DeltaFormat
    }


def _models() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    shapes: dict[str, list[str | int | None]] = {"open": [None, 4], "named": ["batch", 4], "whole": []}
    for name, shape in shapes.items():
        tensor_in = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        tensor_out = helper.make_tensor_value_info("y", TensorProto.STRING, shape[:1])
        weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "g", [tensor_in], [tensor_out], [weight]
        )
        found[name] = helper.make_model(graph).SerializeToString()
    return found


def _infer_json(*, binary: bool) -> tuple[bytes, bytes]:
    x: JsonObject = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    t: JsonObject = {"name": "t", "datatype": "BYTES", "shape": [1]}
    if not binary:
        return _json({"id": "1", "inputs": [{**x, "data": [1, 2.5, 3, 4]}, {**t, "data": ["a"]}]}), b""
    head = {
        "inputs": [
            {**x, "parameters": {"binary_data_size": 16}},
            {**t, "parameters": {"binary_data_size": 5}},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    return _json(head), np.arange(4, dtype="<f4").tobytes() + b"\x01\0\0\0a"


def _bodies() -> dict[str, bytes]:
    plain, _ = _infer_json(binary=False)
    head, tail = _infer_json(binary=True)
    return {"json": b"\xff\xff" + plain, "binary": len(head).to_bytes(2, "big") + head + tail}


def _request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def _requests() -> dict[str, bytes]:
    plain, _ = _infer_json(binary=False)
    head, tail = _infer_json(binary=True)
    infer = "/v2/models/plant.pump/infer"
    chunked = b"POST /v2/models/pump/feedback HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked += b'15\r\n{"outcome":"correct"}\r\n0\r\n\r\n'
    return {
        "json": _request("POST", infer, plain),
        "binary": _request(
            "POST", infer, head + tail, inference_header_content_length=str(len(head)), expect="100-continue"
        ),
        "metadata": _request("GET", "/v2/models/pump")
        + _request("HEAD", f"/v2/models/pump/versions/{REVISION}/ready"),
        "health": _request("GET", "/v2/health/ready") + _request("GET", "/v2", connection="close"),
        "chunked": chunked,
        "upgrade": _request("POST", infer, plain, connection="upgrade", upgrade="h2c"),
        "old": b"GET /v2 HTTP/1.0\r\n\r\n",
    }


def _success(kind: str, result: object) -> bytes:
    return _json({"status": "success", "data": {"resultType": kind, "result": result}})


def _answers() -> dict[str, bytes]:
    bodies: Mapping[str, tuple[int, bytes]] = {
        "vector": (200, _success("vector", [{"metric": {"node": "n1"}, "value": [1.5, "0.25"]}])),
        "scalar": (200, _success("scalar", [1.5, "NaN"])),
        "matrix": (200, _success("matrix", [{"metric": {"node": "n1"}, "values": [[1, "2"], [3, "+Inf"]]}])),
        "error": (422, _json({"status": "error", "errorType": "execution", "error": "bad"})),
        "page": (502, b"<html>"),
    }
    return {name: status.to_bytes(2, "big") + body for name, (status, body) in bodies.items()}


def main() -> None:
    """Writes the seeds into the corpora."""
    found = seeds()
    for target in TARGETS:
        target.corpus.mkdir(parents=True, exist_ok=True)
        for name, data in found[target.name].items():
            (target.corpus / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
