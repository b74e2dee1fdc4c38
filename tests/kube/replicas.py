"""Two operators that stand for leader, and the journal of what the API server was told meanwhile."""

import itertools
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import CanaryStatement, ModelRelease
from edgecanary.api.rollout import Rollout
from edgecanary.clients.leases import LEASE_NAME
from edgecanary.clients.resources import LEASES, MODEL_RELEASES, ROLLOUTS, Resource
from edgelab.controlplane import ControlPlane
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor
from tests.kube.operator_lab import OperatorLab, until

SYSTEM = "edgecanary-system"
FLAGS = ("--leader-elect", "--leader-election-namespace", SYSTEM)


def patiently(what: str, condition: Callable[[], object]) -> None:
    """Waits as long as two takings-over and a start on a busy machine may last."""
    until(what, condition, seconds=240.0)


@dataclass
class Replica:
    """One of the two, with credentials of its own so that the audit log tells them apart."""

    user: str
    lab: OperatorLab
    network: Process
    """What lies between it and the API server."""
    config: Path

    def start(self) -> None:
        """Starts it, or lets it go on, with a network that works."""
        self.network.resume()
        if self.lab.operator is not None and self.lab.operator.running:
            self.lab.operator.resume()
        else:
            self.lab.start(*FLAGS, "--kubeconfig", str(self.config), everywhere=True, ready=False)
        patiently("it is ready", lambda: self.lab.probe("/readyz")[0] == 200)

    @property
    def process(self) -> Process:
        return self.lab.process

    @property
    def leads(self) -> bool:
        return self.lab.metric("edgecanary_leader") == 1


@dataclass
class Pair:
    """Both replicas and the control plane."""

    control_plane: ControlPlane
    replicas: list[Replica] = field(default_factory=list)

    def join(self, supervisor: Supervisor, folder: Path, user: str) -> None:
        """Adds a replica with the chart's roles, not started yet."""
        plane, port = self.control_plane, free_port()
        for role in ("edgecanary-operator", "edgecanary-operator-nodes"):
            name = f"{user}-{role}"
            plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--user={user}")
        plane.kubectl(
            *(
                "create",
                "rolebinding",
                user,
                "--role=edgecanary-operator-leader",
                f"--user={user}",
                f"--namespace={SYSTEM}",
            )
        )
        script = Path(__file__).with_name("forwarder.py")
        network = supervisor.start(f"network-{user}", [sys.executable, script, str(port), str(plane.port)])
        network.wait_ready(lambda: _listens(port))
        config = json.loads(plane.kubeconfig(user, ()).read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        path = folder / f"{user}.kubeconfig"
        path.write_text(json.dumps(config))
        lab = OperatorLab(plane, supervisor, SYSTEM, name=user)
        self.replicas.append(Replica(user, lab, network, path))

    def mend(self) -> Replica:
        """Everything runs again; the one that leads."""
        self.control_plane.start()
        for replica in self.replicas:
            replica.start()
        return self.leader()

    def leader(self) -> Replica:
        """The one that leads, once there is one."""
        patiently("one replica leads", lambda: [r for r in self.replicas if r.leads])
        return next(replica for replica in self.replicas if replica.leads)

    def other(self, replica: Replica) -> Replica:
        return next(each for each in self.replicas if each is not replica)

    def lease_path(self) -> str:
        return LEASES.path(namespace=SYSTEM, name=LEASE_NAME)

    def lease(self) -> JsonObject:
        return cast("JsonObject", self.control_plane.admin.get(self.lease_path())["spec"])


@dataclass
class Journal:
    """All versions of a namespace's releases and Rollouts since it was begun, as a watch tells them."""

    lab: OperatorLab
    since: str = ""

    def __post_init__(self) -> None:
        self.since = str(self.lab.api.get(self.lab.path(ROLLOUTS))["metadata"]["resourceVersion"])

    def releases(self) -> list[ModelRelease]:
        return [ModelRelease.model_validate(body) for body in self._versions(MODEL_RELEASES)]

    def rollouts(self) -> list[Rollout]:
        return [Rollout.model_validate(body) for body in self._versions(ROLLOUTS)]

    def _versions(self, resource: Resource) -> Iterator[JsonObject]:
        query = f"watch=true&resourceVersion={self.since}&timeoutSeconds=2"
        lines = self.lab.control_plane.kubectl("get", "--raw", f"{self.lab.path(resource)}?{query}")
        for line in lines.splitlines():
            event = json.loads(line)
            assert event["type"] in ("ADDED", "MODIFIED"), event
            yield event["object"]


def check_nothing_skipped_repeated_or_lost(journal: Journal, *, steps: int) -> None:
    """Each step was told to nodes once and in order, and no status ever went back."""
    releases = journal.releases()
    told = [release.spec for release in releases]
    different = [spec for n, spec in enumerate(told) if n == 0 or spec != told[n - 1]]
    assert [spec.sequence for spec in different] == list(range(1, steps + 2)), (
        "one release for each step, and the end"
    )
    assert [spec.canary is not None for spec in different] == [True] * steps + [False]
    canaries = [spec.canary for spec in different if spec.canary is not None]
    assert [canary.step for canary in canaries] == list(range(steps)), "no step is left out"
    for before, after in itertools.pairwise(canaries):
        assert before.revision == after.revision
        assert _reach(before) < _reach(after), "each step reaches further"
    statuses = [rollout.status for rollout in journal.rollouts()]
    entered = [status.step.index for status in statuses if status.step is not None]
    # An operator that is killed between a release and its status may be followed by one that finds the step over.
    assert entered == sorted(entered), "no step is entered again after a later one"
    assert entered[-1] == steps - 1
    lengths = [len(status.history) for status in statuses]
    assert lengths == sorted(lengths)
    assert [(entry.outcome, entry.attempt) for entry in statuses[-1].history] == [("Promoted", 1)]


def _reach(canary: CanaryStatement) -> int:
    return sum(int(cutoff.below, 16) for cutoff in canary.cutoffs)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
