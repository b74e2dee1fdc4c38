"""Asking Prometheus for a rollout's gates: all at once, within one time limit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Vector
from edgecanary.api.analysis import PrometheusSource
from edgecanary.base.errors import InvalidInput, NotFound, WrongAnswer
from edgecanary.clients.kube import Secrets
from edgecanary.clients.prometheus import Prometheus, Trust
from edgecanary.controller.threads import start

_AT_ONCE = 8

Observe = Callable[[str], None]


@dataclass(frozen=True)
class _Question:
    metric: str
    part: str
    promql: str


def ask(
    source: PrometheusSource,
    queries: Sequence[MetricQuery],
    *,
    namespace: str,
    secrets: Secrets,
    observe: Observe,
) -> Mapping[str, Answer]:
    """The answers by metric name, after at most `source.timeout_seconds`.

    Whatever keeps Prometheus from being asked is an answer too, a QueryError. Only the API server's own
    failures are raised.
    """
    questions = [question for query in queries for question in _questions(query)]
    trust = _trust(source, namespace, secrets)
    if isinstance(trust, QueryError):
        found: dict[_Question, Vector | QueryError] = dict.fromkeys(questions, trust)
    else:
        found = _ask_all(source, questions, trust)
    for result in found.values():
        observe(_outcome(result))
    return {query.metric: _answer(query, found) for query in queries}


def _questions(query: MetricQuery) -> Iterator[_Question]:
    for part, promql in (("value", query.value), ("samples", query.samples), ("baseline", query.baseline)):
        if promql is not None:
            yield _Question(query.metric, part, promql)


def _answer(query: MetricQuery, found: Mapping[_Question, Vector | QueryError]) -> Answer:
    parts = {question.part: found[question] for question in _questions(query)}
    return Answer(query, parts["value"], samples=parts.get("samples"), baseline=parts.get("baseline"))


def _trust(source: PrometheusSource, namespace: str, secrets: Secrets) -> Trust | QueryError:
    if source.secret_ref is None:
        return Trust()
    name = source.secret_ref.name
    try:
        return Trust.from_secret(secrets.read(namespace, name), name=name)
    except (NotFound, WrongAnswer) as error:
        return QueryError("PrometheusRefused", f"spec.analysis.prometheus.secretRef: {error.message}")
    except InvalidInput as error:
        return QueryError("PrometheusRefused", error.message)


def _ask_all(
    source: PrometheusSource, questions: Sequence[_Question], trust: Trust
) -> dict[_Question, Vector | QueryError]:
    end = time.monotonic() + source.timeout_seconds
    todo: SimpleQueue[_Question] = SimpleQueue()
    for question in questions:
        todo.put(question)
    answers: dict[_Question, Vector | QueryError] = {}

    def work() -> None:
        while (question := _next(todo)) is not None:
            answers[question] = _ask_one(source, question, trust, end)

    workers = [start(work, name="prometheus") for _ in range(min(_AT_ONCE, len(questions)))]
    for worker in workers:
        worker.result()
    return answers


def _next(todo: "SimpleQueue[_Question]") -> _Question | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


def _ask_one(source: PrometheusSource, question: _Question, trust: Trust, end: float) -> Vector | QueryError:
    left = end - time.monotonic()
    if left <= 0:
        text = f"Prometheus {source.url} did not answer all queries within {source.timeout_seconds} s"
        return QueryError("PrometheusUnavailable", text)
    try:
        return Prometheus(source.url, timeout_seconds=left, trust=trust).query(question.promql)
    except InvalidInput as error:
        return QueryError("PrometheusRefused", error.message)


def _outcome(result: Vector | QueryError) -> str:
    if isinstance(result, QueryError):
        return result.reason
    return "ok" if result.samples else "empty"
