"""The checker of ServiceMonitors, PodMonitors and PrometheusRules: our Go program, built once.

It decodes into the Prometheus Operator's own API types, so these stand in `hack/go-monitors/go.mod`.
"""

import hashlib
import shutil
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import ROOT, cache_folder
from edgelab.tools import go_build
from edgelab.tools.download import architecture
from edgelab.tools.progress import only_one

PROGRAM = "check-monitors"
_MODULE = ROOT / "hack" / "go-monitors"


def missing(module: Path = _MODULE) -> str:
    """Why the program is not to be had on this machine; empty where it is there or can be built."""
    if _is_built(_folder(module)) or shutil.which("go"):
        return ""
    return f"{PROGRAM} is built with Go, which is not on PATH (see {module / 'go.mod'} for the version)"


def find(module: Path = _MODULE) -> Path:
    """The program's path, built when it has to be.

    Raises:
        MissingToolError: there is no Go, or the build failed.
    """
    target = _folder(module)
    with only_one(PROGRAM):
        if not _is_built(target):
            _build(module, target)
    return target / PROGRAM


def digest(module: Path = _MODULE) -> str:
    """What the program is known by: the digest of its sources and of the versions that it pins."""
    files = sorted([*module.glob("*.go"), module / "go.mod", module / "go.sum"])
    parts = [f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _folder(module: Path) -> Path:
    return cache_folder() / "tools" / PROGRAM / f"{digest(module)}-linux-{architecture()}"


def _is_built(target: Path) -> bool:
    return (target / PROGRAM).is_file()


def _build(module: Path, target: Path) -> None:
    try:
        go_build.build(".", module, target, named=PROGRAM, minutes=3)
    except LabError as error:
        raise MissingToolError(
            f"{PROGRAM} is missing and cannot be had.\n"
            f"- it is not in {target.parent}\n- the build failed: {error}\n"
            "To get it: install Go (see hack/go-monitors/go.mod for the version)."
        ) from error
