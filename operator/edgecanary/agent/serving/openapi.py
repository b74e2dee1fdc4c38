"""The OpenAPI document of the inference server, made from the table of routes and the limits of the code."""

from collections.abc import Mapping

from edgecanary.agent.serving.messages import JSON, MAX_ID_LENGTH
from edgecanary.agent.serving.routes import ROUTES, Action, Route
from edgecanary.agent.telemetry import Feedback
from edgecanary.agent.tensors import NUMPY_TYPES

Json = dict[str, object]

BINARY = "application/octet-stream"
_LENGTH = "Inference-Header-Content-Length"
_DIGEST = "^[0-9a-f]{64}$"
_ERRORS: Mapping[int, str] = {
    400: "The request breaks a rule; the message names the field, the value and the rule.",
    404: "There is no such model or revision on this node, or nothing at the path.",
    405: "Another method is needed; `Allow` names it.",
    408: "The request did not arrive in time.",
    410: "The revision has left this node.",
    413: "The body is too large.",
    415: "The body is compressed; `Accept-Encoding` names what is taken.",
    431: "The head is too large.",
    500: "The model failed.",
    503: "Too much is in progress, or the model is being loaded: try again after `Retry-After` seconds.",
    504: "The model did not answer in time.",
}
_ALWAYS = (400, 405, 408, 431, 503)
"""What any request may meet: the last for too many connections."""
_OWN: Mapping[Action, tuple[int, ...]] = {
    Action.MODEL_METADATA: (404,),
    Action.MODEL_READY: (404,),
    Action.MODEL_INFER: (404, 413, 415, 500, 504),
    Action.MODEL_FEEDBACK: (404, 410, 413, 415),
}
_SUMMARIES: Mapping[Action, str] = {
    Action.SERVER_METADATA: "Name, version and extensions of the server",
    Action.SERVER_LIVE: "Whether the server runs",
    Action.SERVER_READY: "Whether every model that was active before a restart is back",
    Action.OPENAPI: "This document",
    Action.MODEL_METADATA: "The model's tensors and active revision",
    Action.MODEL_READY: "Whether the model answers",
    Action.MODEL_INFER: "An inference by the active revision, which the answer names as model_version",
    Action.MODEL_FEEDBACK: "Whether an answer turned out correct",
}


def document(version: str) -> Json:
    """The whole document, for the agent's version."""
    paths: dict[str, Json] = {}
    for route in ROUTES:
        for path in route.paths:
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgecanary agent: Open Inference Protocol v2",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _operation(route: Route, path: str) -> Json:
    named = "{revision}" in path
    operation: Json = {
        "operationId": route.action + ("OfRevision" if named else ""),
        "summary": _SUMMARIES[route.action],
        "parameters": [
            *(
                [_parameter("model", "`<namespace>.<name>`, or `<name>` while it is the only one", {})]
                if route.of_model
                else []
            ),
            *([_parameter("revision", "Digest of the revision", {"pattern": _DIGEST})] if named else []),
            *([_length_header()] if route.action is Action.MODEL_INFER else []),
        ],
        "responses": _responses(route),
    }
    if route.action in (Action.MODEL_INFER, Action.MODEL_FEEDBACK):
        operation["requestBody"] = _body(route.action)
    return operation


def _parameter(name: str, description: str, more: Json) -> Json:
    schema = {"type": "string", "minLength": 1, **more}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _length_header() -> Json:
    return {
        "name": _LENGTH,
        "in": "header",
        "required": False,
        "description": "Bytes of the JSON part, when binary tensors follow it",
        "schema": {"type": "integer", "minimum": 0},
    }


