"""Tries a revision in a fresh process under limits, so that no model can harm the agent.

The child ends by itself on its limits of address space and CPU time; the agent ends it, with all that it
started, when it does not answer in time. Whatever it writes is read up to a bound.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import edgecanary
from edgecanary.agent import headroom
from edgecanary.agent.ports import InstalledRevision, ProbeFailed, ProbeImpossible, ProbeReport
from edgecanary.agent.probe_task import Errand, GoldenTask, ProbeAnswer, ProbeResult, ProbeTask, decode_answer
from edgecanary.agent.runtime.catalog import supported_formats
from edgecanary.agent.sandbox.layers import (
    Confines,
    Enforced,
    SandboxSettings,
    required_layers,
    sandbox_words,
)
from edgecanary.agent.tensors import tensor_types
from edgecanary.api.artifacts import Variant
from edgecanary.artifact.onnx_content import DEFAULT_DOMAINS
from edgecanary.base.errors import EdgecanaryError
from edgecanary.base.quantities import human_bytes, parse_bytes

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024
MAX_WORDS_BYTES = 2000
_INTERPRETER_BYTES = 128 * 2**20
"""What the interpreter and a runtime take before they hold a model."""
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
"""The child gets these variables and no others: the agent's environment may hold secrets."""


@dataclass(frozen=True)
class ProbeLimits:
    """What a probe may take, beyond which the revision is refused."""

    wall_seconds: float = 180.0
    cpu_seconds: int = 60
    address_space_bytes: int = 2 * 2**30
    """For the interpreter, the runtime's mappings and a small model."""
    address_space_per_file_byte: int = 4
    """More for larger models: a runtime holds the file, the parsed graph and the optimised one."""
    threads: int = 1
    margin_percent: int = 10
    """What is measured must be within the budget when it is this much more."""
    onnx_domains: tuple[str, ...] = ()
    """Domains of operators that models may use beside the usual ones."""
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)


class SubprocessProber:
    """Probes revisions, one at a time, each in a process of its own."""

    def __init__(
        self, limits: ProbeLimits | None = None, available_bytes: Callable[[], int] = headroom.available_bytes
    ) -> None:
        """`available_bytes` tells how much memory could be had now."""
        self._limits = limits or ProbeLimits()
        self._available_bytes = available_bytes
        self._turn = asyncio.Lock()

    async def survey(self) -> Enforced:
        """Which layers of the sandbox this node can put into force. Raises ProbeImpossible."""
        async with self._turn:
            errand = Errand(_confines(self._limits, self._limits.address_space_bytes, ()))
            answer = await self._run_child(errand)
        if isinstance(answer, EdgecanaryError):
            raise ProbeImpossible(answer.reason, answer.message)
        return answer.sandbox

    async def probe(self, installed: InstalledRevision) -> ProbeReport:
        """Loads the revision and runs its golden cases. Raises ProbeFailed and ProbeImpossible."""
        supported = supported_formats()
        variant = installed.variant
        if variant.format not in supported:
            raise ProbeFailed(
                "UnsupportedFormat",
                f"variant {variant.name!r}: format {variant.format} cannot run on this node, "
                f"which has {', '.join(supported) or 'no runtime'}",
            )
        async with self._turn:
            memory = self._room_for(installed)
            answer = await self._run_child(_errand(installed, self._limits, memory))
        if isinstance(answer, EdgecanaryError):
            raise ProbeFailed(answer.reason, f"variant {variant.name!r}: {answer.message}")
        layers, missing = answer.sandbox.layers, answer.sandbox.missing
        log.info(
            "%s: probed within %s; %s", installed.key, ", ".join(layers) or "nothing", sandbox_words(missing)
        )
        result = answer.outcome
        if isinstance(result, EdgecanaryError):
            if result.reason == "SandboxMissing":
                raise ProbeImpossible(result.reason, _missing_words(result.message))
            raise ProbeFailed(result.reason, f"variant {variant.name!r}: {result.message}")
        if result is None:
            raise ProbeFailed(
                "ProbeCrashed", f"variant {variant.name!r}: the probe said nothing of the model"
            )
        check_budget(installed.variant, result, margin_percent=self._limits.margin_percent)
        return ProbeReport(
            load_milliseconds=result.load_milliseconds,
            latency_p95_milliseconds=math.ceil(result.latency_p95_microseconds / 1000),
            peak_memory_bytes=result.peak_memory_bytes,
            cases=result.cases,
            sandbox=tuple(layers),
        )

    def _room_for(self, installed: InstalledRevision) -> int:
        """Memory that the probe may take of what is free. Raises ProbeImpossible when that is too little."""
        budget, size = installed.variant.budget, sum(file.size_bytes for file in installed.variant.files)
        if budget is not None and budget.peak_memory is not None:
            size = parse_bytes(budget.peak_memory, field="budget.peakMemory")
        free, needed = self._available_bytes(), size + _INTERPRETER_BYTES
        if free < needed:
            raise ProbeImpossible(
                "MemoryShort",
                f"the probe needs {human_bytes(needed)} of memory, with the {human_bytes(size)} of the model, and "
                f"{human_bytes(free)} are free; it is tried again: end what takes the memory, or raise the limit",
            )
        return free

    async def _run_child(self, errand: Errand) -> ProbeAnswer | EdgecanaryError:
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-B", "-P", "-s", "-m", "edgecanary.agent.probe_worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise ProbeImpossible("ProbeNotStarted", f"no process can be started: {error}") from error
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                answer, words = await _converse(child, errand.to_json())
                await child.wait()
        except TimeoutError:
            return EdgecanaryError(
                "ProbeTimeout",
                f"the probe did not end within {self._limits.wall_seconds:g} seconds and was killed",
            )
        finally:
            await _end(child)
        return _judge(child.returncode or 0, answer, words, self._limits)


