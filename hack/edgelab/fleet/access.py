"""Who is who in the lab's cluster: the roles of config/rbac, and an identity for each program."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import LabError
from edgelab.paths import ROOT

SYSTEM_NAMESPACE = "edgecanary-system"
OPERATOR_USER = "edgecanary:operator"
AGENT_GROUP = "edgecanary:agents"
_RBAC = ROOT / "config" / "rbac"


def agent_user(node: str) -> str:
    """The user that the node's agent is to the API server."""
    return f"edgecanary:agent:{node}"


def apply_roles(control_plane: ControlPlane) -> None:
    """Apply config/rbac, and bind its roles to the lab's users as it binds them to its service accounts.

    Raises:
        KubectlError: the API server refused a manifest.
        LabError: a manifest does not hold the ClusterRole that is looked for.
    """
    if SYSTEM_NAMESPACE not in control_plane.kubectl("get", "namespaces", "-o", "name"):
        control_plane.create_namespace(SYSTEM_NAMESPACE)
    control_plane.kubectl("apply", "--server-side", f"--filename={_RBAC}")
    _bind(control_plane, "operator", {"kind": "User", "name": OPERATOR_USER})
    _bind(control_plane, "agent", {"kind": "Group", "name": AGENT_GROUP})


def operator_access(control_plane: ControlPlane) -> Path:
    """A kubeconfig for the operator."""
    return control_plane.kubeconfig(OPERATOR_USER, (), namespace=SYSTEM_NAMESPACE)


def agent_access(control_plane: ControlPlane, node: str) -> Path:
    """A kubeconfig for the node's agent."""
    return control_plane.kubeconfig(agent_user(node), (AGENT_GROUP,), namespace=SYSTEM_NAMESPACE)


def _bind(control_plane: ControlPlane, program: str, subject: JsonObject) -> None:
    """Bind every role that config/rbac gives the program's service account to a subject of the lab."""
    path = _RBAC / f"{program}.yaml"
    bindings = [item for item in _documents(path) if item["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    if not bindings:
        raise LabError(f"{path} binds no role")
    for binding in bindings:
        own = {
            **binding,
            "metadata": {**binding["metadata"], "name": f"lab-{binding['metadata']['name']}"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", **subject}],
        }
        control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump(own))


def _documents(path: Path) -> Sequence[JsonObject]:
    with path.open() as text:
        return [document for document in yaml.safe_load_all(text) if document]
