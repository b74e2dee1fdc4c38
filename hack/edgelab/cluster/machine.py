"""Whether this machine can have a real node, and why not."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgelab.cluster import cgroups
from edgelab.errors import LabError

_PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "apt-get": "apt (the container runtime comes out of Debian's or Ubuntu's packages)",
}
_NETWORK = "ip link add s type bridge && ip link add a type veth peer name b && ip link set a master s"
_OVERLAY = "mkdir a b c d && mount -t overlay overlay -o lowerdir=a,upperdir=b,workdir=c d"
_SECONDS = 30


def why_not() -> list[str]:
    """What is in the way, each with what it is needed for; empty when nothing is."""
    if platform.system() != "Linux":
        return [f"this is {platform.system()}, and kubelets need Linux"]
    if os.geteuid() != 0:
        return ["namespaces, mounts and control groups need root"]
    missing = [f"there is no program {name}: install {of}" for name, of in _PROGRAMS.items() if not shutil.which(name)]
    if missing:
        return missing
    return [*_control_groups(), *_namespaces(), *_devices()]


def _control_groups() -> list[str]:
    try:
        places = cgroups.hierarchies()
    except LabError as error:
        return [str(error)]
    closed = [str(place) for place in places if not os.access(place, os.W_OK) or _is_read_only(place)]
    return [f"control groups cannot be made in {', '.join(closed)}"] if closed else []


def _namespaces() -> list[str]:
    """Try, in namespaces that end with the try, what a node does."""
    everything = ["unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    problems = []
    for what, words in (
        ("new namespaces", "true"),
        ("a switch and a cable between networks", _NETWORK),
        ("overlay mounts", _OVERLAY),
    ):
        with tempfile.TemporaryDirectory(prefix="edgelab-try-") as folder:
            try:
                result = subprocess.run(
                    [*everything, "sh", "-c", words],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_SECONDS,
                )
            except subprocess.TimeoutExpired:
                problems.append(f"{what}: no answer within {_SECONDS} s")
                continue
        if result.returncode != 0:
            problems.append(f"{what}: {result.stderr.strip()}")
    return problems


def _devices() -> list[str]:
    return [] if Path("/dev/kmsg").exists() else ["there is no /dev/kmsg, which a kubelet reads"]


def _is_read_only(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
