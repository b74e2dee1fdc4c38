"""A release's life with the real helm: install, upgrade while a rollout is under way, uninstall, adoption."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import yaml

from edgecanary.api.modelrelease import ModelReleaseSpec
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, ROLLOUTS
from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.fixtures import control_plane_in
from edgelab.helm import CHART, NAMESPACE, Helm, HelmError
from edgelab.modelzoo import ZooModel
from edgelab.paths import ROOT
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import Fleet, OperatorLab, until

TEAM = "plant"
NAMES = ("a", "b", "c")
KEPT = ("daemonset", "serviceaccount", "service", "networkpolicy")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster of these tests' own, in which nothing is installed."""
    with control_plane_in(tmp_path_factory.mktemp("releases"), definitions=False) as plane:
        plane.create_namespace(TEAM)
        yield plane


@pytest.fixture
def helm(cluster: ControlPlane, tmp_path: Path) -> Iterator[Helm]:
    """helm on the cluster, which is as before when the test ends."""
    found = Helm(tmp_path / "helm", cluster.kubeconfig())
    yield found
    if NAMESPACE in cluster.kubectl("get", "namespaces", "-o", "name"):
        found.run("uninstall", "edgecanary", f"--namespace={NAMESPACE}", "--ignore-not-found")
        cluster.kubectl("delete", ",".join(KEPT), f"--namespace={NAMESPACE}", "--all")
    cluster.kubectl("delete", "customresourcedefinitions", "--all", "--timeout=60s")


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The chart as a version before: without the field `priority`, with a role that is gone by now."""
    chart = tmp_path / "previous" / "edgecanary"
    shutil.copytree(CHART, chart)
    meta = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**meta, "version": "0.0.1", "appVersion": "0.0.1"}))
    file = chart / "files" / "crds" / "edgecanary.dev_rollouts.yaml"
    definition = yaml.safe_load(file.read_text())
    del _spec_of(definition)["priority"]
    file.write_text(yaml.safe_dump(definition))
    old = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "edgecanary-old"},
    }
    (chart / "templates" / "old.yaml").write_text(yaml.safe_dump(old))
    return chart


@pytest.fixture
def last_release(tmp_path: Path) -> Path:
    """The chart of the newest tag."""
    git = ("git", "-C", str(ROOT))
    found = subprocess.run(
        [*git, "describe", "--tags", "--abbrev=0", "--match=v*"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        pytest.skip(f"this checkout has no release to upgrade from: {found.stderr.strip()}")
    tag, archive = found.stdout.strip(), tmp_path / "release.tar"
    subprocess.run([*git, "archive", f"--output={archive}", tag, "charts/edgecanary"], check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / tag, filter="data")
    return tmp_path / tag / "charts" / "edgecanary"


@pytest.fixture
def lab(cluster: ControlPlane, processes: Supervisor) -> Iterator[OperatorLab]:
    """An operator with the rights of the release, and a fleet played by hand."""
    found = OperatorLab(cluster, processes, TEAM, system=NAMESPACE)
    yield found
    if found.operator is not None:
        found.operator.stop()
    found.remove_nodes()
    cluster.kubectl("delete", "secrets", "--all", f"--namespace={TEAM}")


def begin(lab: OperatorLab) -> None:
    """Starts the operator for all namespaces, as the release does."""
    lab.start(everywhere=True, ready=False)
    until("the operator is ready", lambda: lab.probe("/readyz")[0] == 200, seconds=300)


def _spec_of(definition: JsonObject) -> JsonObject:
    """The fields of the spec in a definition."""
    (version,) = definition["spec"]["versions"]
    return cast("JsonObject", version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def served_fields(cluster: ControlPlane) -> set[str]:
    found = cluster.kubectl("get", "crd", "rollouts.edgecanary.dev", "-o", "json")
    return set(_spec_of(json.loads(found)))


def identities(lab: OperatorLab) -> dict[str, str]:
    """The UID of every object of a kind of ours."""
    kinds = "edgemodels,rollouts,modelreleases,edgenodes"
    items = json.loads(lab.control_plane.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in items}


def standing(lab: OperatorLab) -> tuple[object, object, object, ModelReleaseSpec]:
    """Where the rollout stands: step with its start, attempt, canary, and what the nodes were told."""
    status: JsonObject = cast("JsonObject", lab.get(ROLLOUTS)["status"])
    return status["step"], status["attempt"], status["canary"], lab.release().spec


@dataclass
class Upgrade:
    """A rollout that waits for an approval while the release is upgraded."""

    lab: OperatorLab
    helm: Helm
    fleet: Fleet

    def begin(self, chart: Path, s3: S3Server, bucket: str, model: ZooModel) -> None:
        """Installs the chart and rolls out until a person has to say yes."""
        lab = self.lab
        self.helm.install(chart)
        lab.secret(s3.environment)
        lab.add_nodes(*NAMES)
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, model))
        manual: JsonObject = {"name": "one", "nodes": 1, "bakeSeconds": 0, "approval": "Manual"}
        lab.create(ROLLOUTS, lab.rollout_spec(manual, {"name": "all", "percent": 100, "bakeSeconds": 0}))
        begin(lab)
        self.fleet.obey_until("AwaitingApproval", seconds=300)

    def go_through(self) -> None:
        """Upgrades, looks whether everything is as it was, and lets the rollout go on to its end."""
        lab = self.lab
        before, known = standing(lab), identities(lab)
        assert len(known) == 3 + len(NAMES)
        notes = self.helm.upgrade()
        assert "is upgraded in namespace edgecanary-system" in notes
        lab.stop()
        begin(lab)
        until(
            "the new operator has looked", lambda: lab.ready(ROLLOUTS)[1] == "AwaitingApproval", seconds=300
        )
        assert (standing(lab), identities(lab)) == (before, known)
        lab.change(ROLLOUTS, {"spec": {"priority": 5}})
        lab.annotate("promote", "after-the-upgrade")
        self.fleet.obey_until("Promoted", seconds=300)
        assert identities(lab) == known
        assert lab.release().spec.sequence > before[-1].sequence


@pytest.fixture
def upgrade(lab: OperatorLab, helm: Helm) -> Upgrade:
    return Upgrade(lab, helm, Fleet(lab, NAMES))


def test_an_upgrade_in_the_middle_of_a_rollout_loses_nothing(
    upgrade: Upgrade, previous: Path, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    upgrade.begin(previous, s3, bucket, tiny)
    cluster = upgrade.lab.control_plane
    assert "priority" not in served_fields(cluster)
    upgrade.go_through()
    assert "priority" in served_fields(cluster)
    assert "edgecanary-old" not in cluster.kubectl("get", "clusterroles", "-o", "name")


def test_an_upgrade_from_the_last_release_in_the_middle_of_a_rollout_loses_nothing(
    upgrade: Upgrade, last_release: Path, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    upgrade.begin(last_release, s3, bucket, tiny)
    upgrade.go_through()


def test_uninstalling_keeps_models_reports_and_agents_and_a_new_release_takes_them_up(
    cluster: ControlPlane, lab: OperatorLab, helm: Helm
) -> None:
    notes = helm.install()
    assert "kubectl label node NODE edge=true" in notes
    assert f"helm test edgecanary -n {NAMESPACE}" in notes
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.create(EDGE_NODES, {}, "n1")
    known = identities(lab)
    kept = cluster.kubectl("get", ",".join(KEPT), f"--namespace={NAMESPACE}", "-o", "name")

    said = helm.uninstall()

    assert "kept due to the resource policy" in said
    for kept_part in ("the definitions", "the agents, which serve what they have", "/var/lib/edgecanary"):
        assert kept_part in notes
    assert identities(lab) == known
    stays = set(cluster.kubectl("get", ",".join(KEPT), f"--namespace={NAMESPACE}", "-o", "name").split())
    assert {name for name in kept.split() if name.endswith("-agent")} <= stays
    assert not [name for name in stays if name.endswith("-operator")]
    rights = cluster.kubectl("get", "clusterroles,clusterrolebindings,deployments", "-A", "-o", "name")
    assert "edgecanary" not in rights

    helm.install()

    assert identities(lab) == known
    assert "edgecanary" in cluster.kubectl("get", "deployments", f"--namespace={NAMESPACE}", "-o", "name")


def test_without_keeping_everything_goes(cluster: ControlPlane, lab: OperatorLab, helm: Helm) -> None:
    notes = helm.install(values={"crds": {"keep": False}, "agent": {"keep": False}})
    assert "crds.keep is false, so every EdgeModel, Rollout and report goes" in notes
    lab.create(ROLLOUTS, lab.rollout_spec())
    helm.uninstall()
    cluster.kubectl("wait", "--for=delete", "crd/rollouts.edgecanary.dev", "--timeout=60s")
    assert "edgecanary" not in cluster.kubectl("get", "daemonsets,deployments", "-A", "-o", "name")


def test_what_kubectl_installed_is_adopted_when_that_is_asked_for(
    cluster: ControlPlane, lab: OperatorLab, helm: Helm, previous: Path
) -> None:
    cluster.apply_crds(previous / "files" / "crds")
    lab.create(ROLLOUTS, lab.rollout_spec())
    uid = cast("JsonObject", lab.get(ROLLOUTS)["metadata"])["uid"]
    with pytest.raises(HelmError) as refused:
        helm.install()
    assert "exists and cannot be imported into the current release" in refused.value.stderr
    assert "edgecanary.dev" in refused.value.stderr

    helm.install(flags=("--take-ownership", "--force-conflicts"))

    assert "priority" in served_fields(cluster)
    assert cast("JsonObject", lab.get(ROLLOUTS)["metadata"])["uid"] == uid
    helm.upgrade()
    helm.uninstall()
    assert cast("JsonObject", lab.get(ROLLOUTS)["metadata"])["uid"] == uid


def test_all_that_kubectl_installed_becomes_a_release(cluster: ControlPlane, helm: Helm) -> None:
    cluster.kubectl("apply", f"--filename={ROOT / 'config' / 'install.yaml'}")
    before = cluster.kubectl("get", "daemonset,deployment", f"--namespace={NAMESPACE}", "-o", "name")
    helm.install(flags=("--take-ownership", "--force-conflicts"))
    after = cluster.kubectl("get", "daemonset,deployment", f"--namespace={NAMESPACE}", "-o", "name")
    assert before == after
    assert "edgecanary-operator" in after


def test_helm_test_passes_while_the_operator_answers_and_fails_when_it_does_not(
    lab: OperatorLab, helm: Helm, tmp_path: Path
) -> None:
    helm.install()
    begin(lab)
    with kubelet(lab, tmp_path / "passes") as log:
        helm.run("test", "edgecanary", f"--namespace={NAMESPACE}", "--timeout=120s")
    assert "ok      the operator is ready" in log.read_text()
    assert "ok      the API server serves rollouts.edgecanary.dev" in log.read_text()
    lab.stop()
    with kubelet(lab, tmp_path / "fails") as log, pytest.raises(HelmError):
        helm.run("test", "edgecanary", f"--namespace={NAMESPACE}", "--timeout=120s")
    assert "FAILED  the operator is ready" in log.read_text()
    assert "does not answer" in log.read_text()


@contextmanager
def kubelet(lab: OperatorLab, log: Path) -> Iterator[Path]:
    """Runs the container of the test's pod as a process on this machine, with the rights of its account."""
    done = threading.Event()
    thread = threading.Thread(target=_run_pod, args=(lab, log, done), daemon=True)
    thread.start()
    yield log
    done.set()
    thread.join()


def _run_pod(lab: OperatorLab, log: Path, done: threading.Event) -> None:
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    while not done.is_set():
        waiting = [pod for pod in lab.api.get(pods)["items"] if pod["status"]["phase"] == "Pending"]
        for pod in waiting:
            spec = pod["spec"]
            user = f"system:serviceaccount:{NAMESPACE}:{spec['serviceAccountName']}"
            address = f"http://127.0.0.1:{lab.metrics_port}"
            words = [f"--operator-url={address}" if "operator-url" in word else word for word in _args(spec)]
            command = [sys.executable, "-m", "edgecanary", *words, "--timeout-seconds=2"]
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT / "operator"),
                "KUBECONFIG": str(lab.control_plane.kubeconfig(user, ())),
            }
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            log.write_text(ended.stdout + ended.stderr)
            phase = "Succeeded" if ended.returncode == 0 else "Failed"
            lab.api.patch(f"{pods}/{pod['metadata']['name']}/status", {"status": {"phase": phase}})
        time.sleep(0.2)


def _args(spec: JsonObject) -> list[str]:
    (container,) = spec["containers"]
    return cast("list[str]", container["args"])
