"""The Open Inference Protocol v2 over REST, with feedback: which request means what."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgecanary.agent.runtime.base import RunFault
from edgecanary.agent.serving import openapi, routes
from edgecanary.agent.serving.admission import Admission
from edgecanary.agent.serving.messages import MAX_ID_LENGTH, HttpFault, Request, Response, json_response
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
        return self._admission.busy

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
            return await self._answer(active, target.model, body, json_length)
        finally:
            self._admission.leave(key)

    async def _answer(
        self, active: ActiveRevision, name: str, body: bytearray, json_length: int | None
    ) -> Response:
        """Runs one inference in the model's thread. Raises HttpFault, ModelFailed when it is the model's fault."""
        revision = active.identity.revision
        seconds = self._settings.request_seconds
        start = asyncio.get_running_loop().time()
        ticket = Ticket(name, body, json_length, start + seconds)
        active.worker.submit(ticket)
        self._deadlines.watch(ticket)
        try:
            response = await ticket.waiter
        except TimeoutError:
            self._count(active, Failure.TIMEOUT, start)
            self._watchdog.leave(ticket, active.served.hang)
            message = f"revision {revision} did not answer within {seconds:g} seconds"
            raise ModelFailed(504, message) from None
        except RunFault as error:
            self._count(active, Failure.NOT_FINITE if error.not_finite else Failure.FAULT, start)
            raise ModelFailed(500, f"revision {revision} failed: {error}") from error
        except asyncio.CancelledError:
            # The thread must not go on with what nobody waits for.
            ticket.expire()
            self._watchdog.leave(ticket, active.served.hang)
            raise
        self._count(active, None, start)
        return response

    def _count(self, active: ActiveRevision, failure: Failure | None, start: float) -> None:
        self._quiet.touch()
        seconds = asyncio.get_running_loop().time() - start
        active.served.count(seconds, failure)
        outcome = Outcome.OK if failure is None else Outcome.ERROR
        self._telemetry.count_request(active.identity, outcome, seconds)

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
