"""The controller manager and the scheduler: what a control plane has besides the API server."""

from collections.abc import Sequence
from pathlib import Path

from edgelab import tools
from edgelab.api import kubeconfig
from edgelab.controlplane import ControlPlane
from edgelab.processes import Process, Supervisor

GRACE_SECONDS = 10
"""So long after its last word a node counts as not ready: 40 s in a cluster of the usual settings."""


def start_controllers(
    supervisor: Supervisor, control_plane: ControlPlane, enter: Sequence[str]
) -> list[Process]:
    """Start both beside the API server, which must run.

    Raises:
        MissingToolError: one of them is not to be had.
    """
    manager: list[str | Path] = [
        *enter,
        tools.kube_controller_manager(),
        f"--kubeconfig={_access(control_plane, 'system:kube-controller-manager')}",
        f"--service-account-private-key-file={control_plane.token_keys.private}",
        f"--root-ca-file={control_plane.ca_file}",
        f"--node-monitor-grace-period={GRACE_SECONDS}s",
        "--node-monitor-period=1s",
        "--use-service-account-credentials=true",
        *_COMMON,
    ]
    scheduler: list[str | Path] = [
        *enter,
        tools.kube_scheduler(),
        f"--kubeconfig={_access(control_plane, 'system:kube-scheduler')}",
        *_COMMON,
    ]
    return [
        supervisor.start("kube-controller-manager", manager),
        supervisor.start("kube-scheduler", scheduler),
    ]


_COMMON = ("--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false")


def _access(control_plane: ControlPlane, user: str) -> Path:
    path = control_plane.data_dir / f"{user.removeprefix('system:')}.kubeconfig"
    path.touch(mode=0o600)
    # In the control plane's own network the API server is at port 443.
    path.write_text(kubeconfig("https://127.0.0.1:443", control_plane.credentials(user)))
    return path
