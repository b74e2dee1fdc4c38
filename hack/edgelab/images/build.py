"""Builds the two images, and says what came of it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecanary import __version__
from edgelab.images.content import Content
from edgelab.images.engine import Engine, Order, find_engine
from edgelab.images.sbom import bill_of_materials
from edgelab.paths import ROOT
from edgelab.tools.download import architecture
from edgelab.tools.progress import only_one, reporting

OPERATOR, AGENT = "operator", "agent"
OUTPUT = ROOT / "dist" / "images"


@dataclass(frozen=True)
class Built:
    """An image that was built.

    Attributes:
        target: operator or agent.
        name: the image's name with its tag.
        image_id: the digest of its configuration: two images of the same id are the same.
        archive: where it is, in Docker's layout.
        bill: its bill of materials, in CycloneDX's JSON.
        uncompressed_bytes: the size of its layers.
    """

    target: str
    name: str
    image_id: str
    archive: Path
    bill: Path
    uncompressed_bytes: int


def image_name(target: str, tag: str) -> str:
    """The name of an image."""
    return f"localhost/edgecanary-{target}:{tag}"


def build(
    targets: Sequence[str] = (OPERATOR, AGENT),
    *,
    tag: str = __version__,
    processor: str = "",
    fresh: bool = False,
    folder: Path = OUTPUT,
    environ: Mapping[str, str] = os.environ,
) -> list[Built]:
    """Build images, and write each with its bill of materials into `folder`.

    Args:
        targets: which of them.
        tag: of their names.
        processor: amd64 or arm64, this machine's when left out.
        fresh: whether Docker leaves layers of earlier builds aside; buildah always does.
        folder: where to, made when needed.
        environ: `SOURCE_DATE_EPOCH`, the time that the images have (1970 when left out), and the settings
            of `find_engine`.

    Raises:
        LabError: a build failed; the message ends with its words.
    """
    engine = find_engine(environ)
    folder.mkdir(parents=True, exist_ok=True)
    built = []
    with only_one("images"):
        for target in targets:
            order = Order(
                target,
                image_name(target, tag),
                processor or architecture(),
                {
                    "org.opencontainers.image.version": __version__,
                    "org.opencontainers.image.revision": _revision(),
                },
                int(environ.get("SOURCE_DATE_EPOCH", "0")),
                fresh,
            )
            with reporting(f"building {order.name}"):
                built.append(_build_one(engine, order, folder))
    return built


def _build_one(engine: Engine, order: Order, folder: Path) -> Built:
    engine.build(order)
    archive = folder / f"edgecanary-{order.target}-{order.architecture}.tar"
    bill, note = archive.with_suffix(".cdx.json"), archive.with_suffix(".id")
    own_id = f"{engine.own_id(order.name)} {order.name}"
    content = Content(archive)
    if not (archive.exists() and bill.exists() and note.exists() and note.read_text() == own_id):
        note.unlink(missing_ok=True)
        engine.save(order.name, archive)
        bill.write_text(bill_of_materials(content, order.name, content.image_id, order.epoch))
        note.write_text(own_id)
    return Built(order.target, order.name, content.image_id, archive, bill, content.uncompressed_bytes)


def _revision() -> str:
    """The commit that is built from, marked when the files differ from it."""
    words = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
