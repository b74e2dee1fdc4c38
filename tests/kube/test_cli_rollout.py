"""`edgecanary rollout why` and `plan`, the program itself, on a real API server and a real Prometheus."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, ROLLOUTS, Resource
from edgelab import nodes
from edgelab.controlplane import ControlPlane
from edgelab.modelzoo import ZooModel
from edgelab.paths import ROOT
from edgelab.ports import free_port
from edgelab.processes import Supervisor
from edgelab.prometheus import Prometheus
from edgelab.s3 import S3Server
from tests.kube.backfill import Line, counter, push
from tests.kube.operator_lab import Fleet, OperatorLab, model_is_verified
from tests.unit.rollout.fleet_play import model
from tests.unit.rollout.standing import CANARY, STABLE, baking, rolled_back

NAME = "pump-anomaly"


def run(*arguments: str | Path, config: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The program with these arguments, as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "edgecanary", "rollout", *arguments],
        env={"PYTHONPATH": str(ROOT / "operator"), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(config)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def body(resource: Resource, name: str, spec: JsonObject) -> JsonObject:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def put(plane: ControlPlane, namespace: str, resource: Resource, name: str, spec: JsonObject) -> None:
    plane.admin.create(resource.path(namespace=namespace), body(resource, name, spec))


def put_status(
    plane: ControlPlane, namespace: str, resource: Resource, name: str, status: JsonObject
) -> None:
    path = resource.path(namespace=namespace, name=name, subresource="status")
    plane.admin.patch(path, {"status": status})


@pytest.fixture
def rejected(control_plane: ControlPlane, namespace: str) -> str:
    """The namespace of a Rollout that was taken back, and of the node that reports a failure."""
    stored = rolled_back()
    put(control_plane, namespace, ROLLOUTS, NAME, stored.spec.to_json())
    status = stored.status.to_json()
    put_status(control_plane, namespace, ROLLOUTS, NAME, {**status, "observedGeneration": 1})
    put(control_plane, namespace, EDGE_NODES, "edge-07", {})
    report: JsonObject = {
        "namespace": namespace,
        "name": NAME,
        "desired": CANARY,
        "active": STABLE,
        "state": "Reverted",
        "result": "ProbeFailed",
        "reason": "GoldenMismatch",
        "message": "output score differs by 0.3",
    }
    put_status(control_plane, namespace, EDGE_NODES, "edge-07", {"models": [report]})
    return namespace


def test_why_tells_a_rejection_with_all_facts_from_the_contexts_namespace(
    control_plane: ControlPlane, rejected: str
) -> None:
    config = control_plane.kubeconfig(namespace=rejected)
    told = run("why", NAME, "--system-namespace", rejected, config=config)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(
        f"Rollout {rejected}/{NAME}: RolledBack, Stalled since 2026-01-05T11:58:00Z"
    )
    for fact in (
        "0.051",
        "0.0268 (stable)",
        "12400",
        "34.2 against 20 (NegativeBinomial, 5 canary and 95 stable nodes)",
        "edge-07: 212 of 2480 bad, 64.1 expected",
        "sum(rate(edgecanary_requests_total[1h]))",
        "http://prometheus:9090/graph?g0.expr=sum",
        "edge-07  Failed  ProbeFailed GoldenMismatch: output score differs by 0.3",
        "a new revision, or edgecanary.dev/retry",
    ):
        assert fact in told.stdout, fact


def test_why_as_data_has_the_same_facts_and_the_exit_code_says_how_it_stands(
    control_plane: ControlPlane, rejected: str
) -> None:
    config = control_plane.kubeconfig()
    flags = ("-n", rejected, "--system-namespace", rejected, "--exit-code")
    told = run("why", NAME, *flags, "-o", "json", config=config)
    assert told.returncode == 11, told.stderr
    found = json.loads(told.stdout)
    assert (found["standing"], found["reason"]) == ("Stalled", "RolledBack")
    assert found["rejection"]["revision"] == CANARY
    assert found["gates"][0]["metric"]["evidence"]["value"] == "34.2"
    assert found["nodes"][0]["message"] == "output score differs by 0.3"


def test_why_tells_what_is_waited_for(control_plane: ControlPlane, namespace: str) -> None:
    stored = baking()
    put(control_plane, namespace, ROLLOUTS, NAME, stored.spec.to_json())
    put_status(control_plane, namespace, ROLLOUTS, NAME, stored.status.to_json())
    told = run("why", NAME, "-n", namespace, "--exit-code", "-o", "yaml", config=control_plane.kubeconfig())
    assert told.returncode == 10, told.stderr
    assert yaml.safe_load(told.stdout)["waiting"]["until"] == "2026-01-05T13:00:00Z"


def test_a_rejection_by_the_operator_is_told_alike_by_its_event_and_by_why(
    served_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, prometheus: Prometheus
) -> None:
    lab = served_lab
    lab.add_nodes("a")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    model_is_verified(lab)
    metric: JsonObject = {"name": "gate", "query": "vector(11.5)", "threshold": {"max": "10"}}
    analysis = {"prometheus": {"url": prometheus.url}, "intervalSeconds": 1, "metrics": [metric]}
    lab.create(
        ROLLOUTS, lab.rollout_spec({"name": "all", "percent": 100, "bakeSeconds": 0}, analysis=analysis)
    )
    Fleet(lab, ("a",)).obey_until("RolledBack")
    told = run("why", "pump", "-n", lab.namespace, config=lab.control_plane.kubeconfig())
    assert told.returncode == 0, told.stderr
    (event,) = lab.events("RolledBack")
    message = str(event["message"])
    for fact in ("gate: 11.5 is above the limit 10", "step 1/1 all"):
        assert fact in message
        assert fact in " ".join(told.stdout.split())
    assert "query     vector(11.5)" in told.stdout
    assert f"link      {prometheus.url}/graph?g0.expr=vector%2811.5%29" in told.stdout


@pytest.fixture
def bare_control_plane(
    control_plane: ControlPlane, processes: Supervisor, tmp_path: Path
) -> Iterator[ControlPlane]:
    """An API server that never had our kinds; deleting them from one that has just got them may take minutes."""
    plane = ControlPlane(processes, tmp_path / "bare")
    plane.start()
    yield plane
    plane.stop()


class TestWhatFails:
    def test_a_name_that_is_not_there_is_told_with_those_near_it(
        self, control_plane: ControlPlane, rejected: str
    ) -> None:
        told = run("why", "pump-anomly", "-n", rejected, config=control_plane.kubeconfig())
        assert told.returncode == 3
        assert told.stderr == (
            f"edgecanary: RolloutNotFound: there is no Rollout pump-anomly in namespace {rejected}; "
            f"did you mean {NAME}?\n"
        )

    def test_a_name_in_another_namespace_is_told_with_that(
        self, control_plane: ControlPlane, rejected: str
    ) -> None:
        told = run("why", NAME, "-n", "kube-public", config=control_plane.kubeconfig())
        assert told.returncode == 3
        assert rejected in told.stderr
        assert "give -n" in told.stderr

    def test_a_cluster_without_the_kinds_is_told_how_to_get_them(
        self, bare_control_plane: ControlPlane
    ) -> None:
        told = run("why", NAME, config=bare_control_plane.kubeconfig())
        assert told.returncode == 3
        assert "KindMissing: the cluster does not know the kind Rollout; install the CRDs" in told.stderr

    def test_access_that_is_denied_is_told_with_the_role_that_grants_it(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        told = run("why", NAME, "-n", namespace, config=control_plane.kubeconfig("nobody", ()))
        assert told.returncode == 1
        assert 'apiGroups: ["edgecanary.dev"], resources: ["rollouts"], verbs: ["get"]' in told.stderr

    def test_nodes_that_may_not_be_asked_are_a_note(self, control_plane: ControlPlane, rejected: str) -> None:
        rule: JsonObject = {"apiGroups": ["edgecanary.dev"], "resources": ["rollouts"], "verbs": ["get"]}
        grant(control_plane, rejected, "reader", rule)
        config = control_plane.kubeconfig("reader", ())
        told = run("why", NAME, "-n", rejected, "--system-namespace", rejected, config=config)
        assert told.returncode == 0, told.stderr
        text = " ".join(told.stdout.split())
        assert "Note: what the nodes' agents say is not included: edgenodes.edgecanary.dev" in text

    def test_a_server_that_is_away_is_told_with_its_address_and_where_that_is_from(
        self, control_plane: ControlPlane, tmp_path: Path
    ) -> None:
        text = control_plane.kubeconfig().read_text()
        config = tmp_path / "config"
        config.write_text(text.replace(str(control_plane.port), str(free_port())))
        told = run("why", NAME, config=config)
        assert told.returncode == 1
        assert "ApiServerUnreachable" in told.stderr
        assert f"from kubeconfig {config})" in told.stderr

    def test_a_context_that_is_not_there_is_told(self, control_plane: ControlPlane) -> None:
        told = run("why", NAME, "--context", "moon", config=control_plane.kubeconfig())
        assert told.returncode == 1
        assert "NoClusterAccess" in told.stderr
        assert "moon" in told.stderr


def grant(plane: ControlPlane, namespace: str, user: str, rule: JsonObject) -> None:
    """A role with one rule for a user."""
    api = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    plane.admin.create(f"{api}/roles", {"metadata": {"name": user}, "rules": [rule]})
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    plane.admin.create(f"{api}/rolebindings", binding)


@pytest.fixture
def fleet(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    """The namespace of an EdgeModel, with ten Nodes that carry its name as a label."""
    names = [f"{namespace}-{i}" for i in range(10)]
    for place, name in enumerate(names):
        labels = {"fleet": namespace, "hardware": "npu" if place < 4 else "cpu"}
        nodes.create_node(control_plane.admin, name, labels=labels)
    put(control_plane, namespace, EDGE_MODELS, "pump", model("2.0.0").spec.to_json())
    yield namespace
    for name in names:
        nodes.delete_node(control_plane.admin, name)


def declared(fleet: str, url: str = "http://127.0.0.1:1") -> JsonObject:
    steps: list[JsonObject] = [
        {"name": "one", "nodes": 1, "bakeSeconds": 3600},
        {"name": "half", "percent": 50, "bakeSeconds": 3600},
        {"name": "all", "percent": 100, "bakeSeconds": 3600},
    ]
    metric: JsonObject = {
        "name": "errors", "preset": "ErrorRate", "threshold": {"max": "0.02"}, "minSamples": 100
    }  # fmt: skip
    spec = {
        "modelRef": {"name": "pump"},
        "nodeSelector": {"matchLabels": {"fleet": fleet}},
        "strategy": {"stratifyBy": ["hardware"], "steps": steps},
        "analysis": {"prometheus": {"url": url}, "metrics": [metric]},
    }
    found = body(ROLLOUTS, "pump", cast("JsonObject", spec))
    return {**found, "metadata": {"name": "pump", "namespace": fleet}}


def planned(*flags: str | Path, plane: ControlPlane, rollout: JsonObject) -> JsonObject:
    """The plan as data."""
    told = run(
        "plan", "-f", "-", "-o", "json", *flags, config=plane.kubeconfig(), stdin=yaml.safe_dump(rollout)
    )
    assert told.returncode == 0, told.stderr
    return cast("JsonObject", json.loads(told.stdout))


def added(plan: JsonObject) -> list[list[str]]:
    """The nodes that each step adds."""
    return [
        sorted(name for stratum in step["strata"] for name in stratum["added"])
        for step in cast("list[dict[str, list[dict[str, list[str]]]]]", plan["steps"])
    ]


def test_a_plan_is_made_for_the_clusters_nodes_and_model(control_plane: ControlPlane, fleet: str) -> None:
    found = planned(plane=control_plane, rollout=declared(fleet))
    assert (found["eligible"], found["online"], found["strata"], found["version"]) == (10, 10, 2, "2.0.0")
    assert [len(names) for names in added(found)] == [1, 4, 5]
    assert found["choiceIsExample"] is True


def test_a_rollout_that_exists_is_planned_with_its_own_choice_of_nodes(
    control_plane: ControlPlane, fleet: str
) -> None:
    rollout = declared(fleet)
    control_plane.admin.create(ROLLOUTS.path(namespace=fleet), rollout)
    found = planned(plane=control_plane, rollout=rollout)
    assert found["choiceIsExample"] is False
    assert added(found) == added(planned(plane=control_plane, rollout=rollout))
    exported = control_plane.kubectl("get", "nodes", "-l", f"fleet={fleet}", "-o", "json")
    stored = control_plane.kubectl("get", "-n", fleet, "mro/pump", "em/pump", "-o", "yaml")
    assert added(against_files(control_plane, stored, exported)) == added(found)


def against_files(plane: ControlPlane, stored: str, exported: str, *flags: str) -> JsonObject:
    """The plan of what kubectl gives: objects as YAML, Nodes as JSON."""
    file = plane.data_dir / "nodes.json"
    file.write_text(exported)
    told = run(
        "plan", "-f", "-", "--nodes", file, "-o", "json", *flags, config=Path("/nowhere"), stdin=stored
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return cast("JsonObject", json.loads(told.stdout))


def test_the_request_rate_comes_from_prometheus(
    control_plane: ControlPlane, fleet: str, prometheus: Prometheus
) -> None:
    now = time.time()
    moments = [now - 4500 + 15 * i for i in range(300)]
    lines = [
        Line(
            {
                "__name__": "edgecanary_requests_total",
                "namespace": fleet,
                "model": "pump",
                "revision": STABLE,
                "node": f"{fleet}-{place}",
                "outcome": outcome,
            },
            list(counter(moments, [per_scrape] * 300)),
        )
        for place in range(10)
        for outcome, per_scrape in (("ok", 0.99), ("error", 0.01))
    ]
    push(prometheus.remote_write_url, lines)
    found = planned(plane=control_plane, rollout=declared(fleet, prometheus.url))
    gates = [step["gates"][0] for step in cast("list[dict[str, list[dict[str, object]]]]", found["steps"])]
    assert [gate["eventsPerHour"] for gate in gates] == pytest.approx([240, 1200, 2400], rel=0.02)
    assert gates[0]["readySeconds"] == pytest.approx(1500, rel=0.02)
    assert gates[0]["findsRatio"] == pytest.approx(2, rel=0.02)
    notes = " ".join(cast("list[str]", found["notes"]))
    assert f"answers per node and hour, 1.000% of them bad, over the last 1 h by {prometheus.url}" in notes


def history(fleet: str, model_name: str, burst: float, now: float) -> Iterator[Line]:
    """Six hours of a model's counters, a sample a minute; `burst` is the squared variation of five minutes."""
    random = np.random.Generator(np.random.PCG64(1))
    moments = [now - 60 * (360 - minute) for minute in range(360)]
    for place in range(10):
        swing = np.repeat(random.gamma(1 / burst, burst, 72), 5)
        wrong = random.poisson(2.0 * swing)
        for outcome, counted in (("ok", 200 - wrong), ("error", wrong)):
            labels = {
                "__name__": "edgecanary_requests_total",
                "namespace": fleet,
                "model": model_name,
                "revision": STABLE,
                "node": f"{fleet}-{place}",
                "outcome": outcome,
            }
            yield Line(labels, list(counter(moments, counted.tolist())))


