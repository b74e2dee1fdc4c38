"""Whether this machine can have a real node, and why not. `python -m edgelab.cluster.machine` says so."""

import os
import platform
import shutil
import subprocess
import sys
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
_NETWORK = (
    "ip link add sw0 type bridge && ip link add cab0 type veth peer name cab1 && ip link set cab0 master sw0"
)
_OVERLAY = "mkdir a b c d && mount -t overlay overlay -o lowerdir=a,upperdir=b,workdir=c d"
_APART = (
    "unshare", "--mount", "--uts", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
_SECONDS = 30


def why_not() -> list[str]:
    """What is in the way, each with what it is needed for; empty when nothing is."""
    if platform.system() != "Linux":
        return [f"this is {platform.system()}, and kubelets need Linux"]
    if os.geteuid() != 0:
        return ["namespaces, mounts and control groups need root"]
    missing = [
        f"there is no program {name}: install {of}"
        for name, of in _PROGRAMS.items()
        if not shutil.which(name)
    ]
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


def overlay_problem(folder: Path) -> str:
    """Why there can be no overlay mounts in a folder, which is made when needed; empty when there can."""
    if os.geteuid() != 0:
        return "overlay mounts: this is not root"
    folder.mkdir(parents=True, exist_ok=True)
    return _try("overlay mounts", _OVERLAY, folder)


def _namespaces() -> list[str]:
    """Try, in namespaces that end with the try, what a node does."""
    temporary = Path(tempfile.gettempdir())
    problems = (
        _try("new namespaces", "true", temporary),
        _try("a switch and a cable between networks", _NETWORK, temporary),
        overlay_problem(temporary),
    )
    return [problem for problem in problems if problem]


def _try(what: str, words: str, place: Path) -> str:
    """Run shell words in new namespaces and a new folder; what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="edgelab-try-", dir=place) as folder:
        try:
            result = subprocess.run(
                [*_APART, "sh", "-c", words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"{what}: no answer within {_SECONDS} s"
    return "" if result.returncode == 0 else f"{what}: {result.stderr.strip()}"


def _devices() -> list[str]:
    return [] if Path("/dev/kmsg").exists() else ["there is no /dev/kmsg, which a kubelet reads"]


def _is_read_only(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def main() -> int:
    """Print what is in the way. The exit code is 3 when something is."""
    reasons = why_not()
    for reason in reasons:
        print(reason)
    return 3 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
