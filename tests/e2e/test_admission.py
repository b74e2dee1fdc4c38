"""The ValidatingAdmissionPolicy of the chart on a real API server: whose credentials may write whose EdgeNode."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from edgelab.api import APPLY_PATCH, ApiClient, JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.fleet import Fleet
from edgelab.fleet.access import AGENT_ACCOUNT, SYSTEM_NAMESPACE, agent_client
from edgelab.nodes import create_node, delete_node

EDGE_NODES = f"/apis/edgecanary.dev/v1alpha1/namespaces/{SYSTEM_NAMESPACE}/edgenodes"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = ("test-writer", "test-deleter")
TOLD = "must be written by the agent of that node"


@pytest.fixture(scope="module")
def plane(fleet: Fleet) -> Iterator[ControlPlane]:
    """The fleet's control plane with two Nodes more, which no rollout selects."""
    found = fleet.control_plane
    for name in ("n1", "n2"):
        create_node(found.admin, name)
    _bind_users(found)
    _wait_for_the_policy(found)
    yield found
    for role in ROLES:
        for kind in ("clusterrolebindings", "clusterroles"):
            found.admin.delete(f"{RBAC}/{kind}/{role}")
    for name in ("n1", "n2"):
        delete_node(found.admin, name)
    for name in ("n1", "n2"):
        with contextlib.suppress(ApiError):
            found.admin.delete(f"{EDGE_NODES}/{name}")


def _bind_users(plane: ControlPlane) -> None:
    """Gives the agent's role, and deleting on top, to users who have no token."""
    admin = plane.admin
    admin.create(
        f"{RBAC}/clusterroles",
        {
            "metadata": {"name": "test-writer"},
            "rules": [
                {
                    "apiGroups": ["edgecanary.dev"],
                    "resources": ["edgenodes", "edgenodes/status"],
                    "verbs": ["get", "create", "patch"],
                }
            ],
        },
    )
    admin.create(
        f"{RBAC}/clusterroles",
        {
            "metadata": {"name": "test-deleter"},
            "rules": [
                {
                    "apiGroups": ["edgecanary.dev"],
                    "resources": ["edgenodes", "edgenodes/status"],
                    "verbs": ["delete", "deletecollection"],
                }
            ],
        },
    )
    account = {"kind": "ServiceAccount", "name": AGENT_ACCOUNT, "namespace": SYSTEM_NAMESPACE}
    cleaner = {"kind": "ServiceAccount", "name": "namespace-controller", "namespace": "kube-system"}
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io"}
    subjects = [account, cleaner, {**group, "name": "system:nodes"}, {**group, "name": "plain"}]
    for role in ROLES:
        admin.create(
            f"{RBAC}/clusterrolebindings",
            {
                "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": subjects,
            },
        )


def _wait_for_the_policy(plane: ControlPlane) -> None:
    """A policy holds a moment after it was applied."""
    plain, end = plane.client("somebody", ("plain",)), time.monotonic() + 60
    while time.monotonic() < end:
        try:
            write(plain, f"probe-{uuid.uuid4().hex[:8]}")
        except ApiError as error:
            if TOLD in str(error):
                return
        time.sleep(0.1)
    raise AssertionError("the policy was applied and never held")


def write(client: ApiClient, name: str) -> None:
    """Applies an EdgeNode as agents do: the object, then its status."""
    head: JsonObject = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "EdgeNode",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
    }
    query = "fieldManager=test&force=true"
    client.patch(f"{EDGE_NODES}/{name}?{query}", head, content_type=APPLY_PATCH)
    status = {**head, "status": {"agentVersion": "1"}}
    client.patch(f"{EDGE_NODES}/{name}/status?{query}", status, content_type=APPLY_PATCH)


def by_node_token(plane: ControlPlane) -> ApiClient:
    return agent_client(plane, "n1")


