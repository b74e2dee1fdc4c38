"""Programs of the system's own packages, installed where that can be done."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.tools.progress import only_one, reporting, run


def need(programs: Mapping[str, str]) -> None:
    """Install what is not on PATH: `programs` maps each program to its Debian package.

    Raises:
        MissingToolError: this is not Debian or Ubuntu, or we are not root, or the installation failed.
    """
    missing = {name: package for name, package in programs.items() if shutil.which(name) is None}
    if not missing:
        return
    packages = sorted(set(missing.values()))
    names = ", ".join(sorted(missing))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise MissingToolError(
            f"{names} is missing. To get it: as root on Debian or Ubuntu run this again, or"
            f" `apt-get install {' '.join(packages)}`; elsewhere install what has these programs."
        )
    with only_one("system-packages"), reporting(f"installing the system's packages {', '.join(packages)}"):
        command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            try:
                run(command, cwd=Path("/"), env=environment)
            except LabError:
                run(["apt-get", "update"], cwd=Path("/"))
                run(command, cwd=Path("/"), env=environment)
        except LabError as error:
            raise MissingToolError(
                f"{names} is missing, and its package cannot be installed: {error}"
            ) from error
