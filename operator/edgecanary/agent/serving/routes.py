"""What can be asked of the inference server: the one table for routing requests and for the OpenAPI document."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

_CACHED_LENGTH = 512
"""Paths up to this length are parsed once."""


class Action(StrEnum):
    """What a request asks for; also its name in the OpenAPI document."""

    SERVER_METADATA = "serverMetadata"
    SERVER_LIVE = "serverLive"
    SERVER_READY = "serverReady"
    OPENAPI = "openapi"
    MODEL_METADATA = "modelMetadata"
    MODEL_READY = "modelReady"
    MODEL_INFER = "modelInfer"
    MODEL_FEEDBACK = "modelFeedback"


@dataclass(frozen=True)
class Route:
    """One path with one method. A GET may be a HEAD as well."""

    action: Action
    method: str
    path: str
    """With `{model}` for its name; `/versions/{revision}` may follow that."""

    @property
    def of_model(self) -> bool:
        """Whether it is about one model."""
        return "{model}" in self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """The path, and for a model the one that names a revision."""
        if not self.of_model:
            return (self.path,)
        return (self.path, self.path.replace("{model}", "{model}/versions/{revision}"))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


ROUTES = (
    Route(Action.SERVER_METADATA, "GET", "/v2"),
    Route(Action.SERVER_LIVE, "GET", "/v2/health/live"),
    Route(Action.SERVER_READY, "GET", "/v2/health/ready"),
    Route(Action.MODEL_METADATA, "GET", "/v2/models/{model}"),
    Route(Action.MODEL_READY, "GET", "/v2/models/{model}/ready"),
    Route(Action.MODEL_INFER, "POST", "/v2/models/{model}/infer"),
    Route(Action.MODEL_FEEDBACK, "POST", "/v2/models/{model}/feedback"),
    Route(Action.OPENAPI, "GET", "/openapi.json"),
)


@dataclass(frozen=True)
class Target:
    """What a path names."""

    route: Route
    model: str = ""
    revision: str | None = None


_BY_SHAPE = {tuple(path.strip("/").split("/")): route for route in ROUTES for path in route.paths}
_MODEL = "{model}"
_REVISION = "{revision}"


def find(path: str) -> Target | None:
    """What a path, still percent-encoded, names; None where there is nothing."""
    return _cached(path) if len(path) <= _CACHED_LENGTH else _find(path)


def _find(path: str) -> Target | None:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    model, revision, shape = "", None, list(parts)
    if parts[:2] == ["v2", "models"] and len(parts) > 2:
        model, shape[2] = parts[2], _MODEL
        if len(parts) > 4 and parts[3] == "versions":
            revision, shape[4] = parts[4], _REVISION
    route = _BY_SHAPE.get(tuple(shape))
    return None if route is None else Target(route, model, revision)


_cached = lru_cache(maxsize=256)(_find)
