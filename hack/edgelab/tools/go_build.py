"""Build a program out of one of our pinned Go modules, whole or not at all."""

import os
import shutil
from pathlib import Path

from edgelab.errors import LabError
from edgelab.tools.download import new_folder
from edgelab.tools.progress import reporting, run


def build(package: str, module: Path, target: Path, *, named: str, minutes: int, flags: str = "") -> Path:
    """Build a package into a new folder of the cache; the program's path. The caller holds a lock.

    Args:
        package: what to build, in Go's words.
        module: the folder with go.mod and go.sum, which are not changed.
        target: the new folder, `<program>/<version>`: the program has the first of these names.
        named: what is built, for people.
        minutes: how long it takes at most, for people.
        flags: more flags for the linker.

    Raises:
        LabError: there is no Go, or it failed; the message ends with its words.
    """
    go = shutil.which("go")
    if go is None:
        raise LabError("go is not on PATH")
    program = target.parent.name
    with (
        reporting(f"building {named} with Go, once (up to {minutes} minutes)"),
        new_folder(target) as folder,
    ):
        options = ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", f"-s -w {flags}".rstrip()]
        command = [go, "build", *options, "-o", str(folder / program), package]
        run(command, cwd=module, env={**os.environ, "CGO_ENABLED": "0"})
    return target / program
