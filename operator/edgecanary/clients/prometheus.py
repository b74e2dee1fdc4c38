"""Prometheus: instant and range queries with a deadline, a bounded answer and clear failures.

It is asked with urllib3, which comes with the API server's client; requests would add its own retries and
redirects, which are not wanted here.
"""

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edgecanary.analysis.query import QueryError, Sample, Vector
from edgecanary.base.errors import InvalidInput, NotAllowed, Unavailable, WrongAnswer
from edgecanary.base.reach import Reach
from edgecanary.clients.http import Exchange, Request

MAX_ANSWER_BYTES = 2**20
MAX_SERIES_BYTES = 2**26
"""The longest answer with one series for each node: 10,000 nodes with two revisions take 4 MiB."""

_UNAVAILABLE = "PrometheusUnavailable"
_REFUSED = "PrometheusRefused"
_GARBAGE = "PrometheusGarbage"
_INVALID = "QueryInvalid"
_WORDS = 1024


@dataclass(frozen=True)
class Trust:
    """How to prove who asks, and whom to trust."""

    authorization: str | None = field(default=None, repr=False)
    authority: str | None = None
    """Certificates in PEM that sign the server's; None trusts the system's authorities."""

    @classmethod
    def from_secret(cls, data: Mapping[str, bytes], *, name: str) -> "Trust":
        """From a Secret with `token`, or `username` and `password`, and as needed `ca.crt`.

        Raises InvalidInput naming the Secret and the key.
        """
        values = {
            key: _text(data, key, name) for key in ("token", "username", "password", "ca.crt") if key in data
        }
        token, user = values.get("token"), values.get("username")
        if token is not None and user is not None:
            raise _bad_secret(name, "must hold token, or username and password, not both")
        if user is not None and "password" not in values:
            raise _bad_secret(name, "must hold password next to username")
        authorization = f"Bearer {token.strip()}" if token is not None else None
        if user is not None:
            pair = f"{user}:{values['password']}".encode()
            authorization = f"Basic {base64.b64encode(pair).decode()}"
        if authorization is not None and not authorization.isprintable():
            raise _bad_secret(name, "must hold a token of printable characters")
        return cls(authorization, values.get("ca.crt"))


@dataclass(frozen=True)
class Series:
    """One series of a range query: its labels, and its values by their time in Unix seconds."""

    labels: tuple[tuple[str, str], ...]
    values: tuple[tuple[float, float], ...]


