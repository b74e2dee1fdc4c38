"""Chromium, for pictures of pages: on PATH, or Debian's package; and the pages of Debian's Prometheus."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.tools.progress import only_one, reporting, run

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PACKAGES = ("chromium", "fonts-dejavu-core")


def find() -> Path:
    """The program; as root on Debian it is installed when it is missing.

    Raises:
        MissingToolError: it is not to be had.
    """
    if found := _on_path():
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingToolError("chromium is not on PATH; to get it: install Chromium or Google Chrome")
    with only_one("chromium"), reporting("installing Debian's chromium"):
        try:
            _install(_PACKAGES)
        except LabError as error:
            raise MissingToolError(
                f"chromium is not on PATH, and Debian's package failed: {error}"
            ) from error
    found = _on_path()
    assert found is not None
    return found


def install_prometheus_pages() -> None:
    """Install Debian's Prometheus, whose pages are files outside the program; no service is started.

    Raises:
        MissingToolError: it cannot be installed.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingToolError(
            "this Prometheus has no page of alerts; to get one: put an official release on PATH"
        )
    with only_one("prometheus"), reporting("installing Debian's prometheus"):
        _install(("prometheus",))


def _on_path() -> Path | None:
    return next((Path(found) for name in _NAMES if (found := shutil.which(name))), None)


def _install(packages: Sequence[str]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    # In this run level Debian starts no services.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(command, cwd=Path(folder), env=environment)
        except LabError:
            run(["apt-get", "update"], cwd=Path(folder))
            run(command, cwd=Path(folder), env=environment)
