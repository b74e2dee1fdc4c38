"""Prometheus and promtool: on PATH, cached, downloaded, or out of the Debian package."""

import shutil
from pathlib import Path
from typing import Literal

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools.debian import unpack
from edgelab.tools.download import Archive, architecture, fetch
from edgelab.tools.progress import only_one, say

Program = Literal["prometheus", "promtool"]

_VERSION = "3.5.0"
_SHA256 = {
    "amd64": "e811827af26d822afb09a4f28314f61b618b12cff5369835a67f674d8b46f39a",
    "arm64": "173389cc42bf09c4e6e54cb53fa07a5a835d7c261e14775d2183181d6e385d1c",
}
_URL = "https://github.com/prometheus/prometheus/releases/download"


def find(program: Program) -> Path:
    """The program's path, made when it has to be.

    Raises:
        MissingToolError: nothing worked.
    """
    if found := shutil.which(program):
        return Path(found)
    if cached := _cached(program):
        return cached
    with only_one("prometheus"):
        return _cached(program) or _make(program)


def _cached(program: Program) -> Path | None:
    for folder in (_download_folder(), _package_folder()):
        if (folder / program).is_file():
            return folder / program
    return None


def _download_folder() -> Path:
    return cache_folder() / "tools" / "prometheus" / f"v{_VERSION}-linux-{architecture()}"


def _package_folder() -> Path:
    return cache_folder() / "tools" / "prometheus" / f"debian-linux-{architecture()}"


def _make(program: Program) -> Path:
    try:
        fetch(_release(), _download_folder())
        return _download_folder() / program
    except LabError as error:
        say(f"prometheus: no download ({error}); taking the system's package")
        download_failure = error
    try:
        _unpack_debian_package()
    except LabError as error:
        raise MissingToolError(
            f"{program} is missing and cannot be had.\n- it is not on PATH\n"
            f"- it is not in {cache_folder() / 'tools'}\n- the download failed: {download_failure}\n"
            f"- the Debian package failed: {error}\n"
            f"To get it: install Prometheus 2.42 or later so that `prometheus` and `promtool` are on"
            " PATH (its service need not run), or allow the download above, and run `make tools`."
        ) from error
    return _package_folder() / program


def _release() -> Archive:
    name = f"prometheus-{_VERSION}.linux-{architecture()}"
    return Archive(
        url=f"{_URL}/v{_VERSION}/{name}.tar.gz",
        algorithm="sha256",
        digest=_SHA256[architecture()],
        members={program: f"{name}/{program}" for program in ("prometheus", "promtool")},
    )


def _unpack_debian_package() -> None:
    """Take the programs out of the package."""
    unpack(["prometheus"], _package_folder())
    for program in ("prometheus", "promtool"):
        (_package_folder() / program).symlink_to(Path("usr", "bin", program))
