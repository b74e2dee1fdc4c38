"""The Open Inference Protocol v2 over REST, with feedback: which request means what."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgecanary.agent.runtime.base import RunFault
from edgecanary.agent.serving import openapi, routes
from edgecanary.agent.serving.admission import Admission
from edgecanary.agent.serving.exchange import encode_head
from edgecanary.agent.serving.lane import Guest, Lane
from edgecanary.agent.serving.messages import (
    MAX_ID_LENGTH,
    HttpFault,
    Request,
    Response,
    fault_response,
    json_response,
)
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.registry import ActiveRevision, Failure, Registry
from edgecanary.agent.serving.routes import Action, Target
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.serving.watchdog import Watchdog
from edgecanary.agent.serving.worker import Deadlines, Ticket
from edgecanary.agent.telemetry import Feedback, Outcome, Telemetry
from edgecanary.agent.tensors import DeclaredTensor

EXTENSIONS = ("binary_tensor_data", "model_feedback")
_OPENAPI_PATH = "/openapi.json"
_FEEDBACK_FIELDS = ("id", "outcome", "revision")
_MAX_FEEDBACK_BYTES = 64 * 1024
_MAX_DIGITS = 18
"""Python refuses to read numbers of thousands of digits."""
_QUICK_SECONDS = 0.01
"""A model that answered within that may read its requests itself."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelFailed(HttpFault):
    """The request was fine and the model did not answer it."""


