"""What the agent and the probe's child process tell each other: one JSON object each way.

Standard library only, since the child pays for each import.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from edgecanary.agent.tensors import TensorType
from edgecanary.base.errors import EdgecanaryError


@dataclass(frozen=True)
class GoldenTask:
    """The golden file to run, and how exact the outputs must be."""

    path: str
    relative_tolerance: float
    absolute_tolerance: float


@dataclass(frozen=True)
class ProbeTask:
    """What the child is to try, and within what."""

    model: str
    """Path of the file that the runtime loads."""
    format: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    golden: GoldenTask | None
    threads: int
    address_space_bytes: int
    cpu_seconds: int

    def to_json(self) -> bytes:
        """The task for the child's standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The task as the parent wrote it."""
        fields = json.loads(data)
        golden = fields.pop("golden")
        inputs, outputs = (_tensors(fields.pop(role)) for role in ("inputs", "outputs"))
        return cls(
            **fields, inputs=inputs, outputs=outputs, golden=None if golden is None else GoldenTask(**golden)
        )


@dataclass(frozen=True)
class ProbeResult:
    """What the child measured."""

    load_milliseconds: int
    latency_p95_milliseconds: int
    peak_memory_bytes: int
    cases: int


def _tensors(items: list[dict[str, object]]) -> tuple[TensorType, ...]:
    return tuple(
        TensorType(str(item["name"]), str(item["dtype"]), tuple(_lengths(item["shape"]))) for item in items
    )


def _lengths(shape: object) -> list[int]:
    return [int(length) for length in shape] if isinstance(shape, list) else []


def encode_answer(answer: ProbeResult | EdgecanaryError) -> bytes:
    """The child's answer for its standard output."""
    if isinstance(answer, ProbeResult):
        return json.dumps({"passed": asdict(answer)}).encode()
    return json.dumps({"failed": {"reason": answer.reason, "message": answer.message[:4000]}}).encode()


def decode_answer(data: bytes) -> ProbeResult | EdgecanaryError | None:
    """The child's answer, or None when these bytes are not one: the child is not trusted to be whole."""
    try:
        answer = json.loads(data)
        if "passed" in answer:
            return ProbeResult(**{name: int(value) for name, value in answer["passed"].items()})
        failed = answer["failed"]
        return EdgecanaryError(str(failed["reason"]), str(failed["message"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
