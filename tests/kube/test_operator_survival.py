"""The operator survives what happens to clusters: restarts, kills, hangs, expired watches, strangers' writes."""

import json
import re
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, MODEL_RELEASES, NODES, ROLLOUTS
from edgelab import nodes
from edgelab.controlplane import ControlPlane
from edgelab.install import GUARDS, apply_rights
from edgelab.modelzoo import ZooModel
from edgelab.paths import ROOT
from edgelab.processes import Supervisor
from edgelab.s3 import S3Server
from tests.kube.operator_lab import OPERATOR, Fleet, OperatorLab, until

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def roles(breakable_control_plane: ControlPlane) -> None:
    """The installed roles, on the control plane that may be broken."""
    apply_rights(breakable_control_plane, but=GUARDS)


@pytest.fixture
def own_lab(
    breakable: ControlPlane, roles: None, processes: Supervisor, s3: S3Server
) -> Iterator[OperatorLab]:
    """A lab on the control plane that may be broken."""
    namespace = f"survival-{uuid.uuid4().hex[:12]}"
    breakable.create_namespace(namespace)
    lab = OperatorLab(breakable, processes, namespace)
    lab.secret(s3.environment)
    yield lab
    breakable.start()
    lab.process.stop()
    lab.remove_nodes()


def begin(lab: OperatorLab, s3: S3Server, bucket: str, model: ZooModel) -> Fleet:
    """A model whose first step waits for its node."""
    lab.add_nodes(*NAMES)
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, model))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.start()
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating")
    return Fleet(lab, NAMES)


def offline(lab: OperatorLab) -> object:
    status = cast("JsonObject", lab.get(ROLLOUTS)["status"])
    return cast("JsonObject", status["nodes"])["offline"]


