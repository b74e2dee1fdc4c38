"""The client's side of the Open Inference Protocol v2 over REST, for one file at a time.

A request's tensor travels either as JSON numbers or, with the binary tensor extension, as raw bytes after
the JSON header, whose length then is in the header Inference-Header-Content-Length.
"""

import json
import re
from dataclasses import dataclass

import numpy as np

from edgelab.modelzoo.features import FEATURE_COUNT, Features
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME

HEADER_LENGTH = "Inference-Header-Content-Length"
_REVISION = re.compile(r"[0-9a-f]{64}")


class GarbledAnswerError(Exception):
    """An agent answered 200 with something that is not an answer; the message names the field."""


@dataclass(frozen=True)
class Request:
    """The body of an infer request and the headers that it needs."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What an agent said: the position of the highest score, and the revision that computed it."""

    label_index: int
    revision: str


def json_request(request_id: str, features: Features) -> Request:
    """A request in plain JSON, whose answer is to be in JSON too."""
    tensor = _input_tensor() | {"data": features.tolist()}
    body = json.dumps({"id": request_id, "inputs": [tensor]}).encode()
    return Request(body, {"Content-Type": "application/json"})


def binary_request(request_id: str, features: Features) -> Request:
    """A request with a binary tensor, whose answer is to be binary too."""
    data = features.astype("<i4").tobytes()
    tensor = _input_tensor() | {"parameters": {"binary_data_size": len(data)}}
    output = {"name": OUTPUT_NAME, "parameters": {"binary_data": True}}
    header = json.dumps({"id": request_id, "inputs": [tensor], "outputs": [output]}).encode()
    return Request(
        header + data,
        {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))},
    )


def feedback_body(request_id: str, *, correct: bool, revision: str) -> bytes:
    """What an agent is told about an answer of its own."""
    outcome = "correct" if correct else "incorrect"
    return json.dumps({"id": request_id, "outcome": outcome, "revision": revision}).encode()


def read_answer(body: bytes, header_length: str | None, *, request_id: str, labels: int) -> Answer:
    """Take an answer apart; raises GarbledAnswerError when it does not answer this request."""
    try:
        end = len(body) if header_length is None else int(header_length)
        header = json.loads(body[:end])
    except ValueError as error:
        raise GarbledAnswerError(f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise GarbledAnswerError("its header is not a JSON object")
    if header.get("id") != request_id:
        raise GarbledAnswerError(f"id is {header.get('id')!r}, the request's is {request_id!r}")
    revision = header.get("model_version")
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise GarbledAnswerError(f"model_version is {revision!r}, a revision has 64 hexadecimal digits")
    scores = _scores(header, body[end:])
    if scores.shape != (labels,) or not np.isfinite(scores).all():
        raise GarbledAnswerError(f"{OUTPUT_NAME} has shape {scores.shape}, {labels} finite scores are due")
    return Answer(int(scores.argmax()), revision)


def _input_tensor() -> dict[str, object]:
    return {"name": INPUT_NAME, "datatype": "INT32", "shape": [1, FEATURE_COUNT]}


def _scores(header: dict[str, object], binary: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    outputs = header.get("outputs")
    first = outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else None
    if not isinstance(first, dict) or first.get("name") != OUTPUT_NAME or first.get("datatype") != "FP32":
        raise GarbledAnswerError(f"outputs is not one FP32 tensor {OUTPUT_NAME}")
    try:
        if "data" in first:
            return np.array(first["data"], dtype=np.float32).reshape(-1)
        return np.frombuffer(binary, dtype="<f4")
    except (ValueError, TypeError) as error:
        raise GarbledAnswerError(f"{OUTPUT_NAME} is not a tensor: {error}") from error
