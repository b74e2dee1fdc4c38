"""What the agent and the probe's child process tell each other: one JSON object each way.

Standard library only, since the child pays for each import.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from edgecanary.agent.sandbox.layers import Confines, Enforced
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
    """The model that the child is to try."""

    directory: str
    """Holds the revision's files."""
    entrypoint: str
    """The file that the runtime loads, by its path in the directory."""
    sizes: Mapping[str, int]
    """Length of each file that the variant declares, by path."""
    domains: tuple[str, ...]
    """Domains of operators that the model may use."""
    format: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    golden: GoldenTask | None
    threads: int


@dataclass(frozen=True)
class Errand:
    """What the child is to take from itself, and what it is to do then."""

    confines: Confines
    task: ProbeTask | None = None
    """None when it is only to say what confines it."""

    def to_json(self) -> bytes:
        """The errand for the child's standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The errand as the parent wrote it."""
        fields = json.loads(data)
        confines, task = fields["confines"], fields["task"]
        confines |= {name: tuple(confines[name]) for name in ("readable", "required")}
        if task is None:
            return cls(Confines(**confines))
        golden = task.pop("golden")
        inputs, outputs = (_tensors(task.pop(role)) for role in ("inputs", "outputs"))
        task["domains"] = tuple(task["domains"])
        wanted = None if golden is None else GoldenTask(**golden)
        return cls(Confines(**confines), ProbeTask(**task, inputs=inputs, outputs=outputs, golden=wanted))


@dataclass(frozen=True)
class ProbeResult:
    """What the child measured."""

    load_milliseconds: int
    latency_p95_microseconds: int
    peak_memory_bytes: int
    cases: int


@dataclass(frozen=True)
class ProbeAnswer:
    """What confined the child, and what came of its task."""

    sandbox: Enforced
    outcome: ProbeResult | EdgecanaryError | None = None
    """None when it had no task."""


def _tensors(items: list[dict[str, object]]) -> tuple[TensorType, ...]:
    return tuple(
        TensorType(str(item["name"]), str(item["dtype"]), tuple(_lengths(item["shape"]))) for item in items
    )


def _lengths(shape: object) -> list[int]:
    return [int(length) for length in shape] if isinstance(shape, list) else []


def encode_answer(answer: ProbeAnswer) -> bytes:
    """The child's answer for its standard output."""
    told: dict[str, object] = {"sandbox": asdict(answer.sandbox)}
    if isinstance(answer.outcome, ProbeResult):
        told["passed"] = asdict(answer.outcome)
    elif answer.outcome is not None:
        told["failed"] = {"reason": answer.outcome.reason, "message": answer.outcome.message[:_MAX_MESSAGE]}
    return json.dumps(told).encode()


def decode_answer(data: bytes) -> ProbeAnswer | None:
    """The child's answer, or None when these bytes are not one: the child is not trusted to be whole."""
    try:
        told = json.loads(data)
        layers, missing = told["sandbox"]["layers"], told["sandbox"]["missing"]
        sandbox = Enforced(
            [str(layer) for layer in layers], {str(layer): str(why) for layer, why in missing.items()}
        )
        if "passed" in told:
            numbers = {name: _count(value) for name, value in told["passed"].items()}
            return ProbeAnswer(sandbox, ProbeResult(**numbers))
        if "failed" in told:
            failed = told["failed"]
            reason, message = str(failed["reason"]), str(failed["message"])[:_MAX_MESSAGE]
            message.encode()
            if not _REASON.fullmatch(reason):
                return None
            return ProbeAnswer(sandbox, EdgecanaryError(reason, message))
        return ProbeAnswer(sandbox)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _count(value: object) -> int:
    """A measured number. Raises ValueError and TypeError for what the report could not hold."""
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError("not a count")
    return int(value)
