"""Who is who in the lab's cluster: the rights of config/install.yaml, and an identity for each program."""

from pathlib import Path

from edgelab import helm
from edgelab.api import ApiClient, Token, kubeconfig
from edgelab.controlplane import ControlPlane

SYSTEM_NAMESPACE = helm.NAMESPACE
OPERATOR_USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:edgecanary-operator"
AGENT_ACCOUNT = "edgecanary-agent"
_TOKEN_SECONDS = 7 * 24 * 3600


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
