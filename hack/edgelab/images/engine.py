"""What builds images: Docker with BuildKit, else buildah."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgelab.cluster.machine import overlay_problem
from edgelab.errors import LabError
from edgelab.images.base import base_archive
from edgelab.paths import ROOT, cache_folder
from edgelab.tools.download import architecture
from edgelab.tools.progress import run
from edgelab.tools.system import need

DOCKERFILE = ROOT / "images" / "Dockerfile"
CERTIFICATES = ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
"""The variable, and else the file, with the certificates to trust while building."""


@dataclass(frozen=True)
class Order:
    """An image to build.

    Attributes:
        target: the stage of the Dockerfile.
        name: the image's name with its tag.
        architecture: amd64 or arm64.
        labels: labels beside those of the Dockerfile.
        epoch: the time that the image and its files have, in seconds since 1970.
        fresh: whether Docker leaves layers of earlier builds aside; buildah always does.
    """

    target: str
    name: str
    architecture: str
    labels: Mapping[str, str]
    epoch: int
    fresh: bool = False


class Engine(Protocol):
    """Builds images and hands them out."""

    def build(self, order: Order) -> None:
        """Build an image; raises LabError with the end of its words when it fails."""

    def save(self, name: str, archive: Path) -> None:
        """Write an image into an archive of Docker's layout, layers uncompressed; errors as in `build`."""

    def own_id(self, name: str) -> str:
        """What the engine calls the image's content; errors as in `build`."""


def find_engine(environ: Mapping[str, str] = os.environ) -> Engine:
    """Docker where its server answers, else buildah, installed when it has to be.

    `EDGECANARY_IMAGE_ENGINE` (docker or buildah) decides otherwise.

    Raises:
        MissingToolError: there is neither, and no way to install buildah.
        LabError: the variable names something else.
    """
    wanted = environ.get("EDGECANARY_IMAGE_ENGINE", "docker" if _docker_answers() else "buildah")
    if wanted == "docker":
        return Docker(environ)
    if wanted == "buildah":
        need({"buildah": "buildah"})
        return Buildah(environ)
    raise LabError(f"EDGECANARY_IMAGE_ENGINE is {wanted!r}, it must be docker or buildah")


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    result = subprocess.run(
        ["docker", "buildx", "version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    server = subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return result.returncode == 0 and server.returncode == 0


def _common(order: Order, environ: Mapping[str, str]) -> list[str]:
    words = [f"--file={DOCKERFILE}", f"--target={order.target}", f"--platform=linux/{order.architecture}"]
    certificates = environ.get(CERTIFICATES[0], CERTIFICATES[1])
    if Path(certificates).is_file():
        words.append(f"--secret=id=certificates,src={certificates}")
    for name, value in order.labels.items():
        words.append(f"--label={name}={value}")
    return words


class Docker:
    """Docker's buildx. The base comes from a registry unless IMAGE_BASE names another."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def build(self, order: Order) -> None:
        """Build and load into Docker's own store."""
        words = _common(order, self._environ) + (["--no-cache"] if order.fresh else [])
        if base := self._environ.get("IMAGE_BASE"):
            words.append(f"--build-arg=BASE={base}")
        output = f"--output=type=docker,name={order.name},rewrite-timestamp=true"
        plain = ["--provenance=false", "--sbom=false", f"--build-arg=SOURCE_DATE_EPOCH={order.epoch}"]
        run(["docker", "buildx", "build", *words, *plain, output, str(ROOT)], cwd=ROOT)

    def save(self, name: str, archive: Path) -> None:
        """Write the archive."""
        run(["docker", "save", f"--output={archive}", name], cwd=ROOT)

    def own_id(self, name: str) -> str:
        """What Docker calls its content."""
        return _output(["docker", "image", "inspect", "--format={{.Id}}", name])


class Buildah:
    """buildah, with storage of its own in the cache folder, as root or not."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._storage = cache_folder() / "images" / f"storage-{self._driver}"
        self._run_root = Path(tempfile.gettempdir()) / f"edgelab-images-{os.getuid()}"

    def build(self, order: Order) -> None:
        """Build on the base that IMAGE_BASE names, else on one made from Debian packages."""
        base = self._environ.get("IMAGE_BASE") or self._own_base(order.architecture)
        build_base = self._environ.get("IMAGE_BASE") or self._own_base(architecture())
        words = [
            *_common(order, self._environ),
            f"--build-arg=BASE={base}",
            f"--build-arg=BUILD_BASE={build_base}",
            f"--build-arg=TARGETARCH={order.architecture}",
            f"--build-arg=BUILDPLATFORM=linux/{architecture()}",
            f"--build-arg=TARGETPLATFORM=linux/{order.architecture}",
            f"--timestamp={order.epoch}",
            "--isolation=chroot",
            "--layers",
            # An image's history names the images in between, and those of a cache may be from other builds.
            "--no-cache",
            "--pull-never",
            "--format=oci",
            "--identity-label=false",
            f"--tag={order.name}",
        ]
        run([*self._command("build"), *words, str(ROOT)], cwd=ROOT)

    def save(self, name: str, archive: Path) -> None:
        """Write the archive."""
        archive.unlink(missing_ok=True)
        run([*self._command("push"), name, f"docker-archive:{archive}:{name}"], cwd=ROOT)

    def own_id(self, name: str) -> str:
        """What buildah calls its content."""
        return _output([*self._command("inspect"), "--type=image", "--format={{.FromImageID}}", name])

    def _own_base(self, processor: str) -> str:
        archive = base_archive(processor)
        name = f"localhost/edgecanary-base:{archive.parent.name}"
        if not _succeeds([*self._command("inspect"), "--type=image", name]):
            with tempfile.TemporaryDirectory(prefix="edgelab-base-") as context:
                Path(context, "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
                shutil.copyfile(archive, Path(context, "root.tar"))
                words = [f"--platform=linux/{processor}", "--timestamp=0", "--format=oci", f"--tag={name}"]
                run([*self._command("build"), *words, context], cwd=ROOT)
        return name

    def _command(self, verb: str) -> Sequence[str]:
        storage = (
            f"--root={self._storage}",
            f"--runroot={self._run_root}",
            f"--storage-driver={self._driver}",
        )
        return ("buildah", *storage, verb)

    @functools.cached_property
    def _driver(self) -> str:
        """Layers as overlays where the kernel allows it, else as whole copies, which takes longer."""
        return self._environ.get("STORAGE_DRIVER") or (
            "vfs" if overlay_problem(cache_folder()) else "overlay"
        )


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _output(command: Sequence[str]) -> str:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(
            f"`{' '.join(command)}` ended with exit code {result.returncode}: {result.stderr.strip()}"
        )
    return result.stdout.strip()