def _body(action: Action) -> Json:
    if action is Action.MODEL_FEEDBACK:
        return {"required": True, "content": {JSON: {"schema": _ref("Feedback")}}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": {JSON: {"schema": _ref("InferRequest")}, BINARY: binary}}


def _responses(route: Route) -> Json:
    responses: Json = {"200": _success(route.action)}
    if route.action is Action.SERVER_READY:
        responses["503"] = {"description": "Models are still being loaded", "content": _json(_ready_schema())}
    for status in sorted({*_ALWAYS, *_OWN.get(route.action, ())}):
        responses.setdefault(str(status), _error(status))
    return responses


def _success(action: Action) -> Json:
    schemas: Mapping[Action, Json] = {
        Action.SERVER_METADATA: _ref("ServerMetadata"),
        Action.SERVER_LIVE: _object({"live": {"type": "boolean"}}),
        Action.SERVER_READY: _ready_schema(),
        Action.OPENAPI: {"type": "object"},
        Action.MODEL_METADATA: _ref("ModelMetadata"),
        Action.MODEL_READY: _object(
            {"name": _text(), "ready": {"type": "boolean"}, "model_version": _revision()}
        ),
        Action.MODEL_INFER: _ref("InferResponse"),
        Action.MODEL_FEEDBACK: _object(
            {
                "model_name": _text(),
                "model_version": _revision(),
                "id": _id(),
                "outcome": {"enum": list(Feedback)},
            },
            optional=("id",),
        ),
    }
    content = _json(schemas[action])
    if action is Action.MODEL_INFER:
        content[BINARY] = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "Success", "content": content}


def _error(status: int) -> Json:
    headers: Mapping[int, tuple[str, Json]] = {
        405: ("Allow", {"type": "string"}),
        415: ("Accept-Encoding", {"type": "string"}),
        503: ("Retry-After", {"type": "integer", "minimum": 1}),
    }
    answer: Json = {"description": _ERRORS[status], "content": _json(_ref("Error"))}
    if status in headers:
        name, schema = headers[status]
        answer["headers"] = {name: {"schema": schema}}
    return answer


def _schemas() -> Json:
    tensor = {"name": _text(), "datatype": {"enum": list(NUMPY_TYPES)}}
    shape: Json = {"type": "array", "items": {"type": "integer", "minimum": 1}}
    given: Json = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    declared: Json = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    data: Json = {"type": "array", "description": "Flat in row-major order, or nested as the shape"}
    request_tensor = _object(
        {**tensor, "shape": shape, "data": data, "parameters": _parameters({"binary_data_size": _size()})},
        optional=("data", "parameters"),
        closed=False,
    )
    asked = _object(
        {"name": _text(), "parameters": _parameters({"binary_data": {"type": "boolean"}})},
        optional=("parameters",),
        closed=False,
    )
    answered = _object(
        {**tensor, "shape": given, "data": data, "parameters": _object({"binary_data_size": _size()})},
        optional=("data", "parameters"),
    )
    metadata = _object({**tensor, "shape": declared})
    return {
        "Error": _object({"error": _text()}),
        "ServerMetadata": _object({"name": _text(), "version": _text(), "extensions": _list(_text())}),
        "ModelMetadata": _object(
            {
                "name": _text(),
                "versions": _list(_revision()),
                "platform": _text(),
                "inputs": _list(metadata),
                "outputs": _list(metadata),
            }
        ),
        "InferRequest": _object(
            {
                "id": _id(),
                "parameters": _parameters({"binary_data_output": {"type": "boolean"}}),
                "inputs": _list(request_tensor),
                "outputs": {"type": "array", "minItems": 1, "items": asked},
            },
            optional=("id", "parameters", "outputs"),
            closed=False,
        ),
        "InferResponse": _object(
            {"model_name": _text(), "model_version": _revision(), "id": _id(), "outputs": _list(answered)},
            optional=("id",),
        ),
        "Feedback": _object(
            {"id": _id(), "outcome": {"enum": list(Feedback)}, "revision": _revision()},
            optional=("id", "revision"),
        ),
    }


def _object(properties: Mapping[str, object], *, optional: tuple[str, ...] = (), closed: bool = True) -> Json:
    schema: Json = {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": dict(properties),
    }
    return schema | ({"additionalProperties": False} if closed else {})


def _parameters(own: Mapping[str, object]) -> Json:
    return {
        "type": "object",
        "properties": dict(own),
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }


def _ready_schema() -> Json:
    return _object({"ready": {"type": "boolean"}})


def _json(schema: Json) -> Json:
    return {JSON: {"schema": schema}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _text() -> Json:
    return {"type": "string"}


def _id() -> Json:
    return {"type": "string", "maxLength": MAX_ID_LENGTH}


def _size() -> Json:
    return {"type": "integer", "minimum": 0}


def _revision() -> Json:
    return {"type": "string", "pattern": _DIGEST}
