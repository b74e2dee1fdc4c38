"""One loaded model: warms it, and turns requests' bytes into answers' bytes.

Everything here runs in the model's own thread. Of the serving modules only this one and what it imports need numpy
and a runtime, which cost the agent 40 MB, so it is imported when the first model is activated.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edgecanary.agent import golden, host
from edgecanary.agent.marks import Slot
from edgecanary.agent.ports import InstalledRevision, ModelLoadFailed
from edgecanary.agent.runtime import catalog
from edgecanary.agent.runtime.base import Array, Feeds, Run, RunFault, Session
from edgecanary.agent.serving import batching
from edgecanary.agent.serving.decoding import InferRequest
from edgecanary.agent.serving.messages import HttpFault, Response
from edgecanary.agent.serving.repeats import Repeats
from edgecanary.agent.serving.worker import Ticket
from edgecanary.agent.tensors import TensorType, check_tensors, narrowed, tensor_types
from edgecanary.base.errors import EdgecanaryError

if TYPE_CHECKING:
    from edgecanary.agent.drift import DriftMeter

log = logging.getLogger(__name__)

BINARY = "application/octet-stream"
JSON_LENGTH_HEADER = "inference-header-content-length"
_WARM_RUNS = 2

Outputs = Mapping[str, Array]


class Observer(Protocol):
    """Sees what the model was given and what came of it, in the model's thread: it must be quick."""

    def see(self, feeds: Feeds, given: Outputs | None) -> None:
        """`given` holds the outputs that were asked for; None when the model failed."""
        ...


@dataclass
class Engine:
    """A model that is ready to answer."""

    session: Session | None
    """None once the engine is closed."""
    revision: str
    platform: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    memory_bytes: int
    """Private memory that loading and warming added to the process."""
    mark: Slot
    """Says that the model's code runs, should the process die of it."""
    max_rows: int = 1
    """Rows of several requests that are run together; 1 where each is run by itself."""
    observer: Observer | None = None
    drift: "DriftMeter | None" = None
    """Counts inputs and outputs, if the model has a profile."""
    _unmeasured: list[tuple[Feeds, Outputs]] = field(default_factory=list)
    _repeats: Repeats = field(init=False)

    def __post_init__(self) -> None:
        self._repeats = Repeats(self.revision, self.inputs, self.outputs)

    def answer(self, tickets: Sequence[Ticket]) -> None:
        """Settles the outcome of each ticket.

        That is an answer, HttpFault 400 where the request is at fault, or RunFault where the model is.
        """
        decoded: list[tuple[Ticket, InferRequest]] = []
        for ticket in tickets:
            try:
                decoded.append((ticket, self._repeats.decode(ticket.body, ticket.json_length)))
            except HttpFault as fault:
                ticket.outcome = fault
        if len(decoded) == 1:
            self._alone(*decoded[0])
            return
        for group in batching.groups(decoded, lambda item: item[1].feeds, self.max_rows):
            if len(group) == 1 or not self._together(group):
                for ticket, request in group:
                    self._alone(ticket, request)

    def run(self, feeds: Feeds, names: Sequence[str], *tickets: Ticket) -> dict[str, Array]:
        """The named outputs; the tickets end the run when all of them expire. Raises RunFault."""
        if self.session is None:
            raise RuntimeError(f"the model of revision {self.revision} is closed")
        run: Run = self.session.new_run()
        interruptible = run if len(tickets) == 1 else batching.SharedRun(run, tickets)
        for ticket in tickets:
            ticket.begin(interruptible)
        self.mark.enter()
        try:
            return dict(zip(names, run.execute(feeds, names), strict=True))
        finally:
            self.mark.leave()

    def rest(self) -> None:
        """What is left to do once answers are given: counts for drift."""
        waiting, self._unmeasured = self._unmeasured, []
        for feeds, given in waiting:
            if self.drift is not None:
                self.drift.count(feeds, given)

    def check_finite(self, given: Outputs) -> None:
        """Raises RunFault when a value is not finite."""
        _check_finite(given, {})

    def close(self) -> None:
        """Drops the model and gives its memory back. Runs in the model's thread, after its last answer."""
        self.session = None
        self.observer = None
        self.mark.drop()
        host.trim_heap()

    def _alone(self, ticket: Ticket, request: InferRequest) -> None:
        names = [wanted.name for wanted in request.outputs]
        try:
            given = self.run(request.feeds, names, ticket)
        except RunFault as fault:
            ticket.outcome = fault
            self._show(request.feeds, None)
        else:
            self._finish(ticket, request, given)

    def _together(self, group: Sequence[tuple[Ticket, InferRequest]]) -> bool:
        """Answers a group by one run. Answers none and gives False when that fails: one may have failed all."""
        names = list(dict.fromkeys(wanted.name for _, request in group for wanted in request.outputs))
        requests = [request.feeds for _, request in group]
        try:
            given = self.run(batching.joined(requests), names, *(ticket for ticket, _ in group))
            parts = batching.split(given, requests)
        except RunFault:
            return False
        for (ticket, request), part in zip(group, parts, strict=True):
            self._finish(ticket, request, part)
        return True

    def _finish(self, ticket: Ticket, request: InferRequest, given: Outputs) -> None:
        try:
            _check_finite(given, request.feeds)
        except RunFault as fault:
            ticket.outcome = fault
            self._show(request.feeds, None)
            return
        except HttpFault as fault:
            ticket.outcome = fault
            return
        if self.drift is not None and self.drift.takes():
            self._unmeasured.append((request.feeds, given))
        encoded = self._repeats.encode(ticket.name, request, given)
        if encoded.json_length is None:
            ticket.outcome = Response(200, encoded.body)
        else:
            headers = {JSON_LENGTH_HEADER: str(encoded.json_length)}
            ticket.outcome = Response(200, encoded.body, BINARY, headers)
        self._show(request.feeds, given)

    def _show(self, feeds: Feeds, given: Outputs | None) -> None:
        if self.observer is not None:
            self.observer.see(feeds, given)


