"""The operator asks a real Prometheus, and does not take silence, nonsense or trouble for a pass."""

from collections.abc import Callable
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, ROLLOUTS
from edgelab.modelzoo import ZooModel
from edgelab.ports import free_port
from edgelab.prometheus import Prometheus
from edgelab.s3 import S3Server
from tests.kube.gate_lab import LiveTraffic
from tests.kube.operator_lab import Fleet, OperatorLab, model_is_verified, until
from tests.kube.wrong_servers import Behaviour, answer, drip, endless, serving, silence


def analysis(url: str, query: str, *, timeout: int = 5, **more: object) -> JsonObject:
    metric = {"name": "gate", "query": query, "threshold": {"max": "10"}}
    prometheus = {"url": url, "timeoutSeconds": timeout, **more}
    return cast("JsonObject", {"prometheus": prometheus, "intervalSeconds": 1, "metrics": [metric]})


def gate(lab: OperatorLab) -> JsonObject:
    """What the status says of the gate; empty before it was measured."""
    status = cast("JsonObject", lab.get(ROLLOUTS).get("status") or {})
    found = cast("JsonObject", status.get("analysis") or {})
    metrics = cast("list[JsonObject]", found.get("metrics") or [{}])
    return metrics[0]


@pytest.fixture
def roll(served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel) -> Callable[[JsonObject], Fleet]:
    """Starts a rollout with this analysis to one node, which takes the model at once."""

    def start(checks: JsonObject) -> Fleet:
        lab = served_lab
        lab.add_nodes("a")
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        model_is_verified(lab)
        step: JsonObject = {"name": "all", "percent": 100, "bakeSeconds": 0}
        lab.create(ROLLOUTS, lab.rollout_spec(step, analysis=checks))
        until("a canary", lambda: lab.find(ROLLOUTS) and lab.ready(ROLLOUTS)[1] == "NodesUpdating")
        fleet = Fleet(lab, ("a",))
        fleet.obey()
        return fleet

    return start


def test_a_value_within_its_limits_promotes(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    roll(analysis(prometheus.url, "vector(3)"))
    until("promotion", lambda: served_lab.ready(ROLLOUTS)[0] == "True")
    assert served_lab.metric('edgecanary_operator_prometheus_queries_total{outcome="ok"}') >= 1


def test_a_value_beyond_its_limits_takes_the_revision_back_with_the_value_and_the_limit(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    roll(analysis(prometheus.url, "vector(11.5)"))
    served_lab.until_ready(ROLLOUTS, "False", "RolledBack")
    assert "gate: 11.5 is above the limit 10" in served_lab.message(ROLLOUTS)
    assert served_lab.release().spec.canary is None


def test_a_query_that_does_not_parse_is_the_gates_error_in_prometheuss_words(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    roll(analysis(prometheus.url, "sum(up"))
    until("the gate's error", lambda: gate(served_lab).get("reason") == "QueryInvalid")
    assert "unclosed left parenthesis" in str(gate(served_lab)["message"])
    assert gate(served_lab)["verdict"] == "Inconclusive"
    assert served_lab.ready(ROLLOUTS) == ("Unknown", "AnalysisInconclusive")
    assert "unclosed left parenthesis" in served_lab.message(ROLLOUTS)


def test_no_data_is_no_pass(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    roll(analysis(prometheus.url, "no_such_metric"))
    until("two looks", lambda: cast("int", gate(served_lab).get("noData") or 0) >= 2)
    assert served_lab.ready(ROLLOUTS) == ("Unknown", "AnalysisInconclusive")


def test_a_prometheus_that_is_away_promotes_nothing_and_takes_nothing_back_until_it_is_here(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    prometheus.stop()
    roll(analysis(prometheus.url, "vector(3)"))
    until("looks in vain", lambda: cast("int", gate(served_lab).get("errors") or 0) >= 2)
    assert gate(served_lab)["reason"] == "PrometheusUnavailable"
    assert f"Prometheus {prometheus.url} does not answer" in served_lab.message(ROLLOUTS)
    assert served_lab.release().spec.canary is not None
    prometheus.start()
    until("promotion", lambda: served_lab.ready(ROLLOUTS)[0] == "True")


def test_an_abort_is_heard_while_prometheus_hangs(
    served_lab: OperatorLab, prometheus: Prometheus, roll: Callable[[JsonObject], Fleet]
) -> None:
    prometheus.process.pause()
    roll(analysis(prometheus.url, "vector(3)", timeout=2))
    served_lab.annotate("abort", "now")
    served_lab.until_ready(ROLLOUTS, "False", "RolledBack")
    prometheus.process.resume()
    assert served_lab.release().spec.canary is None


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (answer("500 Oops", b"boom"), "PrometheusUnavailable"),
        (answer("200 OK", b"<html>"), "PrometheusGarbage"),
        (answer("302 Found", b"", "Location: http://127.0.0.1:1/"), "PrometheusRefused"),
        (answer("401 Unauthorized", b""), "PrometheusRefused"),
        (endless, "PrometheusGarbage"),
        (silence, "PrometheusUnavailable"),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.01), "PrometheusUnavailable"),
    ],
)
def test_a_server_that_answers_wrongly_decides_nothing(
    served_lab: OperatorLab, roll: Callable[[JsonObject], Fleet], behaviour: Behaviour, reason: str
) -> None:
    with serving(behaviour) as server:
        roll(analysis(server.url, "up", timeout=1))
        until(reason, lambda: gate(served_lab).get("reason") == reason)
        assert served_lab.ready(ROLLOUTS) == ("Unknown", "AnalysisInconclusive")
        assert served_lab.release().spec.canary is not None


THREE = answer(
    "200 OK", b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"3"]}]}}'
)


