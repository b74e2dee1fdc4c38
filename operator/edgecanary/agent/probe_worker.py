"""The probe's child process: loads the model, runs the golden cases, measures, answers and ends.

Reads a ProbeTask on standard input and writes the answer on standard output. Its limits are in force before
the model file is opened. A model that kills it kills no one else.
"""

import ctypes
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path

from edgecanary.agent import golden, host
from edgecanary.agent.probe_task import ProbeResult, ProbeTask, encode_answer
from edgecanary.agent.runtime import catalog
from edgecanary.agent.runtime.base import Array, Feeds, RunFault, Session
from edgecanary.agent.tensors import TensorType, check_tensors, narrowed
from edgecanary.base.errors import EdgecanaryError

NICENESS = 10
MIN_RUNS = 20
"""With fewer golden cases they are run again, so that a p95 means something."""
MIN_RUN_SECONDS = 2.0
"""A slow model is not run again once it has computed this long."""
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Does the task on standard input. Returns the exit status: 0 whenever an answer was written."""
    answer_fd = _keep_standard_output()
    task = ProbeTask.from_json(sys.stdin.buffer.read())
    _confine(task)
    try:
        answer = encode_answer(_probe(task))
    except EdgecanaryError as error:
        answer = encode_answer(error)
    except MemoryError:
        answer = encode_answer(_out_of_memory(task, "the probe"))
    with os.fdopen(answer_fd, "wb") as stream:
        stream.write(answer)
    return 0


def _keep_standard_output() -> int:
    """A private copy of standard output, with what native code prints sent to standard error."""
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    return answer_fd


def _confine(task: ProbeTask) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_seconds, task.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (task.address_space_bytes, task.address_space_bytes))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        # The agent's own death must not leave a runaway model behind.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _volunteer_for_the_oom_killer()


def _volunteer_for_the_oom_killer() -> None:
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _probe(task: ProbeTask) -> ProbeResult:
    runtime = catalog.runtime_for(task.format)
    cases = _golden_cases(task)
    # The interpreter, the runtime and the golden arrays are not the model's memory.
    before = host.resident_bytes()
    host.reset_peak()
    start = time.perf_counter()
    session = runtime.load(Path(task.model), threads=task.threads)
    load_milliseconds = math.ceil((time.perf_counter() - start) * 1000)
    check_tensors("input", task.inputs, session.inputs)
    check_tensors("output", task.outputs, session.outputs)
    p95 = _run_zeros(session, task) if cases is None else _run_golden(session, task, cases)
    return ProbeResult(
        load_milliseconds=load_milliseconds,
        latency_p95_milliseconds=math.ceil(p95 * 1000),
        peak_memory_bytes=max(0, host.peak_resident_bytes() - before),
        cases=0 if cases is None else cases.count,
    )


def _golden_cases(task: ProbeTask) -> golden.GoldenCases | None:
    if task.golden is None:
        return None
    return golden.load(Path(task.golden.path), task.inputs, task.outputs)


def _run_golden(session: Session, task: ProbeTask, cases: golden.GoldenCases) -> float:
    """Runs and checks every case. Returns the p95 latency in seconds."""
    _timed_run(session, task, cases.feeds(0), "case 0")
    seconds = []
    for case in range(cases.count):
        given, took = _timed_run(session, task, cases.feeds(case), f"case {case}")
        golden.compare(cases, case, given, _tolerance(task))
        seconds.append(took)
    while len(seconds) < MIN_RUNS and sum(seconds) < MIN_RUN_SECONDS:
        case = len(seconds) % cases.count
        seconds.append(_timed_run(session, task, cases.feeds(case), f"case {case}")[1])
    return _p95(seconds)


def _tolerance(task: ProbeTask) -> golden.Tolerance:
    if task.golden is None:
        return golden.Tolerance(relative=0, absolute=0)
    return golden.Tolerance(task.golden.relative_tolerance, task.golden.absolute_tolerance)


def _run_zeros(session: Session, task: ProbeTask) -> float:
    """Runs inputs full of zeros, for want of golden cases: the model must at least answer with numbers."""
    feeds = golden.zero_feeds(narrowed(task.inputs, session.inputs))
    what = "the run on zeros (no golden file is declared)"
    _timed_run(session, task, feeds, what)
    given, took = _timed_run(session, task, feeds, what)
    for name, array in given.items():
        golden.check_finite(array, f"output {name!r}, {what}")
    return took


def _timed_run(session: Session, task: ProbeTask, feeds: Feeds, what: str) -> tuple[dict[str, Array], float]:
    """One run and its seconds: of the thread's CPU time, which neighbours and the niceness do not stretch.

    A model that computes on several threads is measured by the wall clock, since the others' time would be
    missing. The process's CPU clock is no choice: under a CPU limit it only moves with the kernel's tick.
    """
    clock = time.thread_time if task.threads == 1 else time.perf_counter
    names = [tensor.name for tensor in task.outputs]
    start = clock()
    try:
        arrays = session.new_run().execute(feeds, names)
    except RunFault as error:
        if error.out_of_memory:
            raise _out_of_memory(task, what) from error
        raise EdgecanaryError("GoldenMismatch", f"{what}: the model failed to run: {error}") from error
    took = clock() - start
    given = dict(zip(names, arrays, strict=True))
    _check_shapes(given, task.outputs, what)
    return given, took


def _check_shapes(given: dict[str, Array], outputs: tuple[TensorType, ...], what: str) -> None:
    actual = [TensorType(tensor.name, tensor.dtype, given[tensor.name].shape) for tensor in outputs]
    try:
        check_tensors("output", outputs, actual)
    except EdgecanaryError as error:
        raise EdgecanaryError(error.reason, f"{what}: {error}") from error


def _out_of_memory(task: ProbeTask, what: str) -> EdgecanaryError:
    return EdgecanaryError(
        "BudgetExceeded",
        f"{what}: the model asked for more memory than the probe's address space of "
        f"{task.address_space_bytes} bytes leaves",
    )


def _p95(seconds: list[float]) -> float:
    """The nearest-rank 95th percentile."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


if __name__ == "__main__":
    sys.exit(main())