async def _converse(child: Process, task: bytes) -> tuple[bytes, bytes]:
    """Gives the child its task and reads what it says until it closes both streams."""
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise RuntimeError("the child process was started without pipes")
    answer, words, _ = await asyncio.gather(
        _read(child.stdout, MAX_ANSWER_BYTES), _read(child.stderr, MAX_WORDS_BYTES), _write(child.stdin, task)
    )
    return answer, words


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    try:
        stream.write(data)
        await stream.drain()
        stream.close()
    except (BrokenPipeError, ConnectionResetError):
        return


async def _read(stream: asyncio.StreamReader, keep: int) -> bytes:
    """The first `keep` bytes of a stream, which is read to its end so that the child never blocks on it."""
    kept = b""
    while chunk := await stream.read(16 * 1024):
        kept += chunk[: keep - len(kept)]
    return kept


async def _end(child: Process) -> None:
    """Kills the child's process group if the child still runs, and reaps it."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


def _judge(status: int, answer: bytes, words: bytes, limits: ProbeLimits) -> ProbeAnswer | EdgecanaryError:
    if status == 0:
        decoded = decode_answer(answer)
        if decoded is not None:
            return decoded
    said = words.decode("utf-8", "replace").strip()
    tail = f"; it said: {said[-500:]}" if said else ""
    if status == -signal.SIGXCPU:
        return EdgecanaryError(
            "ProbeTimeout", f"the probe used up its {limits.cpu_seconds} seconds of CPU time and was killed"
        )
    if status < 0:
        return EdgecanaryError(
            "ProbeCrashed",
            f"the probe was killed by {signal.Signals(-status).name}, by the model or for it{tail}",
        )
    return EdgecanaryError(
        "ProbeCrashed", f"the probe ended with status {status} and without an answer{tail}"
    )


def _errand(installed: InstalledRevision, limits: ProbeLimits, memory: int) -> Errand:
    variant = installed.variant
    golden = None
    readable = [str(installed.directory)]
    if installed.golden is not None and installed.golden_path is not None:
        readable.append(str(installed.golden_path))
        golden = GoldenTask(
            path=str(installed.golden_path),
            relative_tolerance=float(installed.golden.relative_tolerance),
            absolute_tolerance=float(installed.golden.absolute_tolerance),
        )
    task = ProbeTask(
        directory=str(installed.directory),
        entrypoint=variant.entrypoint,
        sizes={file.path: file.size_bytes for file in variant.files},
        domains=(*DEFAULT_DOMAINS, *limits.onnx_domains),
        format=variant.format.value,
        inputs=tensor_types(installed.io.inputs),
        outputs=tensor_types(installed.io.outputs),
        golden=golden,
        threads=limits.threads,
    )
    size = sum(file.size_bytes for file in variant.files)
    space = limits.address_space_bytes + limits.address_space_per_file_byte * size
    return Errand(_confines(limits, memory, tuple(readable), space), task)


def _confines(
    limits: ProbeLimits, memory: int, readable: tuple[str, ...], space: int | None = None
) -> Confines:
    return Confines(
        address_space_bytes=space or limits.address_space_bytes,
        memory_bytes=memory,
        cpu_seconds=limits.cpu_seconds,
        readable=readable,
        user_id=limits.sandbox.user_id,
        required=required_layers(limits.sandbox, root=os.geteuid() == 0),
        parent=os.getpid(),
    )


def _missing_words(missing: str) -> str:
    return (
        f"the node lacks layers of the probe's sandbox that are required: {missing}; give the node a kernel and "
        "rights that have them, or start the agent with --probe-sandbox best-effort"
    )


def check_budget(variant: Variant, result: ProbeResult, *, margin_percent: int) -> None:
    """Whether what was measured is within the variant's budget with a margin. Raises ProbeFailed."""
    budget = variant.budget
    if budget is None:
        return
    where, factor = f"variant {variant.name!r}: budget", 1 + margin_percent / 100
    if budget.peak_memory is not None:
        taken = result.peak_memory_bytes
        if taken * factor > parse_bytes(budget.peak_memory, field="budget.peakMemory"):
            raise ProbeFailed(
                "BudgetExceeded",
                f"{where}.peakMemory: loading and running took {human_bytes(taken)}, "
                f"with a margin of {margin_percent} % at most {budget.peak_memory} is allowed",
            )
    latency = budget.latency_p95_milliseconds
    if latency is not None and result.latency_p95_microseconds * factor > latency * 1000:
        raise ProbeFailed(
            "BudgetExceeded",
            f"{where}.latencyP95Milliseconds: {result.latency_p95_microseconds / 1000:g} ms measured, "
            f"with a margin of {margin_percent} % at most {latency} ms is allowed",
        )


def _environment() -> dict[str, str]:
    source_root = str(Path(edgecanary.__file__).parents[1])
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Each would start threads of its own when it is imported.
    return kept | {"PYTHONPATH": source_root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