class TestCredentials:
    def test_a_token_from_a_secret_is_sent(
        self, served_lab: OperatorLab, roll: Callable[[JsonObject], Fleet]
    ) -> None:
        served_lab.secret({"token": "let-me-in"}, "prometheus-access")
        with serving(THREE) as server:
            roll(analysis(server.url, "up", secretRef={"name": "prometheus-access"}))
            until("promotion", lambda: served_lab.ready(ROLLOUTS)[0] == "True")
        assert b"Authorization: Bearer let-me-in\r\n" in server.requests[0]

    def test_a_secret_that_does_not_exist_is_named_and_used_when_it_comes(
        self, served_lab: OperatorLab, roll: Callable[[JsonObject], Fleet]
    ) -> None:
        with serving(THREE) as server:
            roll(analysis(server.url, "up", secretRef={"name": "prometheus-access"}))
            until("a refusal", lambda: gate(served_lab).get("reason") == "PrometheusRefused")
            assert "there is no Secret prometheus-access" in str(gate(served_lab)["message"])
            assert server.requests == [], "nothing is asked without the credentials that are wanted"
            served_lab.secret({"token": "let-me-in"}, "prometheus-access")
            until("promotion", lambda: served_lab.ready(ROLLOUTS)[0] == "True")


def test_nobody_listens_at_the_address(served_lab: OperatorLab, roll: Callable[[JsonObject], Fleet]) -> None:
    roll(analysis(f"http://127.0.0.1:{free_port()}", "up"))
    until("unavailable", lambda: gate(served_lab).get("reason") == "PrometheusUnavailable")


