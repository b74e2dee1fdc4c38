"""containerd, runc and the network plugins: out of Debian's packages, unpacked and not installed.

Installed packages are not used: a containerd of the machine's own may be of any version, and installing
Debian's would take the place of the one that Docker brings.
"""

from dataclasses import dataclass
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools.debian import unpack
from edgelab.tools.download import architecture
from edgelab.tools.progress import only_one

_PACKAGES = ("containerd", "runc", "containernetworking-plugins")


@dataclass(frozen=True)
class Runtime:
    """Where the programs of the container runtime are."""

    folder: Path

    @property
    def programs(self) -> Path:
        """The folder of containerd, its shim and `ctr`."""
        return self.folder / "usr" / "bin"

    @property
    def runc(self) -> Path:
        """The program that starts containers."""
        return self.folder / "usr" / "sbin" / "runc"

    @property
    def network_plugins(self) -> Path:
        """The folder of the CNI plugins."""
        return self.folder / "usr" / "lib" / "cni"


def find() -> Runtime:
    """The container runtime, unpacked when it has to be.

    Raises:
        MissingToolError: it is not to be had.
    """
    folder = cache_folder() / "tools" / "containers" / f"debian-linux-{architecture()}"
    with only_one("containers"):
        if not folder.is_dir():
            try:
                unpack(_PACKAGES, folder)
            except LabError as error:
                raise MissingToolError(
                    f"containerd, runc and the CNI plugins come out of Debian's or Ubuntu's packages: {error}"
                ) from error
    return Runtime(folder)
