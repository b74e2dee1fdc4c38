"""Asking Prometheus for a rollout's gates: all at once, within one time limit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from edgecanary.analysis.query import Answer, MetricQuery, QueryError, Vector
from edgecanary.api.analysis import PrometheusSource
from edgecanary.base.errors import InvalidInput, NotAllowed, NotFound, WrongAnswer
from edgecanary.base.reach import Reach
from edgecanary.clients.kube import Secrets
from edgecanary.clients.prometheus import Trust
from edgecanary.controller.counts import RolloutCounts
from edgecanary.controller.prometheus_session import Observe, Session


@dataclass(frozen=True)
class _Question:
    metric: str
    part: str
    promql: str
    at: datetime | None = None


def ask(
    source: PrometheusSource,
    queries: Sequence[MetricQuery],
    *,
    namespace: str,
    secrets: Secrets,
    observe: Observe,
    counts: RolloutCounts | None = None,
    reach: Reach | None = None,
) -> Mapping[str, Answer]:
    """The answers by metric name, after at most `source.timeout_seconds`.

    Whatever keeps Prometheus from being asked is an answer too, a QueryError. Only the API server's own
    failures are raised. `counts` remembers what was counted for the rollout before, `reach` says where Prometheus
    may be.
    """
    session = Session(source, _trust(source, namespace, secrets), observe, reach)
    known = counts or RolloutCounts()
    found = _ask_all(session, [question for query in queries for question in _questions(query)])
    answers = {query.metric: _answer(query, found) for query in queries}
    answers.update(_with_earlier_baselines(session, answers))
    for query in queries:
        if query.counts is not None:
            read, bound = known.read(query.metric, query.counts, session)
            answers[query.metric] = replace(answers[query.metric], counts=read, bound=bound)
    return answers


def _ask_all(session: Session, questions: Sequence[_Question]) -> dict[_Question, Vector | QueryError]:
    def asking(question: _Question) -> Vector | QueryError:
        return session.instant(question.promql, at=question.at.timestamp() if question.at else None)

    answers = session.together([partial(asking, question) for question in questions])
    return dict(zip(questions, answers, strict=True))


def _with_earlier_baselines(session: Session, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """Answers whose stable revision has no value any more, with the one that it had when the rollout began."""
    gone = [
        (answer, _Question(name, "baseline", answer.query.baseline, answer.query.baseline_at))
        for name, answer in answers.items()
        if answer.query.baseline is not None
        and answer.query.baseline_at is not None
        and answer.baseline == Vector()
    ]
    found = _ask_all(session, [question for _, question in gone])
    return {question.metric: replace(answer, baseline=found[question]) for answer, question in gone}


def _questions(query: MetricQuery) -> Iterator[_Question]:
    value = query.value if query.asks_value else None
    for part, promql in (("value", value), ("samples", query.samples), ("baseline", query.baseline)):
        if promql is not None:
            yield _Question(query.metric, part, promql)


def _answer(query: MetricQuery, found: Mapping[_Question, Vector | QueryError]) -> Answer:
    parts = {question.part: found[question] for question in _questions(query)}
    return Answer(query, parts.get("value"), samples=parts.get("samples"), baseline=parts.get("baseline"))


def _trust(source: PrometheusSource, namespace: str, secrets: Secrets) -> Trust | QueryError:
    if source.secret_ref is None:
        return Trust()
    name = source.secret_ref.name
    try:
        return Trust.from_secret(secrets.read(namespace, name), name=name)
    except (NotFound, WrongAnswer) as error:
        return QueryError("PrometheusRefused", f"spec.analysis.prometheus.secretRef: {error.message}")
    except NotAllowed as error:
        return QueryError("PrometheusRefused", error.of("spec.analysis.prometheus.secretRef").message)
    except InvalidInput as error:
        return QueryError("PrometheusRefused", error.message)