class TestComparisons:
    """Canary nodes against stable nodes, by their counters in a real Prometheus, with a kill in between."""

    NAMES = tuple(f"n{number:02}" for number in range(12))

    def start(
        self, lab: OperatorLab, prometheus: Prometheus, model: JsonObject, approval: str = "Automatic"
    ) -> tuple[Fleet, LiveTraffic]:
        """A first version on all nodes, an hour of its traffic, and a second one on three nodes."""
        metric = {"name": "errors", "preset": "ErrorRate", "comparison": {"warmupSeconds": 0}}
        checks: JsonObject = {
            "prometheus": {"url": prometheus.url},
            "intervalSeconds": 1,
            "historySeconds": 3600,
            "metrics": [cast("JsonObject", metric)],
        }
        steps: tuple[JsonObject, ...] = (
            {"name": "three", "nodes": 3, "bakeSeconds": 0, "approval": approval},
            {"name": "all", "percent": 100, "bakeSeconds": 0},
        )
        lab.add_nodes(*self.NAMES)
        lab.create(EDGE_MODELS, model)
        lab.create(ROLLOUTS, lab.rollout_spec(*steps, analysis=checks))
        lab.start()
        fleet = Fleet(lab, self.NAMES)
        if approval == "Manual":
            fleet.obey_until("AwaitingApproval")
            lab.annotate("promote", "first")
        fleet.obey_until("Promoted")
        traffic = LiveTraffic(prometheus.remote_write_url, lab.namespace)
        traffic.begin([lab.node(name) for name in self.NAMES], stable_revision(lab), errors=0.02)
        golden = {**cast("JsonObject", model["golden"]), "absoluteTolerance": "0.01"}
        lab.change(EDGE_MODELS, {"spec": {"version": "9.9.9", "golden": golden}})
        until("a canary", lambda: lab.release().spec.canary is not None)
        fleet.obey()
        return fleet, traffic

    def run_until(
        self, condition: Callable[[], bool], fleet: Fleet, traffic: LiveTraffic, *, canary_errors: float
    ) -> None:
        """Nodes obey and serve until the condition holds."""
        stable = stable_revision(fleet.lab)

        def served() -> bool:
            fleet.obey()
            running = {fleet.lab.node(name): active(fleet.lab, name) for name in fleet.names}
            traffic.pulse(
                {node: (found, 0.02 if found == stable else canary_errors) for node, found in running.items()}
            )
            return condition()

        try:
            until("the operator's decision", served, seconds=200)
        except AssertionError as error:
            raise AssertionError(f"{error}: {gate(fleet.lab)}") from error

    def test_a_worse_version_is_taken_back_though_the_operator_was_killed_while_it_looked(
        self, stocked_lab: OperatorLab, prometheus: Prometheus, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab = stocked_lab
        fleet, traffic = self.start(lab, prometheus, lab.upload(s3, bucket, tiny))
        self.run_until(lambda: "measurements" in gate(lab), fleet, traffic, canary_errors=0.4)
        lab.process.kill()
        lab.start()
        self.run_until(
            lambda: lab.ready(ROLLOUTS) == ("False", "RolledBack"), fleet, traffic, canary_errors=0.4
        )
        found = gate(lab)
        assert (found["verdict"], found["reason"]) == ("Fail", "RegressionFound")
        assert float(str(cast("JsonObject", found["evidence"])["value"])) >= 20
        assert len(cast("list[JsonObject]", found["worstNodes"])) == 3
        assert "against 20" in str(found["message"])
        assert "errors" in lab.message(ROLLOUTS)
        assert lab.release().spec.canary is None

    def test_a_version_that_is_as_good_is_promoted_though_the_operator_was_killed_while_it_looked(
        self, stocked_lab: OperatorLab, prometheus: Prometheus, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab = stocked_lab
        fleet, traffic = self.start(lab, prometheus, lab.upload(s3, bucket, tiny), approval="Manual")
        self.run_until(lambda: gate(lab).get("verdict") == "Pass", fleet, traffic, canary_errors=0.02)
        lab.process.kill()
        seen = last_look(lab)
        lab.start()
        self.run_until(lambda: last_look(lab) != seen, fleet, traffic, canary_errors=0.02)
        assert (gate(lab)["verdict"], gate(lab)["reason"]) == ("Pass", "NoRegression")
        before = stable_revision(lab)
        lab.annotate("promote", "second")
        self.run_until(lambda: lab.ready(ROLLOUTS)[1] == "Promoted", fleet, traffic, canary_errors=0.02)
        assert stable_revision(lab) != before
        assert lab.events("RolledBack") == []


def last_look(lab: OperatorLab) -> str:
    """When the gate was last measured."""
    return str(cast("list[JsonObject]", gate(lab)["measurements"])[-1]["time"])


def stable_revision(lab: OperatorLab) -> str:
    stable = lab.release().spec.stable
    assert stable is not None
    return stable.revision


def active(lab: OperatorLab, name: str) -> str:
    """The revision that the node's agent reports."""
    models = cast("JsonObject", lab.get(EDGE_NODES, lab.node(name))["status"])["models"]
    return str(cast("list[JsonObject]", models)[0]["active"])
