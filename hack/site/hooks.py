"""What MkDocs is told beyond mkdocs.yml: files of the repository that pages name, and the decisions' navigation."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((\.\.?/[^)\s]+|[A-Za-z][^)\s:]*)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the decision records one by one."""
    records = sorted(path.name for path in (_ROOT / "docs" / "adr").glob("*.md") if path.name != "README.md")
    for section in config.nav or []:
        for entry in section.get("Development", []):
            if entry.get("Decisions") == "adr/":
                entry["Decisions"] = ["adr/README.md", *(f"adr/{name}" for name in records)]
    return config


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Names files outside the site by their path in the repository, since the site has no page of them."""
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        target = match[2].partition("#")[0]
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        inside = posixpath.relpath(place, "docs")
        if not target or not inside.startswith("..") or not (_ROOT / place).exists():
            return match[0]
        return f"{match[1]} (`{place}`)" if place not in match[1] else match[1]

    return _LINK.sub(replaced, markdown)
