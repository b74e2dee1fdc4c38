"""The API server: bounded, timed calls whose failures are `edgecanary.base.errors`."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

import urllib3
from kubernetes.client.exceptions import ApiException
from pydantic import Field, ValidationError

from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.meta import ObjectMeta
from edgecanary.base.errors import Conflict, EdgecanaryError, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.access import Access
from edgecanary.clients.resources import SECRETS, Resource
from edgecanary.clients.tenancy import Tenancy

T = TypeVar("T")

FIELD_MANAGER = "edgecanary-operator"

_OBJECT_BYTES = 8 * 2**20
_PAGE_BYTES = 64 * 2**20
_PAGE_ITEMS = 250
_LIST_ATTEMPTS = 3


@dataclass(frozen=True)
class Timeouts:
    """The longest waits for the API server, in seconds: to connect, and between two reads."""

    connect: float = 5.0
    read: float = 30.0


@dataclass(frozen=True)
class Listing(Generic[T]):
    """All objects of a kind at one moment; `version` is that moment's resource version."""

    version: str
    items: tuple[T, ...]


class CallObserver(Protocol):
    """Hears of each finished call, for metrics. `verb` is get, list, create, update or patch."""

    def __call__(self, verb: str, resource: Resource, outcome: str) -> None:
        """Note one call; `outcome` is ok or the error's reason."""
        ...


@dataclass(frozen=True)
class _Call:
    verb: str
    method: str
    path: str
    resource: Resource
    what: str
    body: Mapping[str, object] | None = None
    content_type: str = "application/json"
    limit: int = _OBJECT_BYTES


class _Expired(EdgecanaryError):
    """A list took so long that the server forgot where it began."""


class _Status(ApiModel):
    """The API server's account of a failure."""

    reason: str = ""
    message: str = ""


class KubeClient:
    """Reads and writes objects as JSON; safe to use from several threads.

    Every call raises Unavailable when the server does not answer, is overloaded or forbids it, WrongAnswer
    when the answer breaks its bounds or is not JSON, and what else its own documentation says.
    """

    def __init__(
        self,
        access: Access,
        *,
        user_agent: str,
        connections: int = 8,
        timeouts: Timeouts | None = None,
        observe: CallObserver | None = None,
    ) -> None:
        self._client = access.api_client(user_agent=user_agent, connections=connections)
        self._timeouts = timeouts or Timeouts()
        self._observe = observe

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> JsonObject:
        """The object. Raises NotFound."""
        path = resource.path(namespace=namespace, name=name)
        return self._json(_Call("get", "GET", path, resource, _label(resource, name, namespace)))

    def list_all(
        self, resource: Resource, read: Callable[[JsonObject], T], *, namespace: str | None = None
    ) -> Listing[T]:
        """All objects of the kind as `read` gives them, fetched page by page so that few are held whole.

        Raises NotFound when the server does not know the kind.
        """
        for _ in range(_LIST_ATTEMPTS):
            try:
                return self._list_once(resource, read, namespace)
            except _Expired:
                continue
        raise Unavailable("ListExpired", f"the list of {resource} changed faster than it could be read")

    def create(self, resource: Resource, body: JsonObject, *, namespace: str | None = None) -> JsonObject:
        """Create an object. Raises Conflict (AlreadyExists) and InvalidInput."""
        path = resource.path(namespace=namespace)
        return self._json(_Call("create", "POST", path, resource, _label(resource, "", namespace), body))

    def apply(self, resource: Resource, name: str, body: JsonObject, *, namespace: str) -> JsonObject:
        """Server-side apply as field manager `edgecanary-operator`, by force.

        A `metadata.resourceVersion` in the body makes it conditional. Raises Conflict and InvalidInput.
        """
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        path = f"{resource.path(namespace=namespace, name=name)}?{query}"
        label = _label(resource, name, namespace)
        return self._json(
            _Call("patch", "PATCH", path, resource, label, body, "application/apply-patch+yaml")
        )

    def merge(self, resource: Resource, name: str, patch: JsonObject, *, namespace: str) -> JsonObject:
        """JSON merge patch. Raises NotFound, Conflict and InvalidInput."""
        path = resource.path(namespace=namespace, name=name)
        label = _label(resource, name, namespace)
        return self._json(
            _Call("patch", "PATCH", path, resource, label, patch, "application/merge-patch+json")
        )

    def replace_status(
        self, resource: Resource, name: str, body: JsonObject, *, namespace: str
    ) -> JsonObject:
        """Write the status of the whole object in `body`, whose resourceVersion must be the current one.

        Raises NotFound, Conflict when the object has changed since it was read, and InvalidInput.
        """
        query = urlencode({"fieldManager": FIELD_MANAGER})
        path = f"{resource.path(namespace=namespace, name=name, subresource='status')}?{query}"
        return self._json(_Call("update", "PUT", path, resource, _label(resource, name, namespace), body))

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _list_once(
        self, resource: Resource, read: Callable[[JsonObject], T], namespace: str | None
    ) -> Listing[T]:
        items: list[T] = []
        version = token = ""
        while True:
            query = {"limit": str(_PAGE_ITEMS), **({"continue": token} if token else {})}
            path = f"{resource.path(namespace=namespace)}?{urlencode(query)}"
            label = _label(resource, "", namespace)
            page = self._json(_Call("list", "GET", path, resource, label, limit=_PAGE_BYTES))
            entries, meta = page.get("items"), page.get("metadata")
            if not isinstance(entries, list) or not isinstance(meta, dict):
                raise WrongAnswer("ApiServerGarbage", f"the API server's list of {resource} is not a list")
            items.extend(read(entry) for entry in entries if isinstance(entry, dict))
            version = str(meta.get("resourceVersion") or version)
            token = str(meta.get("continue") or "")
            if not token:
                return Listing(version, tuple(items))

    def _json(self, call: _Call) -> JsonObject:
        try:
            answer = self._decode(call)
        except EdgecanaryError as error:
            self._note(call, error.reason)
            raise
        self._note(call, "ok")
        return answer

    def _note(self, call: _Call, outcome: str) -> None:
        if self._observe is not None:
            self._observe(call.verb, call.resource, outcome)

    def _decode(self, call: _Call) -> JsonObject:
        status, content = self._send(call)
        if status >= 300:
            raise _failure(call, status, content)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise WrongAnswer(
                "ApiServerGarbage", f"{call.what}: the API server's answer is not JSON"
            ) from error
        if not isinstance(answer, dict):
            raise WrongAnswer("ApiServerGarbage", f"{call.what}: the API server's answer is not an object")
        return answer

    def _send(self, call: _Call) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "User-Agent": self._client.user_agent}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        self._client.update_params_for_auth(headers, [], ["BearerToken"], call.path, call.method, None)
        try:
            answer = self._client.call_api(
                call.method,
                self._client.configuration.host + call.path,
                headers,
                call.body,
                _request_timeout=(self._timeouts.connect, self._timeouts.read),
            )
            return answer.status, _bounded(answer.response, call)
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            message = f"{call.what}: the API server does not answer: {_words(error)}"
            raise Unavailable("ApiServerUnreachable", message) from error


