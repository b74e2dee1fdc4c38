"""systemd-analyze: on PATH, or out of Debian's packages, unpacked and not installed."""

import shutil
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools.debian import unpack
from edgelab.tools.progress import only_one

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
                unpack(_PACKAGES, folder)
            except LabError as error:
                raise MissingToolError(
                    f"systemd-analyze is not on PATH, and Debian's package failed: {error}\n"
                    "To get it: install systemd (it need not run)."
                ) from error
    library = next(folder.rglob("libsystemd-shared-*.so"))
    return folder / "usr" / "bin" / "systemd-analyze", library.parent
