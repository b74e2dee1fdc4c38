"""What the probe's child does with a model once it is confined: reads, loads, runs and measures it."""

import math
import mmap
import stat
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from edgecanary.agent import golden
from edgecanary.agent.host import PeakMeter
from edgecanary.agent.probe_task import ProbeResult, ProbeTask
from edgecanary.agent.runtime import catalog
from edgecanary.agent.runtime.base import Array, Feeds, LoadFault, RunFault, Runtime, Session
from edgecanary.agent.tensors import TensorType, check_tensors, narrowed
from edgecanary.artifact.onnx_content import check_content, external_path
from edgecanary.base.errors import EdgecanaryError, InvalidInput

BATCHES = 3
"""The p95 latency is that of the quietest batch: what else the node does can only add to it."""
MIN_RUNS = 20
"""A batch has this many runs at least, so that a p95 means something."""
MIN_RUN_SECONDS = 2.0
"""A slow model is not run again once it has computed this long."""


def run(task: ProbeTask, meter: PeakMeter) -> ProbeResult:
    """Tries the model. Raises EdgecanaryError with the reason why it must not serve."""
    model = Path(task.directory) / task.entrypoint
    if task.format == "ONNX":
        _check_onnx(task, model)
    runtime = catalog.runtime_for(task.format)
    cases = None
    if task.golden is not None:
        cases = golden.load(Path(task.golden.path), task.inputs, task.outputs)
    # The interpreter, the runtime and the golden arrays are not the model's memory.
    before = meter.resident_bytes()
    meter.reset()
    start = time.perf_counter()
    session = _load(runtime, model, task.threads)
    load_milliseconds = math.ceil((time.perf_counter() - start) * 1000)
    check_tensors("input", task.inputs, session.inputs)
    check_tensors("output", task.outputs, session.outputs)
    p95 = _run_zeros(session, task) if cases is None else _run_golden(session, task, cases)
    return ProbeResult(
        load_milliseconds=load_milliseconds,
        latency_p95_microseconds=math.ceil(p95 * 1e6),
        peak_memory_bytes=max(0, meter.peak_bytes() - before),
        cases=0 if cases is None else cases.count,
    )


def _load(runtime: Runtime, model: Path, threads: int) -> Session:
    try:
        return runtime.load(model, threads=threads)
    except LoadFault as error:
        if error.out_of_memory:
            raise EdgecanaryError("OutOfMemory", "loading") from error
        raise


def _check_onnx(task: ProbeTask, model: Path) -> None:
    """Reads the file before the runtime does: which operators it calls, and which files it would open."""
    try:
        with model.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = check_content(
            memoryview(content),
            entrypoint=task.entrypoint,
            sizes=task.sizes,
            domains=task.domains,
            field=task.entrypoint,
        )
    except InvalidInput as error:
        if error.reason == "ModelInvalid":
            raise LoadFault(error.message) from None
        raise
    except (OSError, ValueError) as error:
        raise LoadFault(f"{task.entrypoint}: cannot be read: {error}") from error
    for tensor in found.external:
        _check_regular(task, external_path(tensor, task.entrypoint))


def _check_regular(task: ProbeTask, path: str) -> None:
    """A declared file must be where it was installed: a file, with folders and no links on the way."""
    root = Path(task.directory)
    relative = PurePosixPath(path)
    on_the_way = [relative, *(folder for folder in relative.parents if folder.name)]
    try:
        links = [step for step in on_the_way if (root / step).is_symlink()]
        found = (root / path).lstat()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    if links:
        raise _refused(path, f"{links[0]} is a link and must be none")
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "must be a file")
    if found.st_size != task.sizes[path]:
        raise _refused(path, f"has {found.st_size} bytes, declared are {task.sizes[path]}")


def _refused(path: str, rule: str) -> EdgecanaryError:
    return EdgecanaryError("ExternalDataRefused", f"{path}: {rule}; remove the revision, it is fetched anew")


def _run_golden(session: Session, task: ProbeTask, cases: golden.GoldenCases) -> float:
    """Runs and checks every case. Returns the p95 latency in seconds."""
    tolerance = golden.Tolerance(relative=0, absolute=0)
    if task.golden is not None:
        tolerance = golden.Tolerance(task.golden.relative_tolerance, task.golden.absolute_tolerance)

    def run_once(number: int) -> float:
        case = number % cases.count
        given, took = _timed_run(session, task, cases.feeds(case), f"case {case}")
        golden.compare(cases, case, given, tolerance)
        return took

    return quietest_p95(run_once, cases.count)


def _run_zeros(session: Session, task: ProbeTask) -> float:
    """Runs inputs full of zeros, for want of golden cases: the model must at least answer with numbers."""
    feeds = golden.zero_feeds(narrowed(task.inputs, session.inputs))
    what = "the run on zeros (no golden file is declared)"

    def run_once(_: int) -> float:
        given, took = _timed_run(session, task, feeds, what)
        for name, array in given.items():
            golden.check_finite(array, f"output {name!r}, {what}")
        return took

    return quietest_p95(run_once, 1)


def quietest_p95(run_once: Callable[[int], float], cases: int) -> float:
    """Runs every case, then more batches while there is time; the least of the batches' p95 in seconds."""
    run_once(0)
    spent, found = 0.0, []
    for batch in range(BATCHES):
        seconds: list[float] = []
        while len(seconds) < cases or (len(seconds) < MIN_RUNS and spent < MIN_RUN_SECONDS):
            seconds.append(run_once(len(seconds)))
            spent += seconds[-1]
        found.append(_p95(seconds))
        if spent * (batch + 2) / (batch + 1) > MIN_RUN_SECONDS:
            break
    return min(found)


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
            raise EdgecanaryError("OutOfMemory", what) from error
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


def _p95(seconds: list[float]) -> float:
    """The nearest-rank 95th percentile."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
