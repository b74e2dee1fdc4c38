"""What the agent and the probe's child process tell each other: one JSON object each way.

Standard library only, since the child pays for each import.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Self

from edgecanary.agent.tensors import TensorType
from edgecanary.base.errors import EdgecanaryError

_MAX_MESSAGE = 4000
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")


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
    return json.dumps(
        {"failed": {"reason": answer.reason, "message": answer.message[:_MAX_MESSAGE]}}
    ).encode()


def decode_answer(data: bytes) -> ProbeResult | EdgecanaryError | None:
    """The child's answer, or None when these bytes are not one: the child is not trusted to be whole."""
    try:
        answer = json.loads(data)
        if "passed" in answer:
            return ProbeResult(**{name: _count(value) for name, value in answer["passed"].items()})
        failed = answer["failed"]
        reason, message = str(failed["reason"]), str(failed["message"])[:_MAX_MESSAGE]
        message.encode()
        return EdgecanaryError(reason, message) if _REASON.fullmatch(reason) else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _count(value: object) -> int:
    """A measured number. Raises ValueError and TypeError for what the report could not hold."""
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("not a count")
    return int(value)