def load(installed: InstalledRevision, *, threads: int, mark: Slot, max_rows: int = 1) -> Engine:
    """Loads and warms a revision, under its mark.

    Up to `max_rows` rows are run together if the model shows that it can do that. Raises ModelLoadFailed.
    """
    mark.enter()
    try:
        engine = _load(installed, threads, mark, max_rows)
    except BaseException:
        mark.drop()
        raise
    mark.leave()
    return engine


def _load(installed: InstalledRevision, threads: int, mark: Slot, max_rows: int) -> Engine:
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
    engine = Engine(session, installed.revision, runtime.platform, inputs, outputs, 0, mark)
    if max_rows > 1:
        engine.max_rows = _rows_together(engine, case, max_rows, installed)
    host.trim_heap()
    engine.memory_bytes = max(0, host.private_bytes() - before)
    engine.drift = _meter(installed)
    return engine


def _rows_together(engine: Engine, case: "Feeds | None", max_rows: int, installed: InstalledRevision) -> int:
    """`max_rows` if the model gives rows the same answers together as alone, else 1."""
    names = [tensor.name for tensor in engine.outputs]
    doubt = batching.doubt(engine.inputs, engine.outputs, case, lambda feeds: engine.run(feeds, names))
    if doubt is None:
        return max_rows
    log.warning("%s: requests are not run together: %s", installed.key, doubt)
    return 1


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


def _check_finite(arrays: Outputs, feeds: Feeds) -> None:
    for name, array in arrays.items():
        at = golden.first_not_finite(array)
        if at is None:
            continue
        what = f"output {name!r}, element {list(at)} is {array[at]}, not a finite number"
        for tensor, values in feeds.items():
            if golden.first_not_finite(values) is not None:
                raise HttpFault(400, f"inputs ({tensor}): has values that are not finite, and so {what}")
        raise RunFault(what, not_finite=True)
