"""The API server: bounded, timed calls whose failures are `edgecanary.base.errors`."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

import urllib3
from pydantic import Field, ValidationError

from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.meta import ObjectMeta
from edgecanary.base.errors import Conflict, EdgecanaryError, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.resources import SECRETS, Resource
from edgecanary.clients.tenancy import Tenancy
from edgecanary.clients.transport import Gateway

T = TypeVar("T")

FIELD_MANAGER = "edgecanary-operator"
_AS_OPERATOR = urlencode({"fieldManager": FIELD_MANAGER})

_OBJECT_BYTES = 8 * 2**20
_PAGE_BYTES = 64 * 2**20
_PAGE_ITEMS = 250
_LIST_ATTEMPTS = 3
_CHUNK = 2**16
_WATCH_GRACE = 15.0


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
    accept: str = "application/json"


class Expired(EdgecanaryError):
    """The server no longer knows the moment at which a list or a watch is to go on."""


class Forbidden(Unavailable):
    """We may not do this; `resource` and `verb` say what it would take."""

    def __init__(self, message: str, resource: Resource, verb: str) -> None:
        super().__init__("Forbidden", message)
        self.resource = resource
        self.verb = verb


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
        access: Gateway,
        *,
        user_agent: str,
        connections: int = 8,
        timeouts: Timeouts | None = None,
        observe: CallObserver | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """`before_write` is called right before each write is sent; what it raises keeps the write back."""
        self._transport = access.transport(user_agent=user_agent, connections=connections)
        self._agent = user_agent
        self._timeouts = timeouts or Timeouts()
        self._observe = observe
        self._before_write = before_write

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> JsonObject:
        """The object. Raises NotFound."""
        path = resource.path(namespace=namespace, name=name)
        return self._json(_Call("get", "GET", path, resource, _label(resource, name, namespace)))

    def list_all(
        self,
        resource: Resource,
        read: Callable[[JsonObject], T],
        *,
        namespace: str | None = None,
        labels: str = "",
        name: str = "",
    ) -> Listing[T]:
        """All objects of the kind as `read` gives them, fetched page by page so that few are held whole.

        `labels` is a label selector, `name` the only name to list; empty ones select all. Raises NotFound when
        the server does not know the kind.
        """
        narrow = {**({"labelSelector": labels} if labels else {}), **_only(name)}
        for _ in range(_LIST_ATTEMPTS):
            try:
                return self._list_once(resource, read, namespace, narrow)
            except Expired:
                continue
        raise Unavailable("ListExpired", f"the list of {resource} changed faster than it could be read")

    def create(self, resource: Resource, body: JsonObject, *, namespace: str | None = None) -> JsonObject:
        """Create an object. Raises Conflict (AlreadyExists) and InvalidInput."""
        path = f"{resource.path(namespace=namespace)}?{_AS_OPERATOR}"
        return self._json(_Call("create", "POST", path, resource, _label(resource, "", namespace), body))

    def replace(self, resource: Resource, name: str, body: JsonObject, *, namespace: str) -> JsonObject:
        """Write the whole object in `body`, whose resourceVersion must be the current one.

        Raises NotFound, Conflict when the object has changed since it was read, and InvalidInput.
        """
        return self._replace(resource, name, body, namespace)

    def watch(
        self, resource: Resource, *, namespace: str, name: str, version: str, seconds: int
    ) -> Iterator[JsonObject]:
        """What happens to the object after `version`, as the API's watch events, for so many seconds.

        Raises Expired when the server no longer knows the version, Unavailable when the watch breaks, NotFound
        when the server does not know the kind.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
            **_only(name),
        }
        path = f"{resource.path(namespace=namespace)}?{urlencode({**query, 'resourceVersion': version})}"
        call = _Call("watch", "GET", path, resource, _label(resource, name, namespace))
        try:
            response = self._open(call, seconds + _WATCH_GRACE)
            try:
                if response.status >= 300:
                    raise _failure(call, response.status, response.read(_OBJECT_BYTES))
                yield from _events(response, call)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(call, error) from error

    def ask(self, path: str, resource: Resource, *, accept: str = "application/json") -> JsonObject:
        """What another path answers, such as that of a group. `resource` is whom errors name."""
        return self._json(_Call("get", "GET", path, resource, path, accept=accept))

    def merge(
        self,
        resource: Resource,
        name: str,
        patch: JsonObject,
        *,
        namespace: str,
        manager: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """JSON merge patch, by a field manager. With `dry_run` the server checks it and writes nothing.

        A `metadata.resourceVersion` in the patch makes it conditional. Raises NotFound, Conflict and InvalidInput.
        """
        query = {**({"fieldManager": manager} if manager else {}), **({"dryRun": "All"} if dry_run else {})}
        path = resource.path(namespace=namespace, name=name) + (f"?{urlencode(query)}" if query else "")
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
        return self._replace(resource, name, body, namespace, subresource="status")

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def _list_once(
        self,
        resource: Resource,
        read: Callable[[JsonObject], T],
        namespace: str | None,
        narrow: Mapping[str, str],
    ) -> Listing[T]:
        items: list[T] = []
        version = token = ""
        while True:
            query = {"limit": str(_PAGE_ITEMS), **narrow, **({"continue": token} if token else {})}
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

    def _replace(
        self, resource: Resource, name: str, body: JsonObject, namespace: str, subresource: str = ""
    ) -> JsonObject:
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        label = _label(resource, name, namespace)
        return self._json(_Call("update", "PUT", f"{path}?{_AS_OPERATOR}", resource, label, body))

    def _json(self, call: _Call) -> JsonObject:
        if self._before_write is not None and call.method != "GET":
            self._before_write()
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
        return _object(content, call)

    def _send(self, call: _Call) -> tuple[int, bytes]:
        try:
            answer = self._open(call, self._timeouts.read)
            return answer.status, _bounded(answer, call)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(call, error) from error

    def _open(self, call: _Call, read_seconds: float) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": call.accept, "User-Agent": self._agent}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        timeout = (self._timeouts.connect, read_seconds)
        return self._transport.send(call.method, call.path, headers, call.body, timeout)


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


def _unreachable(call: _Call, error: Exception) -> Unavailable:
    message = f"{call.what}: the API server does not answer: {_words(error)}"
    return Unavailable("ApiServerUnreachable", message)


def _events(response: urllib3.BaseHTTPResponse, call: _Call) -> Iterator[JsonObject]:
    """The lines of a watch, each an object."""
    rest = b""
    while chunk := response.read1(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > call.limit:
            raise WrongAnswer("ApiServerGarbage", f"{call.what}: an event is longer than {call.limit} bytes")
        for line in lines:
            if line.strip():
                yield _object(line, call)


def _object(content: bytes, call: _Call) -> JsonObject:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise WrongAnswer("ApiServerGarbage", f"{call.what}: the API server's answer is not JSON") from error
    if not isinstance(answer, dict):
        raise WrongAnswer("ApiServerGarbage", f"{call.what}: the API server's answer is not an object")
    return answer


def _bounded(response: urllib3.BaseHTTPResponse, call: _Call) -> bytes:
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
            return Expired("Expired", message)
        case 400 | 413 | 415 | 422:
            return InvalidInput("", message, reason=status.reason or "Invalid")
    return Unavailable(status.reason or f"ApiServerAnswered{code}", message)


def _forbidden(call: _Call, status: _Status) -> EdgecanaryError:
    if "being terminated" in status.message:
        return Conflict("NamespaceTerminating", f"{call.what}: {status.message}")
    plural = call.resource.plural + ("/status" if "/status" in call.path else "")
    rule = f'apiGroups: ["{call.resource.group}"], resources: ["{plural}"], verbs: ["{call.verb}"]'
    message = f"{call.what}: the API server forbids it: {status.message}; grant a role with {rule}"
    return Forbidden(message, call.resource, call.verb)


def _only(name: str) -> dict[str, str]:
    """The query parameter that narrows a list or a watch to one object."""
    return {"fieldSelector": f"metadata.name={name}"} if name else {}


def _label(resource: Resource, name: str, namespace: str | None) -> str:
    """The target of a call for a person: `rollouts.edgecanary.dev plant/pump`."""
    place = "/".join(part for part in (namespace, name) if part)
    return f"{resource} {place}".strip()


def _words(error: Exception) -> str:
    """What went wrong, without the library's class names and addresses of objects."""
    cause = getattr(error, "reason", None)
    text = str(cause if isinstance(cause, Exception) else error)
    return text.rsplit(": ", maxsplit=1)[-1] if "object at 0x" in text else text
