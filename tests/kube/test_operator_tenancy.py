"""The operator asks the administrator's rules, whatever admission let through, on a real API server and store."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.modelzoo import ZooModel
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import SECRET, Fleet, OperatorLab, model_is_verified, until

POOL = 15


@dataclass
class Rules:
    """The file with the rules, and the lines of each namespace in it."""

    path: Path
    lines: dict[str, str] = field(default_factory=dict)
    broken: str = ""

    def give(self, namespace: str, *lines: str) -> None:
        """Replaces the rules of a namespace."""
        self.lines[namespace] = "".join(f"{namespace} {line}\n" for line in lines)
        self.write()

    def write(self) -> None:
        fresh = self.path.with_name("fresh")
        fresh.write_text("* contact Ann\n" + self.broken + "".join(self.lines.values()))
        fresh.replace(self.path)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    found = Rules(tmp_path_factory.mktemp("tenancy") / "rules")
    found.write()
    return found


@pytest.fixture(scope="module")
def labs(
    control_plane: ControlPlane, operator_roles: None, lab_supervisor: Supervisor, rules: Rules
) -> Iterator[Iterator[OperatorLab]]:
    """Namespaces that one operator with rules serves."""
    names = [f"tenant-{number}-{id(rules):x}" for number in range(POOL)]
    for name in names:
        control_plane.create_namespace(name)
    first = OperatorLab(control_plane, lab_supervisor, names[0])
    served = [word for name in names for word in ("--namespace", name)]
    operator = first.start(*served, "--tenancy-file", str(rules.path))
    yield (
        OperatorLab(
            control_plane, lab_supervisor, name, first.metrics_port, operator=operator, system=names[0]
        )
        for name in names
    )
    first.stop()
    for name in names:
        control_plane.delete_namespace(name)


@pytest.fixture
def lab(labs: Iterator[OperatorLab], s3: S3Server) -> Iterator[OperatorLab]:
    """A namespace of the test's own, with the store's keys, and without a grant."""
    found = next(labs)
    found.secret(s3.environment)
    yield found
    found.remove_nodes()


def nodes_of(lab: OperatorLab) -> str:
    return f"nodes lab={lab.label}"


def store(s3: S3Server) -> str:
    return f"object-store {s3.url.removeprefix('http://')}"


def released(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel, rules: Rules) -> Fleet:
    """A model that was released to two nodes of the tenant."""
    rules.give(lab.namespace, nodes_of(lab), store(s3))
    lab.add_nodes("a", "b")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, model))
    lab.create(ROLLOUTS, lab.rollout_spec())
    fleet = Fleet(lab, ("a", "b"))
    fleet.obey_until("Promoted")
    return fleet


def nodes(lab: OperatorLab) -> JsonObject:
    return cast("JsonObject", cast("JsonObject", lab.get(ROLLOUTS)["status"])["nodes"])


def test_a_namespace_without_a_grant_is_told_so_and_goes_on_once_it_has_one(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    lab.add_nodes("a", "b")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "False", "NotGranted")
    lab.until_ready(EDGE_MODELS, "False", "NotGranted")
    assert lab.message(ROLLOUTS) == (
        f"spec.nodeSelector.matchLabels: namespace '{lab.namespace}' has no grant: no rule names it; "
        f"ask Ann for the rule '{lab.namespace} nodes KEY=VALUE'"
    )
    stalled = lab.condition(ROLLOUTS, "Stalled")
    assert stalled is not None
    assert (stalled["status"], stalled["reason"]) == ("True", "NotGranted")
    assert lab.events("NotGranted")

    rules.give(lab.namespace, nodes_of(lab), store(s3))
    model_is_verified(lab)
    Fleet(lab, ("a", "b")).obey_until("Promoted")


def test_a_tenant_who_names_anothers_nodes_learns_nothing_of_them(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    rules.give(lab.namespace, "nodes tenant=mine", store(s3))
    lab.add_nodes("a", "b")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    model_is_verified(lab)
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.until_ready(ROLLOUTS, "False", "NotGranted")
    assert "must carry tenant=mine" in lab.message(ROLLOUTS)
    assert (nodes(lab)["targeted"], nodes(lab).get("incompatible", 0)) == (0, 0)
    assert lab.find(MODEL_RELEASES) is None


def test_a_grant_that_is_taken_away_stops_what_comes_and_not_what_runs(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    fleet = released(lab, s3, bucket, tiny, rules)
    before = lab.release().spec
    rules.give(lab.namespace, "nodes tenant=mine", store(s3))
    lab.until_ready(ROLLOUTS, "False", "NotGranted")
    spec = lab.upload(s3, bucket, tiny)
    lab.change(
        EDGE_MODELS,
        {
            "spec": {
                "version": "9",
                "golden": {**cast("JsonObject", spec["golden"]), "absoluteTolerance": "0.01"},
            }
        },
    )
    until("the new version is verified", lambda: lab.ready(EDGE_MODELS)[1] == "Verified")
    lab.change(ROLLOUTS, {"spec": {"priority": 7}})
    until(
        "the edit is seen", lambda: cast("JsonObject", lab.get(ROLLOUTS)["status"])["observedGeneration"] == 2
    )
    after = lab.release().spec
    assert (after.stable, after.canary) == (before.stable, None)
    assert (after.node_selector, after.priority) == (before.node_selector, before.priority)

    rules.give(lab.namespace, nodes_of(lab), store(s3))
    until("the new version rolls out", lambda: lab.release().spec.canary is not None)
    fleet.obey_until("Promoted")


def test_a_canary_can_be_aborted_after_its_grant_was_taken_away(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    released(lab, s3, bucket, tiny, rules)
    golden = cast("JsonObject", lab.upload(s3, bucket, tiny)["golden"])
    lab.change(EDGE_MODELS, {"spec": {"version": "9", "golden": {**golden, "absoluteTolerance": "0.01"}}})
    until("a canary", lambda: lab.release().spec.canary is not None)
    rules.give(lab.namespace)
    lab.until_ready(ROLLOUTS, "False", "NotGranted")
    assert lab.release().spec.canary is not None
    lab.annotate("abort", "now")
    until("the canary is taken back", lambda: lab.release().spec.canary is None)
    assert [entry.reason for entry in lab.release().spec.rejected] == ["Aborted"]


def test_rules_that_cannot_be_read_hold_everything_where_it_is(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    released(lab, s3, bucket, tiny, rules)
    before = lab.release().spec
    rules.broken = "this is no rule\n"
    try:
        rules.write()
        lab.until_ready(ROLLOUTS, "Unknown", "GrantsUnreadable")
        assert "line 2: must name one of nodes, prometheus" in lab.message(ROLLOUTS)
        assert lab.ready(EDGE_MODELS) == ("True", "Verified")
        assert lab.release().spec.stable == before.stable
    finally:
        rules.broken = ""
        rules.write()
    lab.until_ready(ROLLOUTS, "True", "Promoted")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("https://evil.example/x", "NotGranted"), ("https://169.254.169.254/latest/meta-data", "NotGranted")],
)
def test_a_model_from_a_host_that_is_not_granted_is_refused_unseen(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules, uri: str, reason: str
) -> None:
    rules.give(lab.namespace, nodes_of(lab), store(s3), "download *.models.example.com")
    spec = lab.upload(s3, bucket, tiny)
    spec["golden"] = {**cast("JsonObject", spec["golden"]), "uri": uri}
    lab.create(EDGE_MODELS, spec)
    lab.until_ready(EDGE_MODELS, "False", reason)
    assert lab.message(EDGE_MODELS).startswith("spec.golden.uri: ")
    assert "(granted: *.models.example.com); ask Ann" in lab.message(EDGE_MODELS)


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://localhost:1"]
)
def test_an_endpoint_in_a_secret_is_looked_at_as_every_address(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules, endpoint: str
) -> None:
    rules.give(lab.namespace, nodes_of(lab), "object-store *")
    lab.secret({**s3.environment, "AWS_ENDPOINT_URL": endpoint}, name="crooked")
    spec = lab.upload(s3, bucket, tiny)
    spec["sourceSecretRef"] = {"name": "crooked"}
    lab.create(EDGE_MODELS, spec)
    lab.until_ready(EDGE_MODELS, "False", "AddressRefused")
    assert "spec.sourceSecretRef: AWS_ENDPOINT_URL or AWS_REGION: " in lab.message(EDGE_MODELS)


@dataclass
class Spy:
    """A server of the tenant's own that writes down who asks and with which credentials."""

    port: int
    seen: list[str]


