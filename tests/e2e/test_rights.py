"""The roles of the chart grant what operator and agents use, and nothing else: held against the audit log."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.access import Access
from edgecanary.clients.events import EventRecorder, Subject
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import ROLLOUTS
from edgelab.audit import Request
from edgelab.errors import ApiError
from edgelab.fleet import Fleet, wait_for
from edgelab.fleet.access import AGENT_ACCOUNT, OPERATOR_USER, SYSTEM_NAMESPACE, operator_access
from edgelab.install import installed
from edgelab.paths import ROOT
from tests.e2e.scene import NAME, Scene

AGENT = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{AGENT_ACCOUNT}"
Right = tuple[str, str]
"""A resource and a verb, such as ("rollouts/status", "update")."""


def _operator_elects() -> bool:
    """Whether this operator knows leaders; one that does not cannot use a Lease."""
    command = [sys.executable, "-m", "edgecanary", "operator", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT / "operator").stdout
    return "--leader-elect" in said


def granted(account: str) -> set[Right]:
    """What the installed roles allow an account of the system namespace."""
    roles = {
        (role["kind"], role["metadata"]["name"]): role["rules"] for role in installed({"Role", "ClusterRole"})
    }
    found: set[Right] = set()
    for binding in installed({"RoleBinding", "ClusterRoleBinding"}):
        if account in [subject["name"] for subject in binding["subjects"]]:
            reference = binding["roleRef"]
            found |= set(_rights(roles[reference["kind"], reference["name"]]))
    return found


def _rights(rules: Iterable[JsonObject]) -> Iterator[Right]:
    for rule in rules:
        for resource in cast("list[str]", rule["resources"]):
            for verb in cast("list[str]", rule["verbs"]):
                yield resource, verb


class _Clock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


UNSEEN: set[Right] = {("edgenodes", "create")}
"""What an apply that makes the object needs, and the audit log calls patch."""


@pytest.fixture
def asked(fleet: Fleet, scene: Scene) -> list[Request]:
    """What operator and agents ask for: from their start, through a promotion and a rollback, to a repeated Event."""
    since = datetime.now(UTC)
    elects = ("--leader-elect", f"--leader-election-namespace={SYSTEM_NAMESPACE}")
    flags = (*fleet.settings.operator_flags, *(elects if _operator_elects() else ()))
    fleet.restart_operator(flags)
    node, agent = next(iter(fleet.agents.items()))
    agent.stop()
    fleet.control_plane.admin.delete(_report(node))
    agent.start()
    scene.begin("fp32")
    scene.subject.wait("a bad version is taken back", lambda: _taken_back(scene))
    _repeat_an_event(fleet, scene)
    wait_for("the node reports again", lambda: _exists(fleet, node))
    # A watch is in the log when it has ended.
    fleet.restart_operator(flags)
    agent.stop()
    return [request for request in fleet.control_plane.audit_log.requests() if request.time >= since]


def _taken_back(scene: Scene) -> bool:
    revision = scene.publish("int8-careless")
    scene.subject.rolled_back(revision)
    return True


def _report(node: str) -> str:
    return f"/apis/edgecanary.dev/v1alpha1/namespaces/{SYSTEM_NAMESPACE}/edgenodes/{node}"


def _exists(fleet: Fleet, node: str) -> bool:
    try:
        fleet.control_plane.admin.get(_report(node))
    except ApiError:
        return False
    return True


def _repeat_an_event(fleet: Fleet, scene: Scene) -> None:
    """The operator's own recorder says the same a minute later, which it counts in the Event."""
    kube = KubeClient(Access.find(kubeconfig=operator_access(fleet.control_plane)), user_agent="test")
    found = scene.subject.rollout().metadata
    about = Subject(ROLLOUTS, scene.subject.namespace, NAME, found.uid)
    now = datetime.now(UTC)
    for moment in (now, now + timedelta(minutes=1)):
        EventRecorder(kube, _Clock(moment), instance="test").record(about, _Repeated())


class _Repeated:
    reason = "Repeated"
    message = "the same words"
    warning = False


def test_what_is_granted_is_used_and_nothing_is_denied(asked: list[Request]) -> None:
    for user, account in ((OPERATOR_USER, "edgecanary-operator"), (AGENT, AGENT_ACCOUNT)):
        own = [request for request in asked if request.user == user]
        denied = {f"{request.verb} {request.resource}" for request in own if request.code in (401, 403)}
        assert denied == set(), account
        used = {(request.resource, request.verb) for request in own}
        rights = granted(account) - UNSEEN
        if not _operator_elects():
            rights -= {("leases", verb) for verb in ("get", "create", "update")}
        assert rights - used == set(), f"{account}: granted and not used"
        assert used - rights == set(), f"{account}: used and not granted"