class Secrets:
    """Reads the Secrets that users name."""

    def __init__(self, kube: KubeClient, tenancy: Tenancy | None = None) -> None:
        self._kube = kube
        self._tenancy = tenancy or Tenancy()

    def read(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The Secret's data.

        Raises NotFound, WrongAnswer when it is not a Secret, and NotAllowed for one that is not meant for edgecanary.
        """
        try:
            found = _Secret.model_validate(self._kube.get(SECRETS, name, namespace=namespace))
        except NotFound as error:
            raise NotFound("SecretNotFound", f"there is no Secret {name} in namespace {namespace}") from error
        except ValidationError as error:
            raise WrongAnswer("SecretGarbage", f"Secret {namespace}/{name} cannot be read") from error
        self._tenancy.of(namespace).check_secret(name, found.type, found.metadata.labels)
        return {key: base64.b64decode(value) for key, value in found.data.items()}


class _Secret(ApiModel):
    type: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    data: dict[str, str] = Field(default_factory=dict)


def _bounded(response: urllib3.HTTPResponse, call: _Call) -> bytes:
    """The whole body, with the connection given back, or an error when it is too long."""
    content = response.read(call.limit + 1)
    if len(content) > call.limit:
        response.close()
        message = f"{call.what}: the API server's answer is longer than {call.limit} bytes"
        raise WrongAnswer("ApiServerGarbage", message)
    response.release_conn()
    return content


def _failure(call: _Call, code: int, content: bytes) -> EdgecanaryError:
    try:
        status = _Status.model_validate_json(content)
    except ValidationError:
        status = _Status(message=content[:200].decode(errors="replace"))
    message = f"{call.what}: {status.message or f'HTTP {code}'}"
    match code:
        case 401:
            return Unavailable("Unauthorized", f"the API server does not accept our credentials: {message}")
        case 403:
            return _forbidden(call, status)
        case 404:
            return NotFound(status.reason or "NotFound", message)
        case 409:
            return Conflict(status.reason or "Conflict", message)
        case 410:
            return _Expired("Expired", message)
        case 400 | 413 | 415 | 422:
            return InvalidInput("", message, reason=status.reason or "Invalid")
    return Unavailable(status.reason or f"ApiServerAnswered{code}", message)


def _forbidden(call: _Call, status: _Status) -> EdgecanaryError:
    if "being terminated" in status.message:
        return Conflict("NamespaceTerminating", f"{call.what}: {status.message}")
    plural = call.resource.plural + ("/status" if "/status" in call.path else "")
    rule = f'apiGroups: ["{call.resource.group}"], resources: ["{plural}"], verbs: ["{call.verb}"]'
    message = f"{call.what}: the API server forbids it: {status.message}; grant a role with {rule}"
    return Unavailable("Forbidden", message)


def _label(resource: Resource, name: str, namespace: str | None) -> str:
    """The target of a call for a person: `rollouts.edgecanary.dev plant/pump`."""
    place = "/".join(part for part in (namespace, name) if part)
    return f"{resource} {place}".strip()


def _words(error: Exception) -> str:
    """What went wrong, without the library's class names and addresses of objects."""
    cause = getattr(error, "reason", None)
    text = str(cause if isinstance(cause, Exception) else error)
    return text.rsplit(": ", maxsplit=1)[-1] if "object at 0x" in text else text