class InferenceApp:
    """Answers requests from the registry of models."""

    def __init__(
        self,
        registry: Registry,
        telemetry: Telemetry,
        settings: ServingSettings,
        quiet: QuietTrim,
        watchdog: Watchdog,
        *,
        version: str,
    ) -> None:
        self._registry = registry
        self._telemetry = telemetry
        self._settings = settings
        self._quiet = quiet
        self._watchdog = watchdog
        self._version = version
        self._admission = Admission(settings.max_in_flight, settings.max_in_flight_per_model)
        self._deadlines = Deadlines()
        self._lanes: tuple[Lane, ...] = ()
        self._tell: Mapping[Action, Callable[[Target], Response]] = {
            Action.SERVER_METADATA: self._server_metadata,
            Action.SERVER_LIVE: lambda _: json_response({"live": True}),
            Action.SERVER_READY: self._node_ready,
            Action.MODEL_METADATA: self._metadata,
            Action.MODEL_READY: self._ready,
            Action.OPENAPI: lambda _: json_response(openapi.document(version)),
        }

    @property
    def busy(self) -> bool:
        """Whether a request is in progress. Safe from any thread."""
        return self._admission.busy or any(lane.running for lane in self._lanes)

    def stop(self) -> None:
        """Watches no deadline any more."""
        self._deadlines.stop()

    async def handle(self, request: Request) -> Response:
        """Answers one request. Raises HttpFault for everything but success."""
        try:
            return await self._route(request)
        except ModelFailed:
            raise
        except HttpFault as fault:
            self._telemetry.count_refused(fault.status)
            raise

    async def _route(self, request: Request) -> Response:
        target = routes.find(request.path)
        if target is None:
            raise HttpFault(404, f"there is nothing at {request.path}; see {_OPENAPI_PATH}")
        route = target.route
        if request.method not in route.methods:
            raise HttpFault(
                405,
                f"{request.method} {request.path}: the method must be {route.method}",
                headers={"allow": ", ".join(route.methods)},
            )
        if route.action is Action.MODEL_INFER:
            return await self._infer(request, target)
        if route.action is Action.MODEL_FEEDBACK:
            return await self._feedback(request, target)
        return self._tell[route.action](target)

    def _server_metadata(self, _target: Target) -> Response:
        return json_response(
            {"name": "edgecanary-agent", "version": self._version, "extensions": list(EXTENSIONS)}
        )

    def _node_ready(self, _target: Target) -> Response:
        ready = self._registry.complete
        return json_response({"ready": ready}, status=200 if ready else 503)

    def _ready(self, target: Target) -> Response:
        active = self._registry.find_active(target.model, target.revision)
        return json_response({"name": target.model, "ready": True, "model_version": active.identity.revision})

    def _metadata(self, target: Target) -> Response:
        active = self._registry.find_active(target.model, target.revision)
        tensors = active.installed.io
        return json_response(
            {
                "name": target.model,
                "versions": [active.identity.revision],
                "platform": active.engine.platform,
                "inputs": _tensors(tensors.inputs),
                "outputs": _tensors(tensors.outputs),
            }
        )

    async def _infer(self, request: Request, target: Target) -> Response:
        key = self._registry.find_active(target.model, target.revision).installed.key
        _check_encoding(request)
        json_length = _json_length(request)
        self._admission.enter(key)
        try:
            body = await request.read_body()
            # Looked up again: a switch while the body arrived is for this request too.
            active = self._registry.find_active(target.model, target.revision)
            start = asyncio.get_running_loop().time()
            ticket = Ticket(target.model, body, json_length, start + self._settings.request_seconds)
            active.worker.submit(ticket)
            response = await self._wait(active, ticket)
            if asyncio.get_running_loop().time() - start < _QUICK_SECONDS:
                self._lend(request, active, target.model)
            return response
        finally:
            self._admission.leave(key)

    def _lend(self, request: Request, active: ActiveRevision, name: str) -> None:
        """Has the model's thread read what the connection asks next, unless that is to wait for others."""
        if self._registry.active(active.installed.key) is not active:
            return
        if active.lane is None and not active.worker.together and Lane.possible:
            service = _LaneService(self, active)
            seconds, most = self._settings.request_seconds, self._settings.max_in_flight_per_model
            active.lane = Lane(service, seconds=seconds, most=most)
            self._lanes = (*self._lanes, active.lane)
            active.worker.serve(active.lane)
        if active.lane is not None:
            request.follow(active.lane, name)

    def retire(self, retired: ActiveRevision | None) -> None:
        """What models are called has changed: no connection stays with a model's thread, nor comes to `retired`."""
        if retired is not None and retired.lane is not None:
            retired.lane.retire()
            self._lanes = tuple(lane for lane in self._lanes if lane is not retired.lane)
        for lane in self._lanes:
            lane.recall_all()

    async def finish(self, active: ActiveRevision, ticket: Ticket) -> Response:
        """Waits for a request that began in the model's thread. Raises HttpFault as `handle` does."""
        self._admission.admit(active.installed.key)
        try:
            return await self._wait(active, ticket)
        except ModelFailed:
            raise
        except HttpFault as fault:
            self._telemetry.count_refused(fault.status)
            raise
        finally:
            self._admission.leave(active.installed.key)

    async def _wait(self, active: ActiveRevision, ticket: Ticket) -> Response:
        """The answer of the model's thread. Raises HttpFault, ModelFailed when it is the model's fault."""
        self._deadlines.watch(ticket)
        try:
            return self._counted(active, ticket, await ticket.waiter)
        except TimeoutError as error:
            self._watchdog.leave(ticket, active.served.hang)
            return self._counted(active, ticket, error)
        except RunFault as error:
            return self._counted(active, ticket, error)
        except asyncio.CancelledError:
            # The thread must not go on with what nobody waits for.
            ticket.expire()
            self._watchdog.leave(ticket, active.served.hang)
            raise
        finally:
            self.used(active, len(ticket.body))

    def used(self, active: ActiveRevision, request_bytes: int = 0) -> None:
        """The model answered, a moment ago. In the event loop's thread."""
        self._quiet.touch(request_bytes)
        active.served.changed.set()

    def answer(self, active: ActiveRevision, ticket: Ticket, guest: Guest) -> bytes | None:
        """The bytes of an answer that the model's thread gives itself; None for a defect. In that thread."""
        try:
            if isinstance(ticket.outcome, HttpFault):
                raise ticket.outcome
            if not isinstance(ticket.outcome, (Response, RunFault)):
                return None
            response = self._counted(active, ticket, ticket.outcome)
        except ModelFailed as failure:
            response = fault_response(failure)
        except HttpFault as fault:
            self._telemetry.count_refused(fault.status)
            response = fault_response(fault)
        return encode_head(guest.head, response, keep_alive=not guest.home.stopping) + response.body

    def _counted(
        self, active: ActiveRevision, ticket: Ticket, outcome: Response | RunFault | TimeoutError
    ) -> Response:
        """Counts what came of a request. Raises ModelFailed. Safe from any thread."""
        limit = self._settings.request_seconds
        seconds = time.monotonic() - (ticket.deadline - limit)
        failure = _failure(outcome)
        active.served.count(seconds, failure)
        self._telemetry.count_request(
            active.identity, Outcome.OK if failure is None else Outcome.ERROR, seconds
        )
        if isinstance(outcome, Response):
            return outcome
        revision = active.identity.revision
        if isinstance(outcome, TimeoutError):
            message = f"revision {revision} did not answer within {limit:g} seconds"
            raise ModelFailed(504, message) from None
        raise ModelFailed(500, f"revision {revision} failed: {outcome}") from outcome

    async def _feedback(self, request: Request, target: Target) -> Response:
        _check_encoding(request)
        self._admission.enter(None)
        try:
            feedback = decode_feedback(await request.read_body())
        finally:
            self._admission.leave(None)
        if None not in (target.revision, feedback.revision) and target.revision != feedback.revision:
            raise HttpFault(
                400, f"revision: is {feedback.revision!r}, must be the path's {target.revision!r} or absent"
            )
        revision = target.revision or feedback.revision
        served = self._registry.find_for_feedback(target.model, revision)
        self._telemetry.count_feedback(served.identity, feedback.outcome)
        answer = {"model_name": target.model, "model_version": served.identity.revision}
        if feedback.id is not None:
            answer["id"] = feedback.id
        return json_response(answer | {"outcome": feedback.outcome})


