"""/healthz, /readyz and /metrics, asked over real HTTP."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from edgecanary.base.errors import InvalidInput, Unavailable
from edgecanary.clients.resources import NODES
from edgecanary.controller.health import HealthServer, parse_address
from edgecanary.controller.metrics import OperatorMetrics

DEADLINE = 20


class Patient:
    """What the checks say."""

    def __init__(self) -> None:
        self.illness: str | None = None
        self.synced = False


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def server(patient: Patient) -> Iterator[HealthServer]:
    found = HealthServer(
        "127.0.0.1:0",
        alive={"queues": lambda: patient.illness},
        ready={"sync": lambda: None if patient.synced else "the first lists are not complete"},
        metrics=lambda: b"some_metric 1\n",
    )
    found.start()
    yield found
    found.stop()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_well_operator_is_alive(server: HealthServer) -> None:
    assert get(server, "/healthz") == (200, "ok\n")


def test_an_ill_operator_says_what_is_wrong(server: HealthServer, patient: Patient) -> None:
    patient.illness = "the event loop has not answered for 5 s"
    assert get(server, "/healthz") == (503, "queues: the event loop has not answered for 5 s\n")


def test_an_operator_is_ready_after_its_first_lists(server: HealthServer, patient: Patient) -> None:
    assert get(server, "/readyz") == (503, "sync: the first lists are not complete\n")
    patient.synced = True
    assert get(server, "/readyz") == (200, "ok\n")


def test_metrics_are_served_and_other_paths_are_explained(server: HealthServer) -> None:
    assert get(server, "/metrics") == (200, "some_metric 1\n")
    assert get(server, "/") == (404, "try /healthz, /readyz or /metrics\n")


def test_an_address_in_use_is_a_clear_failure(server: HealthServer) -> None:
    with pytest.raises(Unavailable, match="choose another --metrics-address") as failure:
        HealthServer(f"127.0.0.1:{server.port}", alive={}, ready={}, metrics=bytes)
    assert failure.value.reason == "AddressInUse"


@pytest.mark.parametrize(
    ("text", "address"), [(":8080", ("", 8080)), ("127.0.0.1:9", ("127.0.0.1", 9)), ("[::1]:80", ("::1", 80))]
)
def test_addresses_are_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8080", "host:", "host:http", ":99999", ""])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="--metrics-address: must be an address such as :8080"):
        parse_address(text)


def test_the_metrics_name_kinds_and_reasons_never_objects() -> None:
    metrics = OperatorMetrics()
    metrics.finished("rollout", "ok", 0.02)
    metrics.called("list", NODES, "ok")
    metrics.queried("PrometheusUnavailable")
    metrics.watch_restarted()
    metrics.set_load("rollout", waiting=2, working=1)
    metrics.set_overdue(NODES, 3.0)
    metrics.set_reasons("rollouts", {"Baking": 2})
    metrics.set_reasons("rollouts", {"Promoted": 1})
    text = metrics.render().decode()
    assert 'edgecanary_operator_reconcile_seconds_count{outcome="ok",queue="rollout"} 1.0' in text
    assert 'edgecanary_operator_api_calls_total{outcome="ok",resource="nodes",verb="list"} 1.0' in text
    assert 'edgecanary_operator_prometheus_queries_total{outcome="PrometheusUnavailable"} 1.0' in text
    assert "edgecanary_operator_watch_restarts_total 1.0" in text
    assert 'edgecanary_operator_queue_waiting{queue="rollout"} 2.0' in text
    assert 'edgecanary_operator_watch_overdue_seconds{resource="nodes"} 3.0' in text
    assert 'edgecanary_operator_rollouts{reason="Promoted"} 1.0' in text
    assert "Baking" not in text, "reasons that no longer occur are gone"
