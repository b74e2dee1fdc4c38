"""The Open Inference Protocol v2 over REST, with feedback: which request means what."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from edgecanary.agent.runtime.base import RunFault
from edgecanary.agent.serving.messages import MAX_ID_LENGTH, HttpFault, Request, Response, json_response
from edgecanary.agent.serving.quiet import QuietTrim
from edgecanary.agent.serving.registry import ActiveRevision, Failure, Registry
from edgecanary.agent.serving.settings import ServingSettings
from edgecanary.agent.serving.watchdog import Watchdog
from edgecanary.agent.telemetry import Feedback, Outcome, Telemetry
from edgecanary.agent.tensors import DeclaredTensor

EXTENSIONS = ("binary_tensor_data", "model_feedback")
_FEEDBACK_FIELDS = ("id", "outcome", "revision")
_MAX_FEEDBACK_BYTES = 64 * 1024
_MAX_DIGITS = 18
"""Python refuses to read numbers of thousands of digits."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelFailed(HttpFault):
    """The request was fine and the model did not answer it."""

    def __init__(self, status: int, message: str, failure: Failure) -> None:
        super().__init__(status, message)
        self.failure = failure


@dataclass(frozen=True)
class Target:
    """What a path under /v2/models names."""

    model: str
    revision: str | None
    action: str


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
        self._in_flight = 0

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
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match parts:
            case ["v2"]:
                return self._get(request, self._server_metadata)
            case ["v2", "health", "live"]:
                return self._get(request, lambda: json_response({"live": True}))
            case ["v2", "health", "ready"]:
                return self._get(request, self._node_ready)
            case ["v2", "models", model, "versions", revision, *rest] if len(rest) < 2:
                return await self._model(request, Target(model, revision, "".join(rest)))
            case ["v2", "models", model, *rest] if len(rest) < 2:
                return await self._model(request, Target(model, None, "".join(rest)))
        raise HttpFault(404, f"there is nothing at {request.path}; the protocol's paths begin with /v2")

    async def _model(self, request: Request, target: Target) -> Response:
        match target.action:
            case "":
                return self._get(request, lambda: self._metadata(target))
            case "ready":
                return self._get(request, lambda: self._ready(target))
            case "infer":
                return await self._post(request, lambda: self._infer(request, target))
            case "feedback":
                return await self._post(request, lambda: self._feedback(request, target))
        raise HttpFault(404, f"there is nothing at {request.path}; a model has ready, infer and feedback")

    def _get(self, request: Request, answer: Callable[[], Response]) -> Response:
        if request.method not in {"GET", "HEAD"}:
            raise HttpFault(405, f"{request.method} {request.path}: the method must be GET")
        return answer()

    async def _post(self, request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
        if request.method != "POST":
            raise HttpFault(405, f"{request.method} {request.path}: the method must be POST")
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise HttpFault(415, f"Content-Encoding: {encoding!r} is not supported, send the body as it is")
        if self._in_flight >= self._settings.max_in_flight:
            raise HttpFault(
                503, f"{self._in_flight} requests are in progress, try again", retry_after_seconds=1
            )
        self._in_flight += 1
        try:
            return await answer()
        finally:
            self._in_flight -= 1

    def _server_metadata(self) -> Response:
        return json_response(
            {"name": "edgecanary-agent", "version": self._version, "extensions": list(EXTENSIONS)}
        )

    def _node_ready(self) -> Response:
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
        self._registry.find_active(target.model, target.revision)
        json_length = _json_length(request)
        body = await request.read_body()
        # Looked up again: a switch while the body arrived is for this request too.
        active = self._registry.find_active(target.model, target.revision)
        start = time.monotonic()
        try:
            response = await self._run(active, target.model, body, json_length)
        except ModelFailed as error:
            self._count(active, error.failure, start)
            raise
        self._count(active, None, start)
        return response

    async def _run(
        self, active: ActiveRevision, name: str, body: bytearray, json_length: int | None
    ) -> Response:
        """Runs one inference in the model's thread. Raises HttpFault, ModelFailed when it is the model's fault."""
        revision = active.identity.revision
        seconds = self._settings.request_seconds
        job = active.engine.new_job(name, revision)
        work = active.executor.submit(job.answer, body, json_length)
        try:
            async with asyncio.timeout(seconds):
                response = await asyncio.wrap_future(work)
        except TimeoutError:
            message = f"revision {revision} did not answer within {seconds:g} seconds"
            raise ModelFailed(504, message, Failure.TIMEOUT) from None
        except RunFault as error:
            failure = Failure.NOT_FINITE if error.not_finite else Failure.FAULT
            raise ModelFailed(500, f"revision {revision} failed: {error}", failure) from error
        finally:
            # The thread must not go on with what nobody waits for.
            job.interrupt()
            self._watchdog.leave(work, active.served.hang)
        if job.is_measured:
            active.measure(job.measure)
        return response

    def _count(self, active: ActiveRevision, failure: Failure | None, start: float) -> None:
        self._quiet.touch()
        seconds = time.monotonic() - start
        active.served.count(seconds, failure)
        outcome = Outcome.OK if failure is None else Outcome.ERROR
        self._telemetry.count_request(active.identity, outcome, seconds)

    async def _feedback(self, request: Request, target: Target) -> Response:
        feedback = decode_feedback(await request.read_body())
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


def _json_length(request: Request) -> int | None:
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise HttpFault(400, f"Inference-Header-Content-Length: is {text[:80]!r}, must be a number of bytes")
    return int(text)


def _tensors(specs: Iterable[DeclaredTensor]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": str(spec.dtype), "shape": list(spec.shape)} for spec in specs]
