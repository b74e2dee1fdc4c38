"""Who is who in the lab's cluster: config/rbac, config/admission, and an identity for each program."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from edgelab.api import ApiClient, JsonObject, Token, kubeconfig
from edgelab.controlplane import ControlPlane
from edgelab.errors import LabError
from edgelab.paths import ROOT

SYSTEM_NAMESPACE = "edgecanary-system"
OPERATOR_USER = "edgecanary:operator"
AGENT_ACCOUNT = "edgecanary-agent"
_CONFIG = ROOT / "config"
_RBAC = _CONFIG / "rbac"
_TOKEN_SECONDS = 7 * 24 * 3600


def apply_roles(control_plane: ControlPlane) -> None:
    """Apply config/rbac and config/admission, and bind the operator's roles to the lab's operator.

    Raises:
        KubectlError: the API server refused a manifest.
        LabError: a manifest does not hold the ClusterRole that is looked for.
    """
    if SYSTEM_NAMESPACE not in control_plane.kubectl("get", "namespaces", "-o", "name"):
        control_plane.create_namespace(SYSTEM_NAMESPACE)
    for folder in (_RBAC, _CONFIG / "admission"):
        control_plane.kubectl("apply", "--server-side", f"--filename={folder}")
    _bind(control_plane, "operator", {"kind": "User", "name": OPERATOR_USER})


def operator_access(control_plane: ControlPlane) -> Path:
    """A kubeconfig for the operator."""
    return control_plane.kubeconfig(OPERATOR_USER, (), namespace=SYSTEM_NAMESPACE)


def agent_access(control_plane: ControlPlane, node: str) -> Path:
    """A kubeconfig for the node's agent, with a token that is bound to the Node, which must exist.

    Raises:
        ApiError: there is no such Node.
    """
    path = control_plane.data_dir / f"agent-{node}.kubeconfig"
    path.touch(mode=0o600)
    credentials = Token(control_plane.ca_file, _agent_token(control_plane, node))
    path.write_text(kubeconfig(control_plane.url, credentials, namespace=SYSTEM_NAMESPACE))
    return path


def agent_client(control_plane: ControlPlane, node: str) -> ApiClient:
    """A client that may do what the node's agent may."""
    return control_plane.token_client(_agent_token(control_plane, node))


def _agent_token(control_plane: ControlPlane, node: str) -> str:
    return control_plane.service_account_token(
        SYSTEM_NAMESPACE, AGENT_ACCOUNT, seconds=_TOKEN_SECONDS, node=node
    )


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