@pytest.fixture
def spy() -> Iterator[Spy]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers.get("Authorization") or "")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Spy(server.server_port, seen)
    server.shutdown()
    thread.join()
    server.server_close()


def gated(lab: OperatorLab, spy: Spy, secret: str) -> JsonObject:
    """A Rollout that asks the spy, and shows it a Secret."""
    prometheus = {"url": f"http://127.0.0.1:{spy.port}", "secretRef": {"name": secret}}
    metric = {"name": "m", "query": "up", "threshold": {"max": "1"}}
    return lab.rollout_spec(analysis={"prometheus": prometheus, "metrics": [metric], "intervalSeconds": 10})


def test_a_service_accounts_token_is_not_shown_to_a_server_that_a_tenant_names(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules, spy: Spy
) -> None:
    """Whoever may not read a Secret could else have the operator bring it to them."""
    rules.give(lab.namespace, nodes_of(lab), store(s3), f"prometheus 127.0.0.1:{spy.port}")
    body = {
        "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(b"precious").decode()},
    }
    base = f"/api/v1/namespaces/{lab.namespace}"
    with contextlib.suppress(ApiError):
        lab.api.create(f"{base}/serviceaccounts", {"metadata": {"name": "default"}})
    lab.api.create(f"{base}/secrets", body)
    lab.secret({"token": "meant"}, name="meant")
    lab.add_nodes("a", "b")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, gated(lab, spy, "robot"))
    fleet = Fleet(lab, ("a", "b"))
    fleet.obey_until("AnalysisInconclusive")
    assert "Secret robot has the type kubernetes.io/service-account-token" in str(lab.get(ROLLOUTS)["status"])
    assert spy.seen == []

    lab.change(ROLLOUTS, {"spec": {"analysis": {"prometheus": {"secretRef": {"name": "meant"}}}}})
    until("Prometheus is asked", lambda: spy.seen)
    assert set(spy.seen) == {"Bearer meant"}


