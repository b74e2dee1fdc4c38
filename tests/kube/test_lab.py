"""The local control plane behaves as a real one, also when it is restarted, frozen or killed."""

import pytest

from edgelab import nodes
from edgelab.api import ApiClient
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError, KubectlError, ProcessError
from edgelab.fixtures import NewControlPlane

GRANT = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: writer, namespace: {namespace}}}
rules: [{{apiGroups: [""], resources: [configmaps], verbs: [create]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: writer, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: "{name}"}}]
"""


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"key": "value"}}


def config_maps(client: ApiClient, namespace: str) -> list[str]:
    items = client.get(f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    return [item["metadata"]["name"] for item in items]


def test_the_api_server_is_the_pinned_minor_version(control_plane: ControlPlane) -> None:
    version = control_plane.admin.get("/version")
    assert (version["major"], version["minor"]) == ("1", "37")


def test_a_user_without_a_role_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    stranger = control_plane.client("stranger")
    with pytest.raises(ApiError, match='User "stranger" cannot list resource "configmaps"') as refusal:
        config_maps(stranger, namespace)
    assert refusal.value.status == 403


def test_a_user_without_a_certificate_of_the_lab_is_refused(
    control_plane: ControlPlane, new_control_plane: NewControlPlane
) -> None:
    foreign = ApiClient(control_plane.url, new_control_plane().credentials("lab-admin", ["system:masters"]))
    with pytest.raises(OSError, match="certificate verify failed"):
        foreign.get("/api/v1/namespaces")


@pytest.mark.parametrize(("kind", "name"), [("User", "ann"), ("Group", "team/one+two")])
def test_a_role_bound_to_a_user_or_to_a_group_takes_effect(
    control_plane: ControlPlane, namespace: str, kind: str, name: str
) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=GRANT.format(namespace=namespace, kind=kind, name=name))
    user, groups = ("ann", ()) if kind == "User" else ("member", (name,))
    control_plane.client(user, groups).create(f"/api/v1/namespaces/{namespace}/configmaps", config_map("one"))
    assert "one" in config_maps(control_plane.admin, namespace)


def test_kubectl_acts_as_the_user_of_the_kubeconfig(control_plane: ControlPlane, namespace: str) -> None:
    config = control_plane.kubeconfig("stranger", (), namespace=namespace)
    with pytest.raises(KubectlError, match='"stranger" cannot list resource "secrets"'):
        control_plane.kubectl("get", "secrets", user_config=config)


def test_a_service_account_token_identifies_its_account(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "agent", f"--namespace={namespace}")
    token = control_plane.service_account_token(namespace, "agent")
    review = control_plane.admin.create(
        "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}
    )
    assert review["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:agent"


def test_a_restart_keeps_objects_address_and_identities(breakable: ControlPlane) -> None:
    breakable.admin.create("/api/v1/namespaces/default/configmaps", config_map("kept-a"))
    address = breakable.url
    breakable.stop()
    breakable.start()
    assert breakable.url == address
    assert "kept-a" in config_maps(breakable.admin, "default")


def test_an_api_server_killed_with_signal_9_comes_back_with_its_objects(breakable: ControlPlane) -> None:
    breakable.admin.create("/api/v1/namespaces/default/configmaps", config_map("kept-b"))
    breakable.stop_api_server(kill=True)
    assert not breakable.admin.is_ready()
    breakable.start()
    assert "kept-b" in config_maps(breakable.admin, "default")


def test_starting_wakes_an_api_server_that_hangs(breakable: ControlPlane) -> None:
    breakable.api_server.pause()
    breakable.start()
    assert breakable.admin.is_ready()


def test_an_api_server_that_cannot_start_fails_with_its_own_words(new_control_plane: NewControlPlane) -> None:
    with pytest.raises(
        ProcessError, match=r"ended with exit code 1 .*\n(.*\n)*.*unknown flag: --no-such-flag"
    ):
        new_control_plane(api_server_args=["--no-such-flag"])


def test_the_audit_log_counts_writes_by_user_and_verb(new_control_plane: NewControlPlane) -> None:
    own = new_control_plane(audit=True)
    writer = own.client("writer", ["system:masters"])
    path = "/api/v1/namespaces/default/configmaps"
    writer.create(path, config_map("one"))
    writer.create(path, config_map("two"))
    writer.patch(f"{path}/one", {"data": {"key": "other"}})
    config_maps(writer, "default")
    assert {who: n for who, n in own.audit_log.writes_by_user().items() if who[0] == "writer"} == {
        ("writer", "create"): 2,
        ("writer", "patch"): 1,
    }
    seen = [request for request in own.audit_log.requests() if request.user == "writer"]
    assert [(request.verb, request.name, request.code) for request in seen] == [
        ("create", "one", 201),
        ("create", "two", 201),
        ("patch", "one", 200),
        ("list", "", 200),
    ]


@pytest.mark.parametrize("ready", ["True", "False", "Unknown"])
def test_a_node_says_whether_it_is_ready(control_plane: ControlPlane, ready: nodes.Readiness) -> None:
    name = f"node-{ready.lower()}"
    node = nodes.create_node(control_plane.admin, name, labels={"hardware": "vnni"}, ready=ready)
    nodes.delete_node(control_plane.admin, name)
    assert node["metadata"]["labels"]["hardware"] == "vnni"
    conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
    assert conditions == {"Ready": ready}


def test_a_namespace_is_gone_after_its_deletion(control_plane: ControlPlane) -> None:
    control_plane.create_namespace("short-lived")
    control_plane.delete_namespace("short-lived")
    with pytest.raises(ApiError, match="HTTP 404"):
        control_plane.admin.get("/api/v1/namespaces/short-lived")
