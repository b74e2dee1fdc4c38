"""Tries a revision in a fresh process under limits, so that no model can harm the agent.

The child ends by itself on its limits of address space and CPU time; the agent ends it, with all that it
started, when it does not answer in time. Whatever it writes is read up to a bound.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

import edgecanary
from edgecanary.agent.ports import InstalledRevision, ProbeFailed, ProbeReport
from edgecanary.agent.probe_task import GoldenTask, ProbeResult, ProbeTask, decode_answer
from edgecanary.agent.runtime.catalog import supported_formats
from edgecanary.agent.tensors import tensor_types
from edgecanary.base.errors import EdgecanaryError
from edgecanary.base.quantities import human_bytes, parse_bytes

MAX_ANSWER_BYTES = 64 * 1024
MAX_WORDS_BYTES = 2000
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


class SubprocessProber:
    """Probes revisions, one at a time, each in a process of its own."""

    def __init__(self, limits: ProbeLimits | None = None) -> None:
        self._limits = limits or ProbeLimits()
        self._turn = asyncio.Lock()

    async def probe(self, installed: InstalledRevision) -> ProbeReport:
        """Loads the revision and runs its golden cases. Raises ProbeFailed."""
        supported = supported_formats()
        if installed.variant.format not in supported:
            raise ProbeFailed(
                "UnsupportedFormat",
                f"variant {installed.variant.name!r}: format {installed.variant.format} cannot run on this node, "
                f"which has {', '.join(supported) or 'no runtime'}",
            )
        async with self._turn:
            answer = await self._run_child(_task(installed, self._limits))
        if isinstance(answer, EdgecanaryError):
            raise ProbeFailed(answer.reason, f"variant {installed.variant.name!r}: {answer.message}")
        report = ProbeReport(
            load_milliseconds=answer.load_milliseconds,
            latency_p95_milliseconds=answer.latency_p95_milliseconds,
            peak_memory_bytes=answer.peak_memory_bytes,
            cases=answer.cases,
        )
        _check_budget(installed, report)
        return report

    async def _run_child(self, task: ProbeTask) -> ProbeResult | EdgecanaryError:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-s",
            "-m",
            "edgecanary.agent.probe_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                answer, words = await _converse(child, task.to_json())
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


def _judge(status: int, answer: bytes, words: bytes, limits: ProbeLimits) -> ProbeResult | EdgecanaryError:
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


def _task(installed: InstalledRevision, limits: ProbeLimits) -> ProbeTask:
    variant = installed.variant
    golden = None
    if installed.golden is not None and installed.golden_path is not None:
        golden = GoldenTask(
            path=str(installed.golden_path),
            relative_tolerance=float(installed.golden.relative_tolerance),
            absolute_tolerance=float(installed.golden.absolute_tolerance),
        )
    size = sum(file.size_bytes for file in variant.files)
    return ProbeTask(
        model=str(installed.directory / variant.entrypoint),
        format=variant.format.value,
        inputs=tensor_types(installed.io.inputs),
        outputs=tensor_types(installed.io.outputs),
        golden=golden,
        threads=limits.threads,
        address_space_bytes=limits.address_space_bytes + limits.address_space_per_file_byte * size,
        cpu_seconds=limits.cpu_seconds,
    )


def _check_budget(installed: InstalledRevision, report: ProbeReport) -> None:
    budget = installed.variant.budget
    if budget is None:
        return
    where = f"variant {installed.variant.name!r}: budget"
    if budget.peak_memory is not None:
        allowed = parse_bytes(budget.peak_memory, field="budget.peakMemory")
        if report.peak_memory_bytes > allowed:
            raise ProbeFailed(
                "BudgetExceeded",
                f"{where}.peakMemory: loading and running took {human_bytes(report.peak_memory_bytes)}, "
                f"at most {budget.peak_memory} is allowed",
            )
    latency = budget.latency_p95_milliseconds
    if latency is not None and report.latency_p95_milliseconds > latency:
        raise ProbeFailed(
            "BudgetExceeded",
            f"{where}.latencyP95Milliseconds: {report.latency_p95_milliseconds} ms measured, "
            f"at most {latency} ms is allowed",
        )


def _environment() -> dict[str, str]:
    source_root = str(Path(edgecanary.__file__).parents[1])
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Each would start threads of its own when it is imported.
    return kept | {"PYTHONPATH": source_root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