class _LaneService:
    """What a revision's lane does with requests."""

    def __init__(self, app: InferenceApp, active: ActiveRevision) -> None:
        self._app = app
        self._active = active

    def run(self, ticket: Ticket) -> None:
        """Settles the ticket's outcome."""
        self._active.worker.answer_one(ticket)

    def answer(self, ticket: Ticket, guest: Guest) -> bytes | None:
        """Counts the outcome, and gives the bytes of the answer."""
        return self._app.answer(self._active, ticket, guest)

    async def finish(self, ticket: Ticket) -> Response:
        """Waits for a request that was taken over."""
        return await self._app.finish(self._active, ticket)

    def used(self) -> None:
        """Requests were answered, a moment ago."""
        self._app.used(self._active)


def _failure(outcome: Response | RunFault | TimeoutError) -> Failure | None:
    if isinstance(outcome, Response):
        return None
    if isinstance(outcome, TimeoutError):
        return Failure.TIMEOUT
    return Failure.NOT_FINITE if outcome.not_finite else Failure.FAULT


@dataclass(frozen=True)
class FeedbackMessage:
    """What a client found out about one answer."""

    id: str | None
    outcome: Feedback
    revision: str | None


def decode_feedback(body: bytearray) -> FeedbackMessage:
    """Reads the body of a feedback request. Raises HttpFault 400 naming the field, the value and the rule."""
    if len(body) > _MAX_FEEDBACK_BYTES:
        raise HttpFault(413, f"feedback is {len(body)} bytes, at most {_MAX_FEEDBACK_BYTES} are allowed")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpFault(400, f"the feedback must be JSON: {error}") from None
    if not isinstance(content, dict):
        raise HttpFault(400, "the feedback must be a JSON object with the field outcome")
    for name in content:
        if name not in _FEEDBACK_FIELDS:
            raise HttpFault(400, f"{name}: unknown field, must be one of {', '.join(_FEEDBACK_FIELDS)}")
    request_id, outcome, revision = (content.get(name) for name in _FEEDBACK_FIELDS)
    if outcome not in tuple(Feedback):
        raise HttpFault(400, f"outcome: is {outcome!r}, must be correct or incorrect")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= MAX_ID_LENGTH):
        raise HttpFault(400, f"id: must be a string of at most {MAX_ID_LENGTH} characters")
    if revision is not None and not (isinstance(revision, str) and _DIGEST.fullmatch(revision)):
        raise HttpFault(400, f"revision: is {revision!r}, must be the 64 hexadecimal digits of model_version")
    return FeedbackMessage(request_id, Feedback(outcome), revision)


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HttpFault(
            415,
            f"Content-Encoding: {encoding!r} is not supported, send the body as it is",
            headers={"accept-encoding": "identity"},
        )


def _json_length(request: Request) -> int | None:
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise HttpFault(400, f"Inference-Header-Content-Length: is {text[:80]!r}, must be a number of bytes")
    return int(text)


def _tensors(specs: Iterable[DeclaredTensor]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": str(spec.dtype), "shape": list(spec.shape)} for spec in specs]
