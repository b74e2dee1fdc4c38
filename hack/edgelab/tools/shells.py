"""zsh and fish: on PATH, or out of Debian's packages, unpacked and not installed."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools.debian import unpack
from edgelab.tools.progress import only_one

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "zsh": ("zsh", "zsh-common"),
    "fish": ("fish", "fish-common", "libpcre2-32-0"),
}
_PROGRAMS = {"zsh": "bin/zsh", "fish": "usr/bin/fish"}


@dataclass(frozen=True)
class Shell:
    """A shell, and the folder that it was unpacked into; None when it is the system's own."""

    program: Path
    folder: Path | None

    @property
    def libraries(self) -> Path | None:
        """The folder of its libraries, for LD_LIBRARY_PATH."""
        return next(self.folder.glob("usr/lib/*-linux-gnu*")) if self.folder else None

    @property
    def zshenv(self) -> str:
        """For zsh, what .zshenv has to say so that it finds its modules and functions."""
        if self.libraries is None:
            return ""
        functions = f"{self.folder}/usr/share/zsh/functions"
        return f"module_path=({self.libraries}/zsh/*(/))\nfpath=({functions}/**/*(/N) {functions})\n"


def find(name: str) -> Shell:
    """The shell `zsh` or `fish`.

    Raises:
        MissingToolError: it is not to be had.
    """
    if found := shutil.which(name):
        return Shell(Path(found), None)
    folder = cache_folder() / "tools" / name
    with only_one(name):
        if not folder.is_dir():
            try:
                unpack(_PACKAGES[name], folder)
            except LabError as error:
                raise MissingToolError(
                    f"{name} is not on PATH, and Debian's package failed: {error}\nTo get it: install {name}."
                ) from error
    return Shell(folder / _PROGRAMS[name], folder)
