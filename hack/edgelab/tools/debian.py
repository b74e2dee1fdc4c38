"""Programs out of the system's packages, unpacked into the cache: nothing is installed, no service is started."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgelab.errors import LabError
from edgelab.tools.download import new_folder
from edgelab.tools.progress import reporting, run


def unpack(packages: Sequence[str], target: Path) -> None:
    """Make the new folder `target` with the files of these packages, without those they depend on.

    Raises:
        LabError: this is no Debian or Ubuntu, or a package cannot be had.
    """
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise LabError(f"{needed} is not on PATH")
    with reporting(f"unpacking the system's packages {', '.join(packages)}"), new_folder(target) as folder:
        try:
            run(["apt-get", "download", *packages], cwd=folder)
        except LabError:
            if os.geteuid() != 0:
                raise
            run(["apt-get", "update"], cwd=folder)
            run(["apt-get", "download", *packages], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            run(["dpkg-deb", "--extract", str(package), "."], cwd=folder)
            package.unlink()
