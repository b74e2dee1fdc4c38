"""One loaded model: warms it, and turns a request's bytes into an answer's.

Everything here runs in the model's own thread. The only serving module that needs numpy and a runtime, which
cost the agent 40 MB, so it is imported when the first model is activated.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecanary.agent import golden, host
from edgecanary.agent.marks import Slot
from edgecanary.agent.ports import InstalledRevision, ModelLoadFailed
from edgecanary.agent.runtime import catalog
from edgecanary.agent.runtime.base import Array, Feeds, Run, RunFault, Session
from edgecanary.agent.serving import codec
from edgecanary.agent.serving.messages import HttpFault, Response
from edgecanary.agent.tensors import TensorType, check_tensors, narrowed, tensor_types
from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    from edgecanary.agent.drift import DriftMeter

BINARY = "application/octet-stream"
JSON_LENGTH_HEADER = "inference-header-content-length"
_WARM_RUNS = 2


@dataclass
class Engine:
    """A model that is ready to answer."""

    session: Session | None
    """None once the engine is closed."""
    platform: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    memory_bytes: int
    """Private memory that loading and warming added to the process."""
    mark: Slot
    """Says that the model's code runs, should the process die of it."""
    drift: "DriftMeter | None" = None
    """Counts inputs and outputs, if the model has a profile."""

    def new_job(self, name: str, revision: str) -> "Job":
        """One inference under the name that the client called the model."""
        if self.session is None:
            raise RuntimeError(f"the model of revision {revision} is closed")
        return Job(self, self.session.new_run(), {"model_name": name, "model_version": revision})

    def close(self) -> None:
        """Drops the model and gives its memory back. Runs in the model's thread, after its last job."""
        self.session = None
        self.mark.drop()
        host.trim_heap()


class Job:
    """One inference, which the event loop's thread can interrupt."""

    def __init__(self, engine: Engine, run: Run, identity: dict[str, str]) -> None:
        self._engine = engine
        self._run = run
        self._identity = identity
        self._measured: tuple[Feeds, Feeds] | None = None

    def interrupt(self) -> None:
        """Ends the model's run soon; safe from any thread, at any time."""
        self._run.interrupt()

    def answer(self, body: bytearray, json_length: int | None) -> Response:
        """Decodes, runs and encodes.

        Raises HttpFault 400 when the request is at fault, RunFault when the model is.
        """
        engine = self._engine
        request = codec.decode(body, json_length, engine.inputs, engine.outputs)
        names = [wanted.name for wanted in request.outputs]
        engine.mark.enter()
        try:
            arrays = dict(zip(names, self._run.execute(request.feeds, names), strict=True))
        finally:
            engine.mark.leave()
        _check_finite(arrays, request.feeds)
        if engine.drift is not None and engine.drift.takes():
            self._measured = (request.feeds, arrays)
        encoded = codec.encode(self._identity, request, arrays)
        if encoded.json_length is None:
            return Response(200, encoded.body)
        return Response(200, encoded.body, BINARY, {JSON_LENGTH_HEADER: str(encoded.json_length)})

    @property
    def is_measured(self) -> bool:
        """Whether `measure` has something to do."""
        return self._measured is not None

    def measure(self) -> None:
        """Counts the request for drift, after its answer. Runs in the model's thread too."""
        measured, self._measured = self._measured, None
        if measured is not None and self._engine.drift is not None:
            self._engine.drift.count(*measured)


def load(installed: InstalledRevision, *, threads: int, mark: Slot) -> Engine:
    """Loads and warms a revision, under its mark. Raises ModelLoadFailed."""
    mark.enter()
    try:
        engine = _load(installed, threads, mark)
    except BaseException:
        mark.drop()
        raise
    mark.leave()
    return engine


def _load(installed: InstalledRevision, threads: int, mark: Slot) -> Engine:
    variant = installed.variant
    inputs, outputs = tensor_types(installed.io.inputs), tensor_types(installed.io.outputs)
    try:
        runtime = catalog.runtime_for(variant.format.value)
        case = _golden_case(installed, inputs, outputs)
        host.trim_heap()
        before = host.private_bytes()
        session = runtime.load(installed.directory / variant.entrypoint, threads=threads)
        check_tensors("input", inputs, session.inputs)
        check_tensors("output", outputs, session.outputs)
        inputs = narrowed(inputs, session.inputs)
        # Zeros may be no valid input, so they are the second choice.
        _warm(session, case or golden.zero_feeds(inputs), outputs)
    except EdgecanaryError as error:
        raise ModelLoadFailed(f"variant {variant.name!r}: {error}") from error
    host.trim_heap()
    return Engine(
        session=session,
        platform=runtime.platform,
        inputs=inputs,
        outputs=outputs,
        memory_bytes=max(0, host.private_bytes() - before),
        mark=mark,
        drift=_meter(installed),
    )


def _meter(installed: InstalledRevision) -> "DriftMeter | None":
    if installed.profile_path is None:
        return None
    from edgecanary.agent.drift import load_meter  # noqa: PLC0415 - only models with a profile pay for it

    return load_meter(installed.profile_path, installed.io)


def _golden_case(
    installed: InstalledRevision, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]
) -> "Feeds | None":
    if installed.golden_path is None:
        return None
    cases = golden.load(installed.golden_path, inputs, outputs)
    return {name: array.copy() for name, array in cases.feeds(0).items()}


def _warm(session: Session, feeds: Feeds, outputs: tuple[TensorType, ...]) -> None:
    for _ in range(_WARM_RUNS):
        session.new_run().execute(feeds, [tensor.name for tensor in outputs])


def _check_finite(arrays: dict[str, Array], feeds: Feeds) -> None:
    for name, array in arrays.items():
        at = golden.first_not_finite(array)
        if at is None:
            continue
        what = f"output {name!r}, element {list(at)} is {array[at]}, not a finite number"
        for field, values in feeds.items():
            if golden.first_not_finite(values) is not None:
                raise HttpFault(400, f"inputs ({field}): has values that are not finite, and so {what}")
        raise RunFault(what, not_finite=True)