def test_an_api_server_that_restarts_is_found_again_by_watches_and_writes(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = own_lab, begin(own_lab, s3, bucket, tiny)
    for _ in range(2):
        restart_api_server(lab)
    nodes.set_ready(lab.api, lab.node("a"), "Unknown")
    until("the watch tells of the node", lambda: offline(lab) == 1)
    nodes.set_ready(lab.api, lab.node("a"), "True")
    fleet.obey_until("Promoted")
    assert lab.process.running


def test_an_api_server_that_is_away_when_the_operator_starts_is_waited_for(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = own_lab
    lab.add_nodes("a")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.control_plane.stop_api_server(kill=True)
    lab.start(ready=False)
    until(
        "it lives and is not ready", lambda: (lab.probe("/healthz")[0], lab.probe("/readyz")[0]) == (200, 503)
    )
    lab.control_plane.start()
    Fleet(lab, ("a",)).obey_until("Promoted")


def test_a_frozen_api_server_is_waited_for(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = own_lab, begin(own_lab, s3, bucket, tiny)
    lab.control_plane.api_server.pause()
    time.sleep(3)
    assert lab.probe("/healthz") == (200, "ok\n"), "what is outside does not make it ill"
    lab.control_plane.api_server.resume()
    fleet.obey_until("Promoted")


def test_a_watch_that_expired_while_the_server_was_away_begins_anew(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    """While the operator sleeps its connection breaks, and a later server knows nothing that old any more (410).

    What was deleted in between is told by nobody.
    """
    lab, fleet = own_lab, begin(own_lab, s3, bucket, tiny)
    nodes.create_node(lab.api, "ghost", labels={"lab": lab.label})
    until("the ghost is seen", lambda: targeted(lab) == 4)
    lab.process.pause()
    restart_api_server(lab)
    nodes.delete_node(lab.api, "ghost")
    for number in range(20):
        nodes.set_labels(lab.api, lab.node("a"), {"edgecanary.test/round": str(number)})
    restart_api_server(lab)
    lab.process.resume()
    until("the ghost is gone", lambda: targeted(lab) == 3)
    fleet.obey_until("Promoted")


def restart_api_server(lab: OperatorLab) -> None:
    lab.control_plane.stop_api_server(kill=True)
    lab.control_plane.start()


def targeted(lab: OperatorLab) -> object:
    status = cast("JsonObject", lab.get(ROLLOUTS)["status"])
    return cast("JsonObject", status["nodes"])["targeted"]


def test_kinds_that_are_not_installed_yet_are_asked_for_and_waited_for(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = own_lab
    lab.control_plane.kubectl("delete", "-f", str(ROOT / "crds"))
    lab.start(ready=False)
    until("advice in the log", lambda: "kubectl apply --server-side -f crds/" in lab.log())
    lab.control_plane.apply_crds(ROOT / "crds")
    lab.add_nodes("a")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    Fleet(lab, ("a",)).obey_until("Promoted")


def test_kinds_that_are_removed_and_installed_again_one_by_one_are_watched_again(
    own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = own_lab
    begin(lab, s3, bucket, tiny)
    lab.control_plane.kubectl("delete", "-f", str(ROOT / "crds"))
    until("the watches give up", lambda: "the watches ended" in lab.log())
    for path in sorted((ROOT / "crds").glob("*_edge*.yaml")):
        lab.control_plane.apply_crds(path)
    waits = (
        "does not serve modelreleases.edgecanary.dev, rollouts.edgecanary.dev; the watches begin when it does"
    )
    until("half of them are not enough", lambda: waits in lab.log())
    lab.control_plane.apply_crds(ROOT / "crds")
    until(
        "the new kinds are served",
        lambda: lab.api.get(lab.path(ROLLOUTS)) and lab.api.get(lab.path(EDGE_MODELS)),
    )
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    Fleet(lab, NAMES).obey_until("Promoted")


def test_an_operator_that_is_killed_again_and_again_ends_where_one_that_lives_does(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = stocked_lab, begin(stocked_lab, s3, bucket, tiny)
    for delay in (0.0, 0.05, 0.15, 0.3, 0.6, 1.0):
        fleet.obey()
        time.sleep(delay)
        lab.process.kill()
        lab.start()
    fleet.obey_until("Promoted")
    for reason in ("RolloutStarted", "Promoted"):
        assert [event["count"] for event in lab.events(reason)] == [1], reason
    assert lab.release().spec.sequence == 3, "first step, second step, promotion"


def test_strangers_writes_between_two_of_ours_lose_nothing(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = stocked_lab, begin(stocked_lab, s3, bucket, tiny)
    for number in range(40):
        lab.annotate(f"note-{number % 5}", str(number))
        fleet.obey()
    fleet.obey_until("Promoted")
    annotations = cast("JsonObject", lab.get(ROLLOUTS)["metadata"])["annotations"]
    assert {f"edgecanary.dev/note-{n}": str(35 + n) for n in range(5)} == annotations


def test_an_operator_that_slept_through_everything_wakes_up_to_the_truth(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab, fleet = stocked_lab, begin(stocked_lab, s3, bucket, tiny)
    lab.process.pause()
    fleet.obey()
    lab.annotate("abort", "while-it-slept")
    nodes.delete_node(lab.api, lab.node("b"))
    lab.process.resume()
    lab.until_ready(ROLLOUTS, "False", "RolledBack")
    until("the node is gone", lambda: targeted(lab) == 2)


def test_ghosts_are_removed_by_the_lists(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    """With lists every second, what the watch delivers and what the lists show must agree all the time."""
    lab = stocked_lab
    lab.add_nodes("a")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.start("--resync-seconds", "1")
    lab.until_ready(ROLLOUTS, "Unknown", "NodesUpdating")
    for _ in range(10):
        lab.add_nodes("b")
        until("two nodes", lambda: targeted(lab) == 2)
        nodes.delete_node(lab.api, lab.node("b"))
        until("one node", lambda: targeted(lab) == 1)
    assert lab.probe("/healthz")[0] == 200
    lists = lab.metric('edgecanary_operator_api_calls_total{outcome="ok",resource="nodes",verb="list"}')
    assert lists >= 3


def test_what_the_operator_may_not_do_is_said_with_the_rule_to_grant_and_done_when_it_is_granted(
    stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
) -> None:
    lab = stocked_lab
    user = f"poor-operator-{lab.namespace}"
    grant(
        lab, user, [rule for rule in rules(lab) if "modelreleases" not in rule["resources"]] + [READ_RELEASES]
    )
    lab.add_nodes("a")
    lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
    lab.create(ROLLOUTS, lab.rollout_spec())
    lab.start(user=user)
    wanted = (
        'grant a role with apiGroups: ["edgecanary.dev"], resources: ["modelreleases"], verbs: ["create"]'
    )
    until("the rule in the log", lambda: wanted in lab.log())
    assert lab.find(MODEL_RELEASES) is None
    grant(lab, user, rules(lab))
    Fleet(lab, ("a",)).obey_until("Promoted")
    lab.control_plane.kubectl("delete", "clusterrole,clusterrolebinding", user)


READ_RELEASES = {
    "apiGroups": ["edgecanary.dev"],
    "resources": ["modelreleases"],
    "verbs": ["get", "list", "watch"],
}


def rules(lab: OperatorLab) -> list[dict[str, list[str]]]:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    roles = [lab.api.get(f"{path}/{name}") for name in ("edgecanary-operator", "edgecanary-operator-nodes")]
    return [rule for role in roles for rule in cast("list[dict[str, list[str]]]", role["rules"])]


def grant(lab: OperatorLab, user: str, granted: list[dict[str, list[str]]]) -> None:
    group = "/apis/rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": user}, "rules": granted}
    if user in lab.control_plane.kubectl("get", "clusterroles", "-o", "name"):
        lab.api.patch(f"{group}/clusterroles/{user}", role)
        return
    lab.api.create(f"{group}/clusterroles", role)
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    lab.api.create(
        f"{group}/clusterrolebindings",
        {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]},
    )


class TestTheProcess:
    def test_it_serves_every_namespace_unless_it_is_told_which(
        self, own_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab = own_lab
        lab.add_nodes("a")
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        lab.create(ROLLOUTS, lab.rollout_spec())
        lab.start(everywhere=True)
        Fleet(lab, ("a",)).obey_until("Promoted")

    def test_it_works_with_a_service_accounts_token(
        self, stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel, tmp_path: Path
    ) -> None:
        lab = stocked_lab
        token = lab.control_plane.service_account_token("edgecanary-system", "edgecanary-operator")
        config = json.loads(lab.control_plane.kubeconfig().read_text())
        config["users"][0]["user"] = {"token": token}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        lab.add_nodes("a")
        lab.create(EDGE_MODELS, lab.upload(s3, bucket, tiny))
        lab.start("--kubeconfig", str(path))
        lab.create(ROLLOUTS, lab.rollout_spec())
        Fleet(lab, ("a",)).obey_until("Promoted")
        assert token not in lab.log()

    def test_it_ends_with_zero_when_it_is_asked_to(self, lab: OperatorLab) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            operator = lab.start()
            operator.signal(number)
            assert operator.wait(timeout=30) == 0

    def test_it_can_be_stopped_before_it_is_ready(self, own_lab: OperatorLab) -> None:
        own_lab.control_plane.stop_api_server(kill=True)
        operator = own_lab.start(ready=False)
        until("it answers", lambda: own_lab.probe("/healthz")[0] == 200)
        operator.signal(signal.SIGTERM)
        assert operator.wait(timeout=30) == 0

    def test_it_makes_the_system_namespace_when_there_is_none_and_it_may(self, own_lab: OperatorLab) -> None:
        lab = own_lab
        grant(lab, OPERATOR, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "create"]}])
        lab.start("--system-namespace", f"{lab.namespace}-new")
        until(
            "the namespace", lambda: f"{lab.namespace}-new" in lab.control_plane.kubectl("get", "namespaces")
        )
        assert (
            f"namespace {lab.namespace}-new, where nodes report, did not exist and was created" in lab.log()
        )

    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (("--url-ttl-seconds", "10"), "--url-ttl-seconds: must be 20 to 604800"),
            (("--metrics-address", "8080"), "--metrics-address: must be an address such as :8080"),
            (("--log-format", "xml"), "--log-format: must be one of text, json, got 'xml'"),
            (("--resync-seconds", "0"), "argument --resync-seconds: must be a number of seconds above 0"),
            (("--kubeconfig", "/nowhere"), "kubeconfig: /nowhere cannot be used"),
        ],
    )
    def test_a_wrong_flag_is_named_at_once(self, lab: OperatorLab, flags: tuple[str, ...], says: str) -> None:
        operator = lab.start(*flags, ready=False)
        assert operator.wait(timeout=30) in (1, 2)
        assert says in lab.log()

    def test_its_log_can_be_json(self, lab: OperatorLab) -> None:
        lab.start("--log-format", "json")
        until("the line", lambda: '"message": "ready: ' in lab.log())
        lines = [json.loads(line) for line in lab.log().splitlines() if line.startswith("{")]
        (ready,) = [line for line in lines if line["message"].startswith("ready: ")]
        assert ready.keys() == {"time", "level", "logger", "message"}

    def test_it_stays_within_its_memory(
        self, stocked_lab: OperatorLab, s3: S3Server, bucket: str, tiny: ZooModel
    ) -> None:
        lab = stocked_lab
        begin(lab, s3, bucket, tiny).obey_until("Promoted")
        text = Path(f"/proc/{lab.process.pid}/status").read_text()
        resident = int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) // 1024
        assert resident < 150, f"{resident} MB"

    def test_nodes_and_agents_without_a_rollout_cost_nothing(self, lab: OperatorLab) -> None:
        lab.start()
        lab.add_nodes(*NAMES)
        Fleet(lab, NAMES).write("a", [])
        until("the agent is known", lambda: lab.find(EDGE_NODES, lab.node("a")))
        assert lab.api.get(NODES.path(name=lab.node("a")))["metadata"]["labels"]["lab"] == lab.label
        assert lab.metric('edgecanary_operator_reconcile_seconds_count{outcome="ok",queue="rollout"}') == 0