class _Series(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    metric: dict[str, str] = Field(default_factory=dict)
    value: tuple[float, str]


class _VectorData(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    result_type: Literal["vector"] = Field(alias="resultType")
    result: list[_Series]


class _ScalarData(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    result_type: Literal["scalar"] = Field(alias="resultType")
    result: tuple[float, str]


class _RangeSeries(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    metric: dict[str, str] = Field(default_factory=dict)
    values: list[tuple[float, str]]


class _MatrixData(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    result_type: Literal["matrix"] = Field(alias="resultType")
    result: list[_RangeSeries]


class _StringData(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    result_type: Literal["string"] = Field(alias="resultType")


class _Success(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    status: Literal["success"]
    data: Annotated[_VectorData | _ScalarData | _MatrixData | _StringData, Field(discriminator="result_type")]
    warnings: list[str] = Field(default_factory=list)


class _Failure(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    status: Literal["error"]
    error_type: str = Field(default="", alias="errorType")
    error: str = ""


_REPLY: TypeAdapter[_Success | _Failure] = TypeAdapter(
    Annotated[_Success | _Failure, Field(discriminator="status")]
)


_Found = TypeVar("_Found", Vector, tuple[Series, ...])


class Prometheus:
    """One Prometheus server. Whatever fails is a QueryError, never raised."""

    def __init__(
        self, url: str, *, timeout_seconds: float, trust: Trust | None = None, reach: Reach | None = None
    ) -> None:
        """`url` is the base address; `reach` None lets it be anywhere.

        Raises InvalidInput when the trusted certificates are not PEM.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout_seconds
        self._trust = trust or Trust()
        self._reach = reach
        self._tls = _tls_context(self._trust.authority) if url.startswith("https:") else None

    def query(
        self, promql: str, *, at: float | None = None, limit: int = MAX_ANSWER_BYTES
    ) -> Vector | QueryError:
        """The answer to one instant query as of `at` (Unix seconds; now where it is None).

        An answer of more than `limit` bytes is an error.
        """
        form = {"query": promql} if at is None else {"query": promql, "time": f"{at:.3f}"}
        reply = self._post("query", form, limit)
        return reply if isinstance(reply, QueryError) else self._values(reply)

    def query_range(
        self, promql: str, *, start: float, end: float, step: int
    ) -> tuple[Series, ...] | QueryError:
        """The answer to a range query from `start` to `end` (Unix seconds), every `step` seconds."""
        form = {"query": promql, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step}"}
        reply = self._post("query_range", form, MAX_SERIES_BYTES)
        return reply if isinstance(reply, QueryError) else self._series(reply)

    def _post(self, path: str, form: Mapping[str, str], limit: int) -> "_Success | QueryError":
        try:
            with Exchange(self._request(path, form), seconds=self._timeout) as exchange:
                if 300 <= exchange.status < 400:
                    return self._redirected(exchange.header("Location"))
                return self._judge(exchange.status, exchange.read(limit))
        except Unavailable as error:
            return QueryError(_UNAVAILABLE, f"Prometheus {self.url} does not answer: {error.message}")
        except WrongAnswer as error:
            return QueryError(_GARBAGE, f"Prometheus {self.url}: {error.message}")
        except NotAllowed as error:
            return QueryError(_REFUSED, f"spec.analysis.prometheus.url: {error.rule}")

    def _request(self, path: str, form: Mapping[str, str]) -> Request:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if self._trust.authorization is not None:
            headers["Authorization"] = self._trust.authorization
        body = urlencode({**form, "timeout": f"{max(1, int(self._timeout * 1000))}ms"})
        return Request("POST", f"{self.url}/api/v1/{path}", headers, body.encode(), self._tls, self._reach)

    def _redirected(self, location: str | None) -> QueryError:
        text = f"Prometheus {self.url} redirects to {(location or 'nowhere')[:_WORDS]}"
        return QueryError(_REFUSED, f"{text}; set spec.analysis.prometheus.url to the final address")

    def _judge(self, status: int, body: bytes) -> "_Success | QueryError":
        if status in (401, 403):
            text = f"Prometheus {self.url} refuses our credentials (HTTP {status})"
            return QueryError(_REFUSED, f"{text}; check spec.analysis.prometheus.secretRef")
        try:
            reply = _REPLY.validate_json(body)
        except ValidationError:
            return self._not_prometheus(status, body)
        if isinstance(reply, _Failure):
            return self._failed(status, reply)
        if status != 200:
            return QueryError(_GARBAGE, f"Prometheus {self.url} answers success with HTTP {status}")
        # Notes on the query itself begin with "PromQL"; any other warning says that data is missing.
        if partial := [text for text in reply.warnings if not text.startswith("PromQL")]:
            return QueryError(_UNAVAILABLE, f"Prometheus {self.url} answers in part: {partial[0][:_WORDS]}")
        return reply

    def _not_prometheus(self, status: int, body: bytes) -> QueryError:
        said = " ".join(body[:200].decode(errors="replace").split())
        text = f"Prometheus {self.url} answers HTTP {status}: {said}"
        if status == 429 or status >= 500:
            return QueryError(_UNAVAILABLE, text)
        if status >= 400:
            return QueryError(_REFUSED, f"{text}; check spec.analysis.prometheus.url")
        return QueryError(_GARBAGE, f"{text}; this is not the answer of a Prometheus")

    def _failed(self, status: int, reply: _Failure) -> QueryError:
        words = f"Prometheus {self.url}: {reply.error_type}: {reply.error[:_WORDS]}"
        if reply.error_type in ("bad_data", "execution"):
            return QueryError(_INVALID, words)
        if status == 429 or status >= 500 or reply.error_type in ("timeout", "canceled", "unavailable"):
            return QueryError(_UNAVAILABLE, words)
        return QueryError(_REFUSED, words)

    def _values(self, reply: _Success) -> Vector | QueryError:
        data = reply.data
        if isinstance(data, _ScalarData):
            return self._numbers(lambda: Vector((Sample((), float(data.result[1])),)))
        if isinstance(data, _VectorData):
            return self._numbers(lambda: Vector(tuple(_sample(series) for series in data.result)))
        return self._other(data, "a vector or a scalar")

    def _series(self, reply: _Success) -> tuple[Series, ...] | QueryError:
        data = reply.data
        if isinstance(data, _MatrixData):
            return self._numbers(lambda: tuple(_range_series(series) for series in data.result))
        return self._other(data, "a matrix")

    def _numbers(self, read: Callable[[], _Found]) -> _Found | QueryError:
        try:
            return read()
        except ValueError:
            return QueryError(_GARBAGE, f"Prometheus {self.url} gives a value that is not a number")

    def _other(self, data: _VectorData | _ScalarData | _MatrixData | _StringData, wanted: str) -> QueryError:
        text = f"the query gives a {data.result_type}, it must give {wanted}"
        return QueryError(_GARBAGE, f"Prometheus {self.url}: {text}")


def _range_series(series: _RangeSeries) -> Series:
    values = tuple((moment, float(text)) for moment, text in series.values)
    return Series(tuple(sorted(series.metric.items())), values)


def _sample(series: _Series) -> Sample:
    return Sample(tuple(sorted(series.metric.items())), float(series.value[1]))


def _tls_context(authority: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(
            "ca.crt", f"must hold certificates in PEM: {error}", reason="InvalidSecret"
        ) from error


def _text(data: Mapping[str, bytes], key: str, name: str) -> str:
    try:
        return data[key].decode()
    except (UnicodeDecodeError, binascii.Error) as error:
        raise _bad_secret(name, f"must hold text under {key}") from error


def _bad_secret(name: str, rule: str) -> InvalidInput:
    return InvalidInput("spec.analysis.prometheus.secretRef", f"Secret {name} {rule}", reason="InvalidSecret")
