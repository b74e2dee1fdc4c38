"""A node's containerd: its configuration, its start, the import of images."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgelab import tools
from edgelab.cluster.network import Addresses
from edgelab.cluster.space import Space
from edgelab.errors import LabError
from edgelab.tools.progress import run

SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"

_STORE = Path("var", "lib", "containerd")
_MAY_LOWER_OOM_SCORES = 24
"""The number of CAP_SYS_RESOURCE."""


def write_configuration(folder: Path, own: Addresses) -> Path:
    """Write containerd's configuration and its network's; the path of the first."""
    networks = folder / "cni"
    networks.mkdir(parents=True, exist_ok=True)
    (networks / "10-pods.conflist").write_text(json.dumps(_pod_network(own.pods)))
    path = folder / "containerd.toml"
    path.write_text(_configuration(networks))
    return path


def command(configuration: Path) -> list[str | Path]:
    """What starts containerd, inside the node."""
    programs = tools.container_runtime().programs
    return ["env", f"PATH={_path()}", programs / "containerd", f"--config={configuration}"]


def answers(node: Space) -> bool:
    """Whether containerd answers."""
    try:
        _ctr(node, "version")
    except LabError:
        return False
    return True


def import_image(node: Space, archive: Path) -> None:
    """Import an image from an archive (of Docker's or OCI's layout).

    Raises:
        LabError: containerd refused it.
    """
    _ctr(node, "images", "import", str(archive))


def copy_images(source: Path, target: Path) -> None:
    """Give a node the images of another one, both being stopped. The arguments are the folders of their disks.

    What is in an image is never changed, so the files are the same ones under two names; the databases are not.

    Raises:
        LabError: the files cannot be linked.
    """
    run(["cp", "--archive", "--link", f"{source / _STORE}/.", str(target / _STORE)], cwd=target)
    for database in (target / _STORE).rglob("*.db"):
        own = database.with_suffix(".own")
        shutil.copy2(database, own)
        own.replace(database)


def _ctr(node: Space, *arguments: str) -> str:
    program = tools.container_runtime().programs / "ctr"
    return node.run(program, f"--address={SOCKET}", "--namespace=k8s.io", *arguments)


def _path() -> str:
    runtime = tools.container_runtime()
    folders: Sequence[str | Path] = (
        runtime.programs,
        runtime.runc.parent,
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    )
    return ":".join(str(folder) for folder in folders)


def _configuration(networks: Path) -> str:
    runtime = tools.container_runtime()
    restrict = "false" if _may_lower_oom_scores() else "true"
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {restrict}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{runtime.network_plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runtime.runc}"
"""


def _pod_network(subnet: str) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _may_lower_oom_scores() -> bool:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    )
    return bool(int(line.split()[1], 16) >> _MAY_LOWER_OOM_SCORES & 1)