def test_a_restless_history_gives_a_longer_plan_than_a_quiet_one_and_none_is_assumed(
    control_plane: ControlPlane, fleet: str, prometheus: Prometheus
) -> None:
    now = time.time()
    bursts = {"quiet": 0.02, "restless": 0.5}
    lines = [line for name, burst in bursts.items() for line in history(fleet, name, burst, now)]
    push(prometheus.remote_write_url, lines)

    exported = control_plane.kubectl("get", "nodes", "-l", f"fleet={fleet}", "-o", "json")

    def first_gate(model_name: str, *flags: str) -> tuple[dict[str, object], str]:
        """The gate of the first step, and the notes."""
        rollout = declared(fleet, prometheus.url)
        spec = cast("dict[str, dict[str, object]]", rollout["spec"])
        spec["modelRef"] = {"name": model_name}
        spec["strategy"]["stepDeadlineSeconds"] = 604_800
        compared = {
            "name": "errors",
            "preset": "ErrorRate",
            "comparison": {"warmupSeconds": 0, "detectRatio": "3"},
        }
        spec["analysis"].update({"metrics": [compared], "historySeconds": 18_000, "intervalSeconds": 300})
        found = against_files(control_plane, yaml.safe_dump(rollout), exported, *flags)
        steps = cast("list[dict[str, list[dict[str, object]]]]", found["steps"])
        return steps[0]["gates"][0], " ".join(cast("list[str]", found["notes"]))

    (quiet, calm), (restless, _) = first_gate("quiet"), first_gate("restless")
    assert (quiet["baseline"], restless["baseline"]) == ("History", "History")
    assert cast("float", restless["exposure"]) < 0.5 * cast("float", quiet["exposure"])
    assert cast("float", restless["readySeconds"]) > 2 * cast("float", quiet["readySeconds"])
    assert "the exposure of errors rests on the history of 10 nodes" in calm
    alone, notes = first_gate("quiet", "--requests-per-hour", "12000", "--error-rate", "0.01")
    assert alone["baseline"] == "Assumed"
    assert "the exposure of errors is assumed, since no history is known" in notes
