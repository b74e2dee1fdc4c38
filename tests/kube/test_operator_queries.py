"""All of a rollout's queries together keep the one time limit, however many there are."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from edgecanary.analysis.query import MetricQuery, QueryError, Sample, Vector
from edgecanary.api.analysis import PrometheusSource
from edgecanary.api.meta import LocalSecretReference
from edgecanary.clients.access import Access
from edgecanary.clients.kube import KubeClient, Secrets
from edgecanary.controller.gate_queries import ask
from edgelab.controlplane import ControlPlane
from edgelab.prometheus import Prometheus
from tests.kube.wrong_servers import serving, silence

QUERIES = tuple(
    MetricQuery(f"m{number}", f"vector({number})", samples=f"vector({100 + number})", baseline="nothing")
    for number in range(20)
)


@pytest.fixture
def secrets(control_plane: ControlPlane) -> Iterator[Secrets]:
    kube = KubeClient(Access.find(kubeconfig=control_plane.kubeconfig()), user_agent="test")
    yield Secrets(kube)
    kube.close()


@pytest.fixture
def outcomes() -> Counter[str]:
    return Counter()


def note(outcomes: Counter[str]) -> Callable[[str], None]:
    return lambda outcome: outcomes.update([outcome])


def test_each_answer_finds_its_question(
    prometheus: Prometheus, secrets: Secrets, outcomes: Counter[str]
) -> None:
    source = PrometheusSource(url=prometheus.url, timeout_seconds=60)
    answers = ask(source, QUERIES, namespace="default", secrets=secrets, observe=note(outcomes))
    assert list(answers) == [query.metric for query in QUERIES]
    for number, query in enumerate(QUERIES):
        answer = answers[query.metric]
        assert answer.query == query
        assert answer.value == Vector((Sample((), float(number)),))
        assert answer.samples == Vector((Sample((), float(100 + number)),))
        assert answer.baseline == Vector()
    assert outcomes == {"ok": 40, "empty": 20}


def test_what_is_not_asked_has_no_answer(
    prometheus: Prometheus, secrets: Secrets, outcomes: Counter[str]
) -> None:
    source = PrometheusSource(url=prometheus.url, timeout_seconds=60)
    only = (MetricQuery("m", "vector(1)"),)
    answers = ask(source, only, namespace="default", secrets=secrets, observe=note(outcomes))
    assert answers["m"].samples is None
    assert answers["m"].baseline is None


def test_a_server_that_hangs_costs_the_time_limit_once_not_once_for_each_query(
    secrets: Secrets, outcomes: Counter[str]
) -> None:
    source = PrometheusSource(url="http://127.0.0.1:1", timeout_seconds=1)
    with serving(silence) as server:
        source = source.model_copy(update={"url": server.url})
        begin = time.monotonic()
        answers = ask(source, QUERIES, namespace="default", secrets=secrets, observe=note(outcomes))
        elapsed = time.monotonic() - begin
    assert all(isinstance(answer.value, QueryError) for answer in answers.values())
    assert outcomes == {"PrometheusUnavailable": 60}
    assert elapsed < 8, "one after the other they would take at least 8 times the limit"


def test_without_the_secret_nothing_is_asked(secrets: Secrets, outcomes: Counter[str]) -> None:
    with serving(silence) as server:
        source = PrometheusSource(url=server.url, secret_ref=LocalSecretReference(name="nothing"))
        answers = ask(source, QUERIES, namespace="default", secrets=secrets, observe=note(outcomes))
        assert server.requests == []
    value = answers["m0"].value
    assert isinstance(value, QueryError)
    assert value.message == (
        "spec.analysis.prometheus.secretRef: there is no Secret nothing in namespace default"
    )
    assert outcomes == {"PrometheusRefused": 60}
