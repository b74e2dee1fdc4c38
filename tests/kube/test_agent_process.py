"""The agent as a process, with a real API server, a real S3 server and real models."""

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.edgenode import EdgeNodeStatus, ModelState, NodeModelStatus
from edgecanary.artifact.revision import revision_digest
from edgelab.api import APPLY_PATCH, JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.fixtures import control_plane_in
from edgelab.install import apply_rights
from edgelab.modelzoo import bucket_files, edge_model_spec, open_zoo
from edgelab.nodes import create_node, delete_node
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor
from edgelab.prometheus import Prometheus
from edgelab.s3 import S3Server
from tests.unit.agent.modelmaking import adding_model, root_model
from tests.unit.agent.releasing import statement

GROUP = "/apis/edgecanary.dev/v1alpha1"
NAMESPACE = "plant"
SYSTEM = "edgecanary-system"
MODEL = "file-type"
EVERYBODY = [{"stratum": [], "below": f"1{'0' * 16}"}]

T = TypeVar("T")


def until(find: Callable[[], T | None], what: str, *, seconds: float = 240.0) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := find()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


@dataclass
class Edge:
    """One node with its agent, and the release that it follows."""

    control_plane: ControlPlane
    processes: Supervisor
    s3: S3Server
    bucket: str
    data: Path
    token: Path
    listen: int
    sequence: int = 0
    agent: Process | None = None

    def start(self, *flags: str) -> Process:
        """Starts the agent, as often as a test likes."""
        command = [sys.executable, "-m", "edgecanary", "agent", "--node", "n1", "--data-dir", str(self.data)]
        command += ["--listen", f"127.0.0.1:{self.listen}", "--metrics-address", f"127.0.0.1:{free_port()}"]
        command += ["--server", self.control_plane.url, "--ca-file", str(self.control_plane.ca_file)]
        command += ["--token-file", str(self.token), "--system-namespace", SYSTEM]
        command += ["--download-spread-seconds", "0", *flags]
        self.agent = self.processes.start("agent", command, env={"PYTHONPATH": "operator"})
        return self.agent

    def statement(self, name: str) -> JsonObject:
        """The revision of a model of the zoo, its files in the bucket behind presigned addresses."""
        model = open_zoo()[name]
        spec = edge_model_spec(model, f"s3://{self.bucket}", secret="bucket")
        for key, path in bucket_files(model).items():
            self.s3.put(self.bucket, key, path.read_bytes())
        stated = {field: spec[field] for field in ("version", "variants", "io", "golden")}
        stated["revision"] = revision_digest(EdgeModelSpec.model_validate(spec))
        stated = json.loads(json.dumps(stated))
        for file in [
            *(file for variant in stated["variants"] for file in variant["files"]),
            stated["golden"],
        ]:
            file["url"] = self.s3.presigned_url(self.bucket, file["uri"].removeprefix(f"s3://{self.bucket}/"))
        return dict(stated)

    def release(self, stable: JsonObject, canary: JsonObject | None = None) -> None:
        self.sequence += 1
        spec: JsonObject = {
            "model": MODEL,
            "sequence": self.sequence,
            "stable": stable,
            "health": {"soakSeconds": 1},
        }
        if canary:
            spec["canary"] = {**canary, "attempt": 1, "cutoffs": EVERYBODY}
        body = {
            "apiVersion": "edgecanary.dev/v1alpha1",
            "kind": "ModelRelease",
            "metadata": {"name": MODEL},
            "spec": spec,
        }
        path = f"{GROUP}/namespaces/{NAMESPACE}/modelreleases/{MODEL}?fieldManager=test&force=true"
        self.control_plane.admin.patch(path, body, content_type=APPLY_PATCH)

    def status(self) -> EdgeNodeStatus:
        """What the node has reported; nothing when that is not to be had."""
        try:
            found = self.control_plane.admin.get(f"{GROUP}/namespaces/{SYSTEM}/edgenodes/n1")
        except (ApiError, OSError):
            return EdgeNodeStatus()
        return EdgeNodeStatus.model_validate(found.get("status", {}))

    def report(self) -> NodeModelStatus | None:
        models = self.status().models
        return models[0] if models else None

    def sandbox(self) -> set[str] | None:
        """The layers that the node reports; None before it does."""
        found = self.status().capabilities
        return set(found.probe_sandbox) if found and found.probe_sandbox else None

    def node_uid(self) -> str:
        """The UID of the Node object."""
        return str(self.control_plane.admin.get("/api/v1/nodes/n1")["metadata"]["uid"])

    def becomes(self, stated: JsonObject, state: ModelState = ModelState.ACTIVE) -> NodeModelStatus:
        """Waits until the node reports the revision active."""

        def look() -> NodeModelStatus | None:
            report = self.report()
            return report if report and (report.active, report.state) == (stated["revision"], state) else None

        return until(look, f"{stated['version']} {state}")

    def outbox_bytes(self) -> int:
        """What waits for remote write, on disk."""
        return sum(path.stat().st_size for path in (self.data / "remote-write").glob("*"))

    def answers_with(self, inputs: list[JsonObject] | None = None) -> str | None:
        """The revision that answers a request now, by default about a file's bytes."""
        inputs = inputs or [{"name": "bytes", "datatype": "INT32", "shape": [1, 2048], "data": [0] * 2048}]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.listen}/v2/models/{MODEL}/infer",
            data=json.dumps({"inputs": inputs}).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(json.load(answer)["model_version"])
        except OSError:
            return None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that these tests may break, with the rights and the guards that are installed."""
    with control_plane_in(tmp_path_factory.mktemp("cluster")) as control_plane:
        apply_rights(control_plane)
        yield control_plane


@pytest.fixture
def edge(
    cluster: ControlPlane, processes: Supervisor, s3: S3Server, bucket: str, tmp_path: Path
) -> Iterator[Edge]:
    cluster.start()
    cluster.create_namespace(NAMESPACE)
    create_node(cluster.admin, "n1", labels={"edge": "true"})
    token = tmp_path / "token"
    token.write_text(cluster.service_account_token(SYSTEM, "edgecanary-agent", node="n1"))
    found = Edge(cluster, processes, s3, bucket, tmp_path / "data", token, free_port())
    yield found
    if found.agent is not None:  # an API server that stops waits for those that watch it
        found.agent.stop()
    cluster.start()
    cluster.delete_namespace(NAMESPACE)
    cluster.kubectl("delete", "edgenodes", "--all", f"--namespace={SYSTEM}")
    delete_node(cluster.admin, "n1")


def test_a_release_is_served_a_canary_takes_over_and_is_taken_back(edge: Edge) -> None:
    fp32, int8 = edge.statement("fp32"), edge.statement("int8")
    edge.start()
    edge.release(fp32)
    report = edge.becomes(fp32)
    assert report.probe is not None
    assert report.probe.load_milliseconds > 0
    assert until(edge.sandbox, "the layers of the sandbox") >= {
        "Files",
        "Limits",
        "NoPrivileges",
        "SystemCalls",
    }
    assert edge.answers_with() == fp32["revision"]

    edge.release(fp32, canary=int8)
    assert edge.becomes(int8).previous == fp32["revision"]
    assert edge.answers_with() == int8["revision"]

    edge.release(fp32)
    edge.becomes(fp32)
    assert edge.answers_with() == fp32["revision"]


def test_a_model_that_fails_its_golden_cases_is_reverted_and_the_stable_one_goes_on_answering(
    edge: Edge,
) -> None:
    fp32, bad = edge.statement("fp32"), edge.statement("wrong-output-name")
    edge.start()
    edge.release(fp32)
    edge.becomes(fp32)
    edge.release(fp32, canary=bad)
    report = edge.becomes(fp32, ModelState.REVERTED)

    assert (report.result, report.reason) == ("ProbeFailed", "IOMismatch")
    assert report.rejected == (bad["revision"],)
    assert edge.answers_with() == fp32["revision"]


def test_an_agent_that_was_killed_serves_without_a_network_and_catches_up_later(edge: Edge) -> None:
    fp32, int8 = edge.statement("fp32"), edge.statement("int8")
    agent = edge.start()
    edge.release(fp32)
    edge.becomes(fp32)
    edge.control_plane.stop_api_server(kill=True)
    agent.kill()
    assert edge.answers_with() is None

    edge.start()
    assert until(edge.answers_with, "an answer without a network") == fp32["revision"]
    edge.control_plane.start()
    edge.release(fp32, canary=int8)

    edge.becomes(int8)
    assert edge.answers_with() == int8["revision"]


def test_an_agent_that_is_asked_to_stop_ends_well_and_its_successor_has_nothing_to_repair(edge: Edge) -> None:
    fp32 = edge.statement("fp32")
    agent = edge.start()
    edge.release(fp32)
    edge.becomes(fp32)
    assert agent.stop() == 0

    edge.start()
    assert until(edge.answers_with, "an answer of the successor") == fp32["revision"]


def test_a_report_names_its_node_and_a_node_made_anew_under_the_name_is_reported_for_anew(edge: Edge) -> None:
    agent, first = edge.start(), edge.node_uid()
    until(lambda: edge.status().node_uid == first or None, "a report about the Node")
    assert agent.stop() == 0
    delete_node(edge.control_plane.admin, "n1")
    create_node(edge.control_plane.admin, "n1", labels={"edge": "true"})
    second = edge.node_uid()
    assert second != first
    assert edge.status().node_uid == first, "stale until the agent speaks"

    edge.start()
    until(lambda: edge.status().node_uid == second or None, "a report about the new Node")


def test_a_second_agent_on_the_same_data_directory_ends_with_a_clear_error(edge: Edge) -> None:
    first = edge.start()
    until(lambda: (edge.data / "lock").exists() or None, "the first agent")
    until(lambda: edge.report() is None or None, "the first agent")
    command = [sys.executable, "-m", "edgecanary", "agent", "--node", "n1", "--data-dir", str(edge.data)]
    command += ["--listen", f"127.0.0.1:{free_port()}", "--metrics-address", f"127.0.0.1:{free_port()}"]
    command += ["--kubeconfig", str(edge.control_plane.kubeconfig())]
    second = edge.processes.start("second", command, env={"PYTHONPATH": "operator"})

    assert second.wait(timeout=60) == 1
    assert "another agent uses this data directory" in second.log_tail()
    assert first.running


def test_a_committed_model_that_goes_bad_without_a_network_gives_way_and_is_reported_when_it_is_back(
    edge: Edge,
) -> None:
    good, bad = tiny(edge, "1.0.0", adding_model(1)), tiny(edge, "2.0.0", root_model())
    edge.start()
    edge.release(good)
    edge.becomes(good)
    edge.release(good, canary=bad)
    edge.becomes(bad)
    edge.control_plane.stop_api_server(kill=True)
    assert [answered(edge, 1.0) for _ in range(3)] == [bad["revision"]] * 3

    def goes_back() -> str | None:
        """Asks for the root of a negative number, as long as there is no answer."""
        return answered(edge, -1.0)

    assert until(goes_back, "an answer of another revision") == good["revision"]
    edge.control_plane.start()
    report = edge.becomes(good, ModelState.REVERTED)

    assert (report.result, report.reason) == ("HealthFailed", "TooManyNotFinite")
    assert report.rejected == (bad["revision"],)
    assert answered(edge, 1.0) == good["revision"]


def test_what_an_agent_counted_before_it_was_killed_reaches_prometheus_after_both_are_back(
    edge: Edge, prometheus: Prometheus
) -> None:
    counted = 'edgecanary_requests_total{node="n1",outcome="ok",site="hamburg"}'

    def pushed(expression: str, value: float) -> bool | None:
        return prometheus.value(expression) == value or None

    flags = ["--remote-write", prometheus.remote_write_url, "--remote-write-seconds", "0.5"]
    flags += ["--remote-write-label", "site=hamburg"]
    fp32 = edge.statement("fp32")
    agent = edge.start(*flags)
    edge.release(fp32)
    edge.becomes(fp32)
    edge.answers_with()
    until(lambda: pushed(counted, 1), "the first request's count")

    prometheus.stop()
    assert [edge.answers_with() for _ in range(4)] == [fp32["revision"]] * 4
    waiting = edge.outbox_bytes()
    until(lambda: edge.outbox_bytes() > 2 * waiting or None, "more samples in the outbox")
    agent.kill()
    edge.start(*flags)
    assert until(edge.answers_with, "an answer of the successor") == fp32["revision"]
    prometheus.start()
    until(lambda: pushed(f"max_over_time({counted}[5m])", 5), "the counts of the one that was killed")
    until(lambda: pushed(counted, 1), "the counts of its successor")


def tiny(edge: Edge, version: str, model: bytes) -> JsonObject:
    """A revision of a small model, in the bucket."""

    def publish(path: str, data: bytes) -> str:
        edge.s3.put(edge.bucket, path.lstrip("/"), data)
        return edge.s3.presigned_url(edge.bucket, path.lstrip("/"))

    return statement(version, publish=publish, files={"model.onnx": model}).to_json()


def answered(edge: Edge, number: float) -> str | None:
    """The revision that answers a row of the number; None when it fails."""
    row: list[JsonObject] = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [number] * 4}]
    return edge.answers_with(row)