def test_a_secret_of_another_namespace_cannot_be_named_and_is_not_found(
    lab: OperatorLab, labs: Iterator[OperatorLab], s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    other = next(labs)
    other.secret(s3.environment, name="precious")
    rules.give(lab.namespace, nodes_of(lab), store(s3))
    spec = lab.upload(s3, bucket, tiny)
    for name in (f"{other.namespace}/precious", f"../../{other.namespace}/secrets/precious", "a%2fb", ""):
        spec["sourceSecretRef"] = {"name": name}
        with pytest.raises(ApiError) as caught:
            lab.create(EDGE_MODELS, spec)
        assert caught.value.status == 422
    with pytest.raises(ApiError):
        lab.create(
            EDGE_MODELS,
            {**spec, "sourceSecretRef": {"name": "precious", "namespace": other.namespace}, "version": "-"},
        )
    spec["sourceSecretRef"] = {"name": "precious", "namespace": other.namespace}
    lab.create(EDGE_MODELS, spec)
    lab.until_ready(EDGE_MODELS, "False", "SecretNotFound")
    assert f"there is no Secret precious in namespace {lab.namespace}" in lab.message(EDGE_MODELS)


def test_only_secrets_that_are_meant_for_it_are_read_where_the_administrator_says_so(
    lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, rules: Rules
) -> None:
    rules.give(lab.namespace, nodes_of(lab), store(s3), "secrets labelled")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.until_ready(EDGE_MODELS, "False", "SecretRefused")
    assert "must carry the label edgecanary.dev/credentials" in lab.message(EDGE_MODELS)
    label = {"metadata": {"labels": {"edgecanary.dev/credentials": "object-store"}}}
    lab.api.patch(f"/api/v1/namespaces/{lab.namespace}/secrets/{SECRET}", label)
    lab.change(EDGE_MODELS, {"spec": {"version": "again"}})
    model_is_verified(lab)
