"""The measured part of docs/guides/images.md."""

from collections.abc import Sequence
from pathlib import Path

from edgelab.images.build import Built
from edgelab.images.content import Content
from edgelab.paths import ROOT

PAGE = ROOT / "docs" / "guides" / "images.md"
BEGIN, END = "<!-- measured: make images ARGS=--write -->", "<!-- end -->"


def write_page(built: Sequence[Built], page: Path = PAGE) -> None:
    """Replace the table between the two marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(built)}\n{END}{after}")


def table(built: Sequence[Built]) -> str:
    """Sizes in MB (10^6 bytes), and the number of packages."""
    lines = [
        "| Image | Size, uncompressed | Python packages | Debian packages |",
        "| --- | --- | --- | --- |",
    ]
    for image in built:
        kinds = [package.kind for package in Content(image.archive).packages()]
        size = f"{image.uncompressed_bytes / 1e6:.0f} MB"
        lines.append(
            f"| `edgecanary-{image.target}` | {size} | {kinds.count('pypi')} | {kinds.count('deb')} |"
        )
    return "\n".join(lines)