def by_pod_token(plane: ControlPlane) -> ApiClient:
    name = f"agent-{uuid.uuid4().hex[:8]}"
    pod = {
        "metadata": {"name": name},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": AGENT_ACCOUNT,
            "containers": [{"name": "agent", "image": "agent"}],
        },
    }
    plane.admin.create(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods", pod)
    token = plane.service_account_token(SYSTEM_NAMESPACE, AGENT_ACCOUNT, pod=name)
    return plane.token_client(token)


def by_node_user(plane: ControlPlane) -> ApiClient:
    return plane.client("system:node:n1", ("system:nodes",))


def by_free_token(plane: ControlPlane) -> ApiClient:
    return plane.token_client(plane.service_account_token(SYSTEM_NAMESPACE, AGENT_ACCOUNT))


def by_plain_user(plane: ControlPlane) -> ApiClient:
    return plane.client("somebody", ("plain",))


def by_false_node_user(plane: ControlPlane) -> ApiClient:
    return plane.client("system:node:n1", ("plain",))


OF_N1: list[Callable[[ControlPlane], ApiClient]] = [by_node_token, by_pod_token, by_node_user]
OF_NOBODY: list[Callable[[ControlPlane], ApiClient]] = [by_free_token, by_plain_user, by_false_node_user]
WAYS: dict[str, Callable[[ApiClient, str], object]] = {
    "create": lambda client, name: client.create(EDGE_NODES, {**_body(name)}),
    "merge patch": lambda client, name: client.patch(
        f"{EDGE_NODES}/{name}", {"metadata": {"labels": {"a": "b"}}}
    ),
    "apply": lambda client, name: client.patch(
        f"{EDGE_NODES}/{name}?fieldManager=x&force=true", _body(name), content_type=APPLY_PATCH
    ),
    "status": lambda client, name: client.patch(
        f"{EDGE_NODES}/{name}/status", {"status": {"agentVersion": "forged"}}
    ),
    "delete": lambda client, name: client.delete(f"{EDGE_NODES}/{name}"),
}


def _body(name: str) -> JsonObject:
    return {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "EdgeNode",
        "metadata": {"name": name, "labels": {"a": "c"}},
    }


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(ApiError) as caught:
        action()
    assert caught.value.status == 403
    assert TOLD in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("who", OF_N1)
def test_an_agent_writes_its_own_node(plane: ControlPlane, who: Callable[[ControlPlane], ApiClient]) -> None:
    client = who(plane)
    write(client, "n1")
    write(client, "n1")
    client.delete(f"{EDGE_NODES}/n1")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", [*OF_N1, *OF_NOBODY])
def test_nobody_elses_credentials_write_a_node(
    plane: ControlPlane, who: Callable[[ControlPlane], ApiClient], way: str
) -> None:
    client = who(plane)
    if way != "create":
        write(plane.admin, "n2")
    told = refused(lambda: WAYS[way](client, "n2" if way != "create" else "n3"))
    assert ("are those of node 'n1'" if who in OF_N1 else "name no node") in told


def test_nobody_elses_credentials_empty_the_namespace(plane: ControlPlane) -> None:
    write(plane.admin, "n2")
    refused(lambda: by_node_token(plane).delete(EDGE_NODES))
    assert plane.admin.get(f"{EDGE_NODES}/n2")["kind"] == "EdgeNode"


def test_a_name_that_the_server_makes_up_is_no_way_around(plane: ControlPlane) -> None:
    body = {**_body("n1"), "metadata": {"generateName": "n1"}}
    refused(lambda: by_node_token(plane).create(EDGE_NODES, body))


def test_an_administrator_and_the_clusters_own_cleaner_may(plane: ControlPlane) -> None:
    write(plane.admin, "n2")
    cleaner = plane.client(
        "system:serviceaccount:kube-system:namespace-controller",
        ("system:serviceaccounts", "system:serviceaccounts:kube-system"),
    )
    refused(lambda: WAYS["merge patch"](cleaner, "n2"))
    cleaner.delete(f"{EDGE_NODES}/n2")
