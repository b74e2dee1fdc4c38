"""A node's kubelet: its configuration, its credentials, its command."""

import json
from collections.abc import Mapping
from pathlib import Path

from edgelab import tools
from edgelab.api import kubeconfig
from edgelab.cluster import cgroups, init, runtime
from edgelab.cluster.network import HUB_ADDRESS, Addresses
from edgelab.controlplane import ControlPlane

LEASE_SECONDS = 8
"""A node renews its lease every quarter of it."""


def write_configuration(folder: Path, control_plane: ControlPlane, name: str, group: str) -> Path:
    """Write the kubelet's configuration and its kubeconfig `kubeconfig` beside it; the path of the first.

    Args:
        folder: where to.
        control_plane: whom it belongs to.
        name: of the node.
        group: its control group, as a path below the root of the control groups.
    """
    access = folder / "kubeconfig"
    access.touch(mode=0o600)
    credentials = control_plane.credentials(f"system:node:{name}", ("system:nodes",))
    access.write_text(kubeconfig(f"https://{HUB_ADDRESS}:443", credentials))
    path = folder / "kubelet.json"
    path.write_text(json.dumps(_configuration(folder, control_plane.ca_file, group), indent=1))
    return path


def command(configuration: Path, name: str, own: Addresses, labels: Mapping[str, str]) -> list[str | Path]:
    """What starts the kubelet, inside the node."""
    return [
        tools.kubelet(),
        f"--config={configuration}",
        f"--kubeconfig={configuration.parent / 'kubeconfig'}",
        f"--hostname-override={name}",
        f"--node-ip={own.node}",
        f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
    ]


def _configuration(folder: Path, authority: Path, group: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": str(authority)}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "containerRuntimeEndpoint": f"unix://{runtime.SOCKET}",
        "enforceNodeAllocatable": [],
        # The node's disk is the machine's: how full that is says nothing of the node.
        "evictionHard": {"memory.available": "50Mi"},
        "failCgroupV1": cgroups.is_unified(),
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "10s",
        "resolvConf": str(folder / init.RESOLV_CONF),
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "-1s",
    }
