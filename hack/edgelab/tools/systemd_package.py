"""systemd-analyze: on PATH, or out of Debian's packages, unpacked and not installed."""

import os
import shutil
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools.download import new_folder
from edgelab.tools.progress import only_one, reporting, run

_PACKAGES = ("systemd", "libsystemd-shared")


def find() -> tuple[Path, Path | None]:
    """The program, and the folder of its own libraries where it was unpacked.

    Raises:
        MissingToolError: it is not to be had.
    """
    if found := shutil.which("systemd-analyze"):
        return Path(found), None
    folder = cache_folder() / "tools" / "systemd"
    with only_one("systemd"):
        if not folder.is_dir():
            try:
                _unpack(folder)
            except LabError as error:
                raise MissingToolError(
                    f"systemd-analyze is not on PATH, and Debian's package failed: {error}\n"
                    "To get it: install systemd (it need not run)."
                ) from error
    library = next(folder.rglob("libsystemd-shared-*.so"))
    return folder / "usr" / "bin" / "systemd-analyze", library.parent


def _unpack(target: Path) -> None:
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise LabError(f"{needed} is not on PATH")
    with reporting("unpacking Debian's systemd"), new_folder(target) as folder:
        try:
            run(["apt-get", "download", *_PACKAGES], cwd=folder)
        except LabError:
            if os.geteuid() != 0:
                raise
            run(["apt-get", "update"], cwd=folder)
            run(["apt-get", "download", *_PACKAGES], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            run(["dpkg-deb", "--extract", str(package), "."], cwd=folder)
            package.unlink()
